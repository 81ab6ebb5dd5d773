"""Near duplicates leave first, quotas and protected sets hold, and the rest goes by the objective."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.curation.budget import MetBudget, choose, meet_budget
from attribution.curation.surrogate import Surrogate

N = 20
CLASSES = np.repeat([0, 1], 10)


def features() -> np.ndarray:
    """Two networks; players 0 to 3 of class 0 are all but the same, everybody else points elsewhere."""
    generator = np.random.default_rng(0)
    drawn = generator.normal(0, 1, (2, N, 30))
    drawn[:, 1:4] = drawn[:, :1] + generator.normal(0, 0.01, (2, 3, 30))
    return drawn


def met(main: np.ndarray, n_keep: int = 14, share: float = 0.5, **more: object) -> MetBudget:
    surrogate = Surrogate(0.5, 0.0, main, np.full(N, 1e-3))
    settings: dict = {"least": {0: 2, 1: 2}, "bundles": (), "features": features(), **more}
    return meet_budget(
        surrogate, n_keep, player_classes=CLASSES, confidence=0.0, near_duplicate_share=share, **settings
    )


def test_half_of_what_goes_are_the_most_similar_whatever_they_are_worth() -> None:
    main = np.linspace(1.0, 2.0, N)
    main[:4] = 9.0
    found = met(main)
    gone = np.flatnonzero(~found.solution.keep)
    assert len(gone) == 6
    assert set(found.near) <= set(range(4)) and len(found.near) == 3
    # The other three are the least worth of those left.
    assert set(gone) - set(found.near) == {4, 5, 6}
    (stays,) = set(range(4)) - set(found.near)
    assert {other for other, _ in found.near.values()} == {stays}
    assert min(similarity for _, similarity in found.near.values()) > 0.99


@pytest.mark.parametrize("without", [{"share": 0.0}, {"features": None}])
def test_without_a_share_or_features_the_objective_decides_alone(without: dict) -> None:
    main = np.random.default_rng(1).normal(1, 1, N)
    found = met(main, **without)
    alone = choose(
        Surrogate(0.5, 0.0, main, np.full(N, 1e-3)), 14, player_classes=CLASSES, least={0: 2, 1: 2}, confidence=0.0
    )
    assert np.array_equal(found.solution.keep, alone.keep)
    assert found.near == {}


def test_a_protected_set_does_not_leave_as_a_near_duplicate() -> None:
    main = np.linspace(1.0, 2.0, N)
    found = met(main, bundles=[[1, 2]], share=1.0)
    assert found.solution.keep.sum() == 14
    assert found.solution.keep[1] == found.solution.keep[2]
    assert not {1, 2} & set(found.near)


def test_quotas_hold() -> None:
    found = met(np.ones(N), n_keep=10, share=1.0, least={0: 9, 1: 1})
    assert found.solution.keep.sum() == 10
    assert found.solution.keep[CLASSES == 0].sum() >= 9
