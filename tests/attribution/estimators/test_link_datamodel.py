"""LinkDatamodel: a curve for what raises the output and one for what lowers it."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.estimators import Datamodel, LinkDatamodel


def two_sided(masks: np.ndarray, n_helping: int, n_hurting: int, curvature: float) -> np.ndarray:
    """Outputs that saturate in the helping players and, the other way round, in the hurting ones."""
    up = masks[:, :n_helping] @ np.linspace(0.5, 1.0, n_helping)
    down = masks[:, n_helping : n_helping + n_hurting] @ np.linspace(0.5, 1.0, n_hurting)
    return up - curvature * up**2 - (down - curvature * down**2)


@pytest.mark.parametrize("alpha", [0.5, 0.3])
def test_recovers_the_interaction_of_strangers_on_both_sides(alpha: float) -> None:
    rng = np.random.default_rng(0)
    masks = rng.random((3000, 14)) < alpha
    outputs = two_sided(masks, 5, 5, 0.1) + 0.3 * rng.normal(size=3000)
    model = LinkDatamodel(alpha=alpha).fit(masks, outputs)
    weights = np.linspace(0.5, 1.0, 5)
    for first, second, sign in ((0, 1, -1.0), (3, 4, -1.0), (5, 6, 1.0), (8, 9, 1.0)):
        true = sign * 2 * 0.1 * weights[first % 5] * weights[second % 5]
        assert abs(model.saturation(first, second)[0] - true) < 0.04
    assert abs(model.saturation(0, 5)[0]) < 0.04
    unseen = rng.random((2000, 14)) < alpha
    truth = two_sided(unseen, 5, 5, 0.1)
    linear = Datamodel(alpha=alpha).fit(masks, outputs).predict(unseen)
    assert ((model.predict(unseen) - truth) ** 2).mean() < 0.3 * ((linear - truth) ** 2).mean()


def test_sees_no_curve_where_there_is_none() -> None:
    rng = np.random.default_rng(1)
    masks = rng.random((900, 40)) < 0.5
    effects = rng.normal(size=(40, 12))
    model = LinkDatamodel().fit(masks, masks @ effects + 4.0 * rng.normal(size=(900, 12)))
    scale = np.abs(model.coef_).max()
    assert np.abs(model.curvature_ * scale).max() < 0.05


def test_groups_and_vectors() -> None:
    rng = np.random.default_rng(3)
    masks = np.repeat(rng.random((200, 8)) < 0.5, 2, axis=0)
    outputs = masks @ np.arange(8.0) + rng.normal(size=400)
    model = LinkDatamodel().fit(masks, outputs)
    assert model.predict(masks[:5]).shape == (5,)
    assert model.curvature_stderr_.shape == (1, 3)
