"""Which labels are probably wrong: out-of-sample scores of the given labels against those of held-back examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.levels import LABEL_RATE
from attribution.statistics.false_discovery import adjust
from attribution.types import Array


@dataclass(frozen=True)
class LabelCheck:
    """How well every player's label fits models that did not see the player.

    Parameters
    ----------
    score
        (n_players,) mean log odds of the given label over models without the player; NaN where there is none.
    p_value
        (n_players,) share of held-back examples (of the same class mix) that fit their label no better.
    q_value
        (n_players,) false discovery rate at which the label is called wrong.
    n_held_back
        Held-back examples the players are compared with.
    """

    score: Array
    p_value: Array
    q_value: Array
    n_held_back: int

    def fewest_wrong(self, rate: float = LABEL_RATE) -> int:
        """Return how many labels must be wrong before one can be found at a false discovery rate, however clear."""
        return int(np.ceil(len(self.score) / (rate * (self.n_held_back + 1))))


def leave_out_masks(
    n_players: int, groups: NDArray[np.int64], n_folds: int, n_repeats: int, generator: np.random.Generator
) -> NDArray[np.bool_]:
    """Draw training sets in which every player is absent once in each repeat.

    Parameters
    ----------
    n_players
        Players.
    groups
        (n_players,) group numbers; players of one group are left out together, so that no model has seen a copy.
    n_folds, n_repeats
        Each repeat divides the groups at random into n_folds parts, and each model leaves one part out.

    Returns
    -------
    ndarray of bool
        (n_repeats * n_folds, n_players), True = present; row r * n_folds + k leaves out part k of repeat r.
    """
    names, of_player = np.unique(groups, return_inverse=True)
    if not 2 <= n_folds <= len(names):
        raise AttributionError(f"{len(names)} groups of players cannot be divided into {n_folds} parts.")
    rows = []
    for _ in range(n_repeats):
        part = np.empty(len(names), dtype=np.int64)
        part[generator.permutation(len(names))] = np.arange(len(names)) % n_folds
        rows += [part[of_player] != fold for fold in range(n_folds)]
    return np.array(rows)[:, :n_players]


def check_labels(
    masks: NDArray[np.bool_],
    player_margins: Array,
    held_back_margins: Array,
    player_classes: NDArray[np.int64],
    held_back_classes: NDArray[np.int64],
    n_folds: int,
    generator: np.random.Generator,
) -> LabelCheck:
    """Compare every player's out-of-sample log odds of its label with those of held-back examples.

    Parameters
    ----------
    masks
        (models, n_players) of `leave_out_masks`.
    player_margins, held_back_margins
        (models, n_players) and (models, h) log odds of the given label (margin_lse); NaN rows are left out.
    player_classes, held_back_classes
        Given labels, (n_players,) and (h,).
    n_folds
        As the masks were drawn.
    generator
        Assigns held-back examples to folds: each is scored by as many models as a player.

    Returns
    -------
    LabelCheck

    Notes
    -----
    Conformal p-values (Bates, Candes, Lei, Romano and Sesia 2023, "Testing for outliers with conformal p-values"):
    p_i = (w + sum_t w_t [s_t <= s_i]) / (w + sum_t w_t), s the score of a player i or of a held-back example t. The
    weights w_t turn the class mix of the held-back examples into that of the players, and w is the weight of the
    player's own class. If a player with a right label is exchangeable with a held-back example, Benjamini-Hochberg at
    level q calls at most the share q of its list wrong by mistake, in the mean. What it assumes: the held-back
    examples are of the same kind as the training examples, and their labels are no worse. Where they have wrong labels
    too, fewer players are called wrong. The models must not be affected by which examples are held back.

    When not to use it: players that are groups of examples, or a held-back set from another source.
    """
    models, n_players = masks.shape
    h = held_back_margins.shape[1]
    if player_margins.shape != (models, n_players) or held_back_margins.shape[0] != models:
        raise AttributionError(
            f"margins need one row per model; got {player_margins.shape} and {held_back_margins.shape} for {models}."
        )
    left_out = ~masks
    score = _mean_over(player_margins, left_out)
    fold_of = np.stack([generator.permutation(h) % n_folds for _ in range(models // n_folds)])
    scored = np.concatenate([fold_of == fold for fold in range(n_folds)]).reshape(n_folds, -1, h)
    held_back = _mean_over(held_back_margins, scored.transpose(1, 0, 2).reshape(models, h))
    weight = _class_weights(player_classes, held_back_classes)
    p_value = np.full(n_players, np.nan)
    own = weight[held_back_classes]
    known = np.isfinite(held_back)
    for player in np.flatnonzero(np.isfinite(score)).tolist():
        below = float(own[known & (held_back <= score[player])].sum())
        mine = float(weight[player_classes[player]])
        p_value[player] = (mine + below) / (mine + float(own[known].sum()))
    q_value = np.ones(n_players)
    tested = np.isfinite(p_value)
    if tested.any():
        q_value[tested] = adjust(p_value[tested], "BH")
    return LabelCheck(score, p_value, q_value, int(known.sum()))


def _mean_over(margins: Array, chosen: NDArray[np.bool_]) -> Array:
    """Mean of the chosen finite entries of each column; NaN where there is none."""
    used = chosen & np.isfinite(margins)
    count = used.sum(axis=0)
    total = np.where(used, margins, 0.0).sum(axis=0)
    return np.divide(total, count, out=np.full(margins.shape[1], np.nan), where=count > 0)


def _class_weights(player_classes: NDArray[np.int64], held_back_classes: NDArray[np.int64]) -> Array:
    """(C,) players of a class for each held-back example of it; a class that only players have takes the largest."""
    n = int(max(player_classes.max(initial=0), held_back_classes.max(initial=0))) + 1
    players = np.bincount(player_classes, minlength=n) / len(player_classes)
    held = np.bincount(held_back_classes, minlength=n) / max(1, len(held_back_classes))
    ratio = np.divide(players, held, out=np.zeros(n), where=held > 0)
    ratio[(held == 0) & (players > 0)] = ratio.max(initial=1.0)
    return ratio
