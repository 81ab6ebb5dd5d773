"""Prune a network by what its components do together, beside the usual scores, and judge it on new images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ablation import ComponentGame, fine_tune
from attribution import Datamodel, ProxySPEX
from attribution.curation.budget import choose
from attribution.curation.surrogate import Surrogate
from flows.lenses import LensDecisionError

ARMS = ("spectrum", "linear", "single", "taylor", "magnitude", "random")
FDR_LEVEL = 0.1  # sets that enter the surrogate
N_RESAMPLES = 2000


@dataclass(frozen=True)
class Judged:
    """Accuracy of a pruned network on images that no step has seen.

    Attributes
    ----------
    accuracy : float
        Share of images classified correctly.
    difference, low, high : float
        From the whole network, with a 95% interval over images (paired bootstrap).
    correct : (n_images,) bool
    """

    accuracy: float
    difference: float
    low: float
    high: float
    correct: np.ndarray


def scores_of_arms(game: ComponentGame, masks: np.ndarray, outputs: np.ndarray, alpha: float, seed: int = 0) -> dict:
    """Score every component by each rule; a larger score stays longer.

    Parameters
    ----------
    game : ComponentGame
        Its images are those that rules may look at.
    masks : (m, n_players) bool
    outputs : (m, n_images) float
        Of the game.
    alpha : float
        Inclusion probability of the masks.
    seed : int
        Of the random rule.

    Returns
    -------
    dict of str to (n_players,) float64
        linear: COAR's LASSO weights of the mean margin (arXiv 2404.11534). single: the mean margin lost when the
        component alone is switched off. taylor: mean absolute gradient of the loss with respect to the gate (Molchanov
        et al. 2019, arXiv 1906.10771). magnitude: mean absolute weight. random.
    """
    n_players = game.n_players
    everyone = np.ones((1, n_players), bool)
    whole = game.evaluate(everyone).mean()
    single = whole - game.evaluate(~np.eye(n_players, dtype=bool)).mean(axis=1)
    labels = game.fixed.labels.cpu().numpy()
    return {
        "linear": Datamodel(alpha=alpha).fit(masks, outputs.mean(axis=1)).coef_[0],
        "single": single,
        "taylor": np.abs(game.gate_gradients(game.fixed.images, labels)).mean(axis=0),
        "magnitude": game.weight_magnitudes(),
        "random": np.random.default_rng(seed).random(n_players),
    }


def surrogate_of(masks: np.ndarray, outputs: np.ndarray, alpha: float, max_order: int = 3) -> Surrogate:
    """Fit a spectrum to the mean margin and return it as a surrogate: shrunken main effects, sets with q <= 0.1."""
    model = ProxySPEX(alpha=alpha, max_order=max_order).fit(masks, outputs.mean(axis=1))
    found = model.interactions(max_q=FDR_LEVEL)
    return Surrogate(
        alpha=alpha,
        constant=model.spectra_[0].mean,
        main=model.effects_[0],
        main_stderr=model.effect_stderrs_[0],
        sets=tuple(one.members for one in found),
        weights=np.array([one.shrunken for one in found]),
        weight_stderrs=np.array([one.stderr for one in found]),
    )


def keep_by(scores: np.ndarray, n_keep: int) -> np.ndarray:
    """Return the mask of the `n_keep` components of largest score: (n_players,) bool."""
    keep = np.zeros(len(scores), bool)
    keep[np.argsort(-scores, kind="stable")[:n_keep]] = True
    return keep


def pruned(surrogate: Surrogate, scores: Mapping[str, np.ndarray], share: float) -> dict[str, np.ndarray]:
    """Return what every arm keeps when a share of the components goes.

    Parameters
    ----------
    surrogate : Surrogate
        Of the arm `spectrum`: the budget search of curation, under which redundant components go and synergistic ones
        stay.
    scores : {str: (n_players,) float64}
    share : float
        Part of the components that goes, in (0, 1).

    Returns
    -------
    dict of str to (n_players,) bool
    """
    if not 0 < share < 1:
        raise LensDecisionError(f"the share of components that goes must lie in (0, 1); got {share}")
    n_keep = max(1, round((1 - share) * surrogate.n_players))
    kept = {"spectrum": choose(surrogate, n_keep).keep}
    return kept | {name: keep_by(values, n_keep) for name, values in scores.items()}


@dataclass(frozen=True)
class Training:
    """The short training that every pruned network gets before it is judged, the same for all.

    Attributes
    ----------
    images, labels : arrays
        Which no rule has looked at and no network is judged on.
    epochs : int
    learning_rate : float
    seed : int
        Of the order of the images.
    """

    images: np.ndarray
    labels: np.ndarray
    epochs: int
    learning_rate: float = 1e-3
    seed: int = 0


def judge(
    game: ComponentGame, keep: np.ndarray, images: np.ndarray, labels: np.ndarray, *, beside: np.ndarray | None = None,
    seed: int = 0, training: Training | None = None,
) -> Judged:  # fmt: skip
    """Evaluate a pruned network on images that no rule has seen.

    Parameters
    ----------
    game : ComponentGame
    keep : (n_players,) bool
    images, labels : arrays
        New images and their classes.
    beside : (n_images,) bool, optional
        What to compare with, image by image; the whole network, untrained, by default.
    seed : int
        Of the resamples.
    training : Training, optional
        What the network gets first, its removed components staying removed.

    Returns
    -------
    Judged
    """
    tried = game
    if training is not None:
        tried = fine_tune(
            game, keep, training.images, training.labels,
            epochs=training.epochs, learning_rate=training.learning_rate, seed=training.seed,
        )  # fmt: skip
    correct = tried.logits(keep, images).argmax(axis=1) == labels
    if beside is None:
        beside = game.logits(np.ones(game.n_players, bool), images).argmax(axis=1) == labels
    return compared(correct, beside, seed)


def compared(correct: np.ndarray, beside: np.ndarray, seed: int = 0) -> Judged:
    """Compare what two networks get right, image by image.

    Parameters
    ----------
    correct, beside : (n_images,) bool
        Of the network that is judged, and of the other.
    seed : int
        Of the resamples.

    Returns
    -------
    Judged
    """
    paired = correct.astype(float) - beside
    rows = np.random.default_rng(seed).integers(0, len(paired), (N_RESAMPLES, len(paired)))
    low, high = np.quantile(paired[rows].mean(axis=1), [0.025, 0.975])
    return Judged(float(correct.mean()), float(paired.mean()), float(low), float(high), correct)
