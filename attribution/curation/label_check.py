"""Which labels are probably wrong: out-of-sample scores of the given labels against those of held-back examples."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.levels import LABEL_RATE
from attribution.statistics.false_discovery import adjust
from attribution.types import Array

RIDGE = 1e-4  # of the slope, an example: keeps it finite where planted and right labels do not overlap
EM_STEPS = 500
LEAST_HELD_BACK = 30  # held-back examples below which the mixture is not fitted
CONFIDENCE = 0.95  # of the limit for right pictures that models misread


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
    share_right
        (n_players,) estimated share of right labels among the players whose label is at least as doubtful, by the
        mixture of `mixture_of_labels`; None where no wrong labels were planted on the held-back examples.
    separation
        Probability that a wrong label planted on a held-back example scores below the right label of another one.
    n_checked
        Labels among which the doubtful ones were sought; those with a score when None. More than the players' where the
        players were chosen among others.
    """

    score: Array
    p_value: Array
    q_value: Array
    n_held_back: int
    share_right: Array | None = None
    separation: float = float("nan")
    n_checked: int | None = None

    @property
    def n_labels(self) -> int:
        """Labels among which the doubtful ones were sought."""
        return int(np.isfinite(self.score).sum()) if self.n_checked is None else self.n_checked

    def fewest_called(self, rate: float = LABEL_RATE) -> int:
        """Return how many labels must be doubted before one is called wrong.

        Parameters
        ----------
        rate
            Share of right labels among those called wrong that must not be exceeded.

        Returns
        -------
        int
            Right pictures that models misread, as many as the held-back examples cannot exclude, are `rate` of it.

        Notes
        -----
        No score tells a wrong label from a picture that looks like the other class. Among h held-back examples none of
        the latter need be; with confidence c their share among n players is then only known to be below
        1 - (1 - c)^(1/h), about 3 / h.
        """
        hidden = 1 - (1 - CONFIDENCE) ** (1 / self.n_held_back) if self.n_held_back else 1.0
        return int(np.ceil(self.n_labels * hidden / rate))


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
    planted_margins: Array | None = None,
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
    planted_margins
        (models, h) log odds of a wrong label planted on every held-back example; without them there is no mixture.

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

    When not to use it: players that are groups of examples, or a held-back set from another source. Players that were
    chosen because models do badly on them are no random sample either: check everything they were chosen from.
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
    by_models = scored.transpose(1, 0, 2).reshape(models, h)
    held_back = _mean_over(held_back_margins, by_models)
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
    found = LabelCheck(score, p_value, q_value, int(known.sum()))
    if planted_margins is None:
        return found
    planted = _mean_over(planted_margins, by_models)
    both = known & np.isfinite(planted)
    if both.sum() < LEAST_HELD_BACK:
        return found
    share_right = mixture_of_labels(score, held_back[both], planted[both])
    below = (planted[both][:, None] < held_back[both][None, :]).mean()
    return replace(found, share_right=share_right, separation=float(below))


def mixture_of_labels(score: Array, right: Array, planted: Array) -> Array:
    """Estimate the share of right labels among the most doubtful ones, from wrong labels planted on held-back examples.

    Parameters
    ----------
    score
        (n,) scores of the players' labels; NaN where there is none.
    right, planted
        (h,) scores of the held-back examples' own labels, and of wrong labels planted on them.

    Returns
    -------
    (n,) float64
        Estimated share of right labels among the players that score no higher than this one; 1 without a score.

    Notes
    -----
    Scores of players are a mixture of those of right labels and of wrong ones. The logarithm of the ratio of both
    densities is taken as linear in the score (logistic regression of planted against right, as for two normal
    distributions of one variance), and the share of wrong labels is found by expectation maximisation. The posterior
    probability of a right label, averaged over the most doubtful players, is the Bayesian false discovery rate (Efron
    2008, "Microarrays, empirical Bayes and the two-groups model", section 3). Unlike a rank among h held-back examples
    it has no smallest value of 1 / (h + 1), so that few wrong labels can be found beside few held-back examples.

    Examples
    --------
    >>> import numpy as np
    >>> generator = np.random.default_rng(0)
    >>> right, planted = generator.normal(3, 1, 100), generator.normal(-3, 1, 100)
    >>> shares = mixture_of_labels(np.r_[[-3.0, -2.5], generator.normal(3, 1, 98)], right, planted)
    >>> bool((shares[:2] < 0.05).all()), int((shares <= 0.1).sum())
    (True, 2)
    """
    from scipy.special import expit

    intercept, slope = _logistic(np.concatenate([right, planted]), np.arange(2 * len(right)) >= len(right))
    known = np.isfinite(score)
    log_ratio = intercept + slope * score[known]
    share_wrong = 0.1
    for _ in range(EM_STEPS):
        wrong = expit(log_ratio + np.log(share_wrong / (1 - share_wrong)))
        share_wrong = float(np.clip(wrong.mean(), 1e-6, 0.5))
    order = np.argsort(-wrong, kind="stable")
    running = np.empty(len(wrong))
    running[order] = np.cumsum(1 - wrong[order]) / np.arange(1, len(wrong) + 1)
    found = np.ones(len(score))
    found[known] = running
    return found


def _logistic(score: Array, is_wrong: NDArray[np.bool_]) -> tuple[float, float]:
    """Intercept and slope of a logistic regression by Newton's method, with a small ridge where classes separate."""
    from scipy.special import expit

    design = np.column_stack([np.ones(len(score)), score])
    ridge = np.diag([1e-9, RIDGE * len(score)])
    weights = np.zeros(2)
    for _ in range(100):
        chance = expit(design @ weights)
        gradient = design.T @ (chance - is_wrong) + ridge @ weights
        step = np.linalg.solve((design.T * (chance * (1 - chance))) @ design + ridge, gradient)
        weights = weights - step
        if np.abs(step).max() < 1e-9:
            break
    return float(weights[0]), float(weights[1])


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
