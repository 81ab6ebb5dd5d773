"""How well attributions rank wrong labels that are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.randomness import Purpose, random_stream
from attribution.scoring.bootstrap import N_RESAMPLES, Estimate, percentile
from attribution.types import Array


@dataclass(frozen=True)
class MislabelScore:
    """Area under the ROC curve of "the lower its attribution to its own class, the more suspect"."""

    auc: Estimate
    n_wrong: int
    n_right: int


def suspicion(attribution: Array, player_classes: NDArray[np.int64], target_classes: NDArray[np.int64]) -> Array:
    """Return how suspect each player's label is: minus its mean attribution to the targets of its own class.

    Parameters
    ----------
    attribution : (n, t) float64
    player_classes, target_classes : (n,) and (t,) int64
        The players' classes as given, wrong ones included.

    Returns
    -------
    (n,) float64
        Over all targets for players of no class, or of a class without a target.
    """
    found = -attribution.mean(axis=1)
    for label in np.unique(player_classes[player_classes >= 0]):
        own = target_classes == label
        if own.any():
            of_class = player_classes == label
            found[of_class] = -attribution[of_class][:, own].mean(axis=1)
    return np.asarray(found)


def score_mislabelled(score: Array, wrong: NDArray[np.bool_], *, seed: int = 0) -> MislabelScore:
    """Compute the area under the ROC curve.

    Parameters
    ----------
    score : (n,) float64
        Larger for players that are more suspect (`suspicion`).
    wrong : (n,) bool
        Players whose label is known to be wrong.
    seed : int
        Of the bootstrap over wrong and right players, each resampled by itself.

    Returns
    -------
    MislabelScore

    Raises
    ------
    AttributionError
        When all labels are wrong, or none.

    Examples
    --------
    >>> score_mislabelled(np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False])).auc.value
    0.75
    """
    if not wrong.any() or wrong.all():
        raise AttributionError(
            f"an ROC curve needs wrong and right labels; {int(wrong.sum())} of {len(wrong)} are wrong."
        )
    beats = _beats(score[wrong], score[~wrong])
    rng = random_stream(Purpose.SCORE_BOOTSTRAP, seed, 2)
    n_wrong, n_right = beats.shape
    rows = rng.multinomial(n_wrong, np.full(n_wrong, 1 / n_wrong), N_RESAMPLES) / n_wrong
    columns = rng.multinomial(n_right, np.full(n_right, 1 / n_right), N_RESAMPLES) / n_right
    drawn = ((rows @ beats) * columns).sum(axis=1)
    return MislabelScore(percentile(float(beats.mean()), drawn), n_wrong, n_right)


def _beats(wrong: Array, right: Array) -> Array:
    """1 where a wrong label is more suspect than a right one, 1/2 where they tie: (n_wrong, n_right)."""
    return (wrong[:, None] > right[None, :]) + 0.5 * (wrong[:, None] == right[None, :])
