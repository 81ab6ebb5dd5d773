"""LDS of attributions whose quality is known, its ceiling, and its intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from attribution.errors import AttributionError
from attribution.scoring.lds import score_lds

H, N, T = 300, 30, 12


def linear_game(seed: int, noise: float = 1.0, h: int = H, t: int = T) -> tuple[np.ndarray, ...]:
    """Masks, two runs of a linear game with seed noise, and its weights; signal variance 1 a target."""
    rng = np.random.default_rng(seed)
    masks, weights = rng.random((h, N)) < 0.5, rng.normal(size=(N, t))
    signal = (masks - 0.5) @ weights
    signal /= 0.5 * np.sqrt((weights**2).sum(axis=0))
    return masks, signal + noise * rng.normal(size=(h, t)), signal + noise * rng.normal(size=(h, t)), weights


def test_each_score_is_the_rank_correlation_over_masks() -> None:
    masks, outputs, _, weights = linear_game(0)
    wrong = weights + np.random.default_rng(1).normal(size=weights.shape)
    found = score_lds(masks, outputs, {"a": wrong}).scores["a"]
    expected = [spearmanr(outputs[:, at], masks @ wrong[:, at]).statistic for at in range(T)]
    assert np.allclose(found.per_target, expected) and found.mean.value == pytest.approx(np.mean(expected))
    assert found.mean.low < found.mean.value < found.mean.high


@pytest.mark.parametrize("noise", [0.5, 1.0, 2.0])
def test_the_true_weights_reach_the_ceiling(noise: float) -> None:
    masks, outputs, again, weights = linear_game(2, noise, h=2000, t=30)
    report = score_lds(masks, outputs, {"true": weights}, again, n_resamples=200)
    r = 1 / (1 + noise**2)
    assert report.ceiling.value == pytest.approx(6 / np.pi * np.arcsin(np.sqrt(r) / 2), abs=0.02)
    share = report.scores["true"].of_ceiling
    assert share.value == pytest.approx(1.0, abs=0.03) and share.low < 1.0 < share.high


def test_without_a_second_run_the_ceiling_is_unknown() -> None:
    masks, outputs, again, weights = linear_game(3)
    assert np.isnan(score_lds(masks, outputs, {"true": weights}).ceiling.value)
    again[5:] = np.nan  # five masks evaluated twice are too few
    report = score_lds(masks, outputs, {"true": weights}, again)
    assert report.n_replicated == 5 and np.isnan(report.ceiling.value)
    assert np.isnan(report.scores["true"].of_ceiling.value)


def test_intervals_cover_the_mean_over_all_masks_and_targets() -> None:
    """Campaigns of 60 masks and 10 targets each, drawn from one population; nominal 95%, and the bootstrap is wide."""
    rng = np.random.default_rng(0)
    population = 400
    weights = rng.normal(size=(N, population))
    flawed = weights + rng.normal(size=weights.shape) * rng.choice([0.3, 3.0], size=population)
    masks = rng.random((20_000, N)) < 0.5
    noise = rng.normal(size=(20_000, population)) * 3
    outputs = masks @ weights + noise
    truth = score_lds(masks[:4000], outputs[:4000], {"a": flawed}, n_resamples=2).scores["a"].mean.value
    covered = 0
    for start in range(60):
        rows, targets = rng.choice(20_000, 60, replace=False), rng.choice(population, 10, replace=False)
        found = score_lds(
            masks[rows], outputs[np.ix_(rows, targets)], {"a": flawed[:, targets]}, n_resamples=200, seed=start
        )
        covered += found.scores["a"].mean.low <= truth <= found.scores["a"].mean.high
    assert covered >= 53  # of 60: 95% is 57, and 53 or fewer has probability .03 at 95%


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    masks, outputs, _, weights = linear_game(4, noise=2.0, h=100)
    close = weights + 0.1 * np.random.default_rng(0).normal(size=weights.shape)
    report = score_lds(masks, outputs, {"true": weights, "close": close})
    (pair,) = report.pairs
    assert (pair.first, pair.second) == ("true", "close")
    assert pair.difference.width < 0.5 * report.scores["true"].mean.width
    assert pair.difference.low <= pair.difference.value <= pair.difference.high


def test_a_target_that_never_varies_counts_for_nothing() -> None:
    masks, outputs, _, weights = linear_game(5)
    outputs[:, 3] = 1.0
    report = score_lds(masks, outputs, {"true": weights})
    assert report.n_targets == T - 1 and np.isnan(report.scores["true"].per_target[3])
    assert report.scores["true"].mean.value == pytest.approx(np.nanmean(report.scores["true"].per_target))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a[:-1], "attribution 'a' has shape \\(29, 12\\); it needs one row for each of 30 players"),
        (lambda a: a.T, "shape \\(12, 30\\)"),
        (lambda a: np.where(np.arange(T) == 2, np.nan, a), "not finite, first at player 0, target 2"),
    ],
)
def test_a_matrix_that_does_not_fit_is_refused(change: object, said: str) -> None:
    masks, outputs, _, weights = linear_game(6)
    with pytest.raises(AttributionError, match=said):
        score_lds(masks, outputs, {"a": change(weights)})  # type: ignore[operator]


def test_what_is_masked_is_missing_in_every_argument() -> None:
    """NumPy's own tests pass masked entries over, and its ranks use the values underneath."""
    masks, outputs, replicates, weights = linear_game(7)
    hidden = np.ma.MaskedArray(outputs.copy(), mask=False)
    hidden[3, 2] = np.ma.masked
    with pytest.raises(AttributionError, match="outputs hold values that are not finite"):
        score_lds(masks, hidden, {"a": weights})
    matrix = np.ma.MaskedArray(weights.copy(), mask=False)
    matrix[4, 1] = np.ma.masked
    with pytest.raises(AttributionError, match="not finite, first at player 4, target 1"):
        score_lds(masks, outputs, {"a": matrix})
    one = np.arange(masks.size).reshape(masks.shape) == 1
    for wrong in (np.ma.MaskedArray(masks, mask=one), np.where(masks, 0.9, 0.0)):
        with pytest.raises(AttributionError, match="masks"):
            score_lds(wrong, outputs, {"a": weights})
    first = np.ma.MaskedArray(replicates.copy(), mask=False)
    first[:5] = np.ma.masked
    assert score_lds(masks, outputs, {"a": weights}, first).n_replicated == len(masks) - 5


def test_frames_and_lists_are_scored_as_arrays_are() -> None:
    pandas = pytest.importorskip("pandas")
    masks, outputs, _, weights = linear_game(8)
    expected = score_lds(masks, outputs, {"a": weights}).scores["a"].mean.value
    frames = pandas.DataFrame(masks.astype(int)), pandas.DataFrame(outputs)
    assert score_lds(*frames, {"a": weights.tolist()}).scores["a"].mean.value == expected
