"""Baselines against brute force, and the scores of removal and of known wrong labels."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from attribution.errors import AttributionError
from attribution.scoring.baselines import (
    feature_similarity,
    gradient_similarity,
    knn_shapley,
    random_attribution,
    same_class,
    sum_over_players,
)
from attribution.scoring.mislabelled import score_mislabelled, suspicion
from attribution.scoring.removal import most_important, score_removal

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test draws the same numbers, in whatever order the tests run."""
    global RNG
    RNG = np.random.default_rng(0)


FEATURES, TARGETS = RNG.normal(size=(1, 7, 3)), RNG.normal(size=(1, 4, 3))
CLASSES, TARGET_CLASSES = np.array([0, 1, 0, 1, 1, 0, 0]), np.array([0, 1, 1, 0])


def knn_worth(subset: tuple[int, ...], target: int, k: int) -> float:
    """Share of K of the subset's nearest neighbours that have the target's class."""
    if not subset:
        return 0.0
    centred = FEATURES[0] - FEATURES[0].mean(axis=0)
    far = np.linalg.norm(centred[list(subset)] - (TARGETS[0, target] - FEATURES[0].mean(axis=0)), axis=1)
    nearest = np.array(subset)[np.argsort(far, kind="stable")[:k]]
    return float((CLASSES[nearest] == TARGET_CLASSES[target]).sum()) / k


@pytest.mark.parametrize("k", [1, 2, 5, 7])
def test_knn_shapley_is_the_shapley_value_of_the_classifier(k: int) -> None:
    n = len(CLASSES)
    expected = np.zeros((n, len(TARGET_CLASSES)))
    for player in range(n):
        others = [other for other in range(n) if other != player]
        for size in range(n):
            weight = factorial(size) * factorial(n - size - 1) / factorial(n)
            for subset in combinations(others, size):
                for target in range(len(TARGET_CLASSES)):
                    gain = knn_worth((*subset, player), target, k) - knn_worth(subset, target, k)
                    expected[player, target] += weight * gain
    assert np.allclose(knn_shapley(FEATURES, TARGETS, CLASSES, TARGET_CLASSES, k), expected)


def test_gradient_similarity_is_the_product_of_the_last_layers_gradients() -> None:
    import torch

    layer = torch.nn.Linear(3, 2).double()
    logits = layer(torch.tensor(FEATURES[0])).detach().numpy()
    of_targets = layer(torch.tensor(TARGETS[0])).detach().numpy()

    def gradient(features: np.ndarray, label: int) -> torch.Tensor:
        loss = torch.nn.functional.cross_entropy(layer(torch.tensor(features))[None], torch.tensor([label]))
        return torch.cat([part.flatten() for part in torch.autograd.grad(loss, list(layer.parameters()))])

    own = torch.stack([gradient(*pair) for pair in zip(FEATURES[0], CLASSES.tolist(), strict=True)])
    others = torch.stack([gradient(*pair) for pair in zip(TARGETS[0], TARGET_CLASSES.tolist(), strict=True)])
    found = gradient_similarity(FEATURES, logits[None], CLASSES, TARGETS, of_targets[None], TARGET_CLASSES)
    assert np.allclose(found, (own @ others.T).numpy())


def test_a_network_that_diverged_is_left_out() -> None:
    two = np.concatenate([FEATURES, np.full_like(FEATURES, np.nan)])
    both = np.concatenate([TARGETS, TARGETS])
    for attribute in (feature_similarity, knn_shapley):
        assert np.allclose(
            attribute(two, both, CLASSES, TARGET_CLASSES), attribute(FEATURES, TARGETS, CLASSES, TARGET_CLASSES)
        )
        with pytest.raises(AttributionError, match="all of them diverged"):
            attribute(two[1:], TARGETS, CLASSES, TARGET_CLASSES)


def test_similarity_has_the_sign_of_the_class_and_groups_are_summed() -> None:
    found = feature_similarity(FEATURES, FEATURES[:, :2], CLASSES, CLASSES[:2])
    assert found[0, 0] == pytest.approx(1.0) and found[1, 1] == pytest.approx(1.0)
    assert (same_class(CLASSES, TARGET_CLASSES).sum(axis=0) == [4, 3, 3, 4]).all()
    assert np.array_equal(random_attribution(5, 2, 3), random_attribution(5, 2, 3))
    assert sum_over_players(np.ones((4, 2)), np.array([0, 1, 1, 1]), 2).tolist() == [[1, 1], [3, 3]]


def test_the_area_under_the_curve_is_scikit_learns_and_its_interval_holds_it() -> None:
    wrong = RNG.random(60) < 0.3
    score = np.round(RNG.normal(size=60) + wrong, 1)  # with ties
    found = score_mislabelled(score, wrong)
    assert found.auc.value == pytest.approx(roc_auc_score(wrong, score))
    assert found.auc.low < found.auc.value < found.auc.high
    with pytest.raises(AttributionError, match="0 of 60 are wrong"):
        score_mislabelled(score, np.zeros(60, bool))


def test_a_player_is_suspect_that_lowers_the_targets_of_its_class() -> None:
    attribution = np.ones((7, 4))
    attribution[2, [0, 3]] = -1.0  # of class 0, hurts the targets of class 0 alone
    assert suspicion(attribution, CLASSES, TARGET_CLASSES).argmax() == 2


def test_removal_counts_what_an_output_loses_beyond_random_removal() -> None:
    """Loss 2 s.d. for the good method, 0 for one that is no better than random; noise of 0.1 s.d."""
    t, spread = 10, np.linspace(1, 2, 10)
    noise = lambda *shape: 0.1 * RNG.normal(size=shape)  # noqa: E731
    good = (5 - 2 * spread)[:, None] + noise(t, 3) * spread[:, None]
    report = score_removal({"good": good, "blind": 5 + noise(t, 3) * spread[:, None]}, 5 + noise(6, t) * spread, spread)
    assert report.losses["good"].value == pytest.approx(2.0, abs=0.15)
    assert report.losses["blind"].low < 0 < report.losses["blind"].high
    ((first, second, difference),) = report.pairs
    assert (first, second) == ("good", "blind") and difference.low > 1.5
    with pytest.raises(AttributionError, match="7 of 7 players cannot be removed"):
        most_important(same_class(CLASSES, TARGET_CLASSES), 0, 7)
