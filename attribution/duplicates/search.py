"""Find groups of copies from masks and outputs alone: proposed on one half of the masks, tested on the other.

Of k copies at alpha = 1/2 a pair has the interaction -2^{2-k} of the group's effect: from k = 5 on it is too small to
detect. "Any member is present", one coefficient for all k, is far larger (any_present_test.py). proposals.py searches
one half of the masks for sets; here they are tested on the other half, and then the halves change places.

A proposal depends on the test half through the main effects only, and the tested column is orthogonal to those. Each
half's proposals are a family at half the level (Benjamini-Yekutieli), which bounds the false discovery rate of both:
the false share of a union is at most the sum of the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from attribution.checks import check_integer
from attribution.duplicates.any_present_test import AnyPresent, any_present_fit
from attribution.duplicates.proposals import CopyProposals, Players, Proposal, overlap
from attribution.errors import AttributionError
from attribution.linear.main_effects import main_effects
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import CheckedData, check_data
from attribution.statistics.false_discovery import adjust
from attribution.types import Array

__all__ = ["ClusterSearch", "CopyGroup", "CopySearch", "FoundCluster", "find_clusters", "find_copies"]

OUTPUTS_AT_ONCE = 64  # targets whose datamodels are fitted at a time
MAX_PLAYERS = 1000  # players searched: of more, those of largest main effects over all targets
Z95_ONE_SIDED = 1.6448536269514722


@dataclass(frozen=True)
class CopyGroup:
    """A group of players that may be copies: proposed on one half of the masks, tested on the other.

    Attributes
    ----------
    players : tuple of int
    source : {"search", "profiles"}
        What proposed the group: the beam search, or similar main effects.
    target : int
        Target with the largest weight.
    weights : ndarray of shape (n_targets,)
        Direction that was tested, of length 1, in units of the outputs' residual standard deviations.
    effect, stderr : float
        Coefficient of "any member is present" along the direction, on the test half, and its standard error.
    p_value : float
        One-sided, of an effect without the sign of the members' main effects.
    q_value : float
        Adjusted over all proposals of both halves.
    z_all : float
        z on all masks. Use it for ranking only: the proposing masks are among them.
    main_effects : tuple of float
        Main effect of each member along the direction.
    main_effect_stderr : float
        Standard error of one of them.
    share : float
        Part of a member's effect alone that any other member has as well: 1 for copies, 0 for players that have nothing
        in common.
    kind : {"redundancy", "uncertain"}
        "redundancy" if the main effects have the sign of the effect.

    Examples
    --------
    See `find_copies`.
    """

    players: Players
    source: str
    target: int
    weights: Array
    effect: float
    stderr: float
    p_value: float
    q_value: float
    z_all: float
    main_effects: tuple[float, ...]
    main_effect_stderr: float
    share: float
    kind: str


@dataclass(frozen=True)
class CopySearch:
    """The result of `find_copies`.

    Attributes
    ----------
    tested : tuple of CopyGroup
        Every proposal with its test, smallest q-value first.
    n_tests : int
        Number of tests on both halves.
    """

    tested: tuple[CopyGroup, ...]
    n_tests: int

    def found(self, level: float = 0.05) -> list[CopyGroup]:
        """List redundant groups with q_value <= level.

        Of groups that overlap by more than half of the smaller one, only the one with the largest z is listed.

        Parameters
        ----------
        level : float
            False discovery rate.

        Returns
        -------
        list of CopyGroup
            Largest z first.
        """
        kept: list[CopyGroup] = []
        significant = [group for group in self.tested if group.q_value <= level and group.kind == "redundancy"]
        for group in sorted(significant, key=lambda group: -group.z_all):
            if not any(overlap(group.players, other.players) for other in kept):
                kept.append(group)
        return kept


def find_copies(
    masks: Any,
    outputs: Any,
    *,
    alpha: float = 0.5,
    groups: Any = None,
    max_size: int = 10,
    width: int = 300,
    across_targets: bool = True,
    max_tests: int = 100,
    seed: int = 0,
) -> CopySearch:
    """Find groups of players of which one is as good as all, and test them.

    Parameters
    ----------
    masks : array_like of bool, shape (n_masks, n_players)
    outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
    alpha : float
        Inclusion probability of all masks.
    groups : array_like, shape (n_masks,), optional
        Labels of rows that must share a half, such as antithetic partners. Equal masks always share one.
    max_size : int
        Members of the largest group, at least 2.
    width : int
        Sets that the beam search keeps at each size.
    across_targets : bool
        Search along players' main effects on all targets too, not along single targets only.
    max_tests : int
        Proposals that are tested on each half.
    seed : int
        Seed of the assignment of masks to halves.

    Returns
    -------
    CopySearch

    Raises
    ------
    AttributionError
        For invalid masks, outputs or settings, a single player, several alphas, or fewer than 12 groups of masks.

    Notes
    -----
    Near-duplicates that look alike are found with less effort by comparing images. This search is exploratory: it finds
    examples that are interchangeable to the models, whatever they look like. `detectable_sizes` computes how
    large a group can be found with a given number of masks.

    Examples
    --------
    Five copies: any one of players 0 to 4 is enough.

    >>> import numpy as np
    >>> from attribution import find_copies
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((800, 15)) < 0.5
    >>> outputs = masks[:, :5].any(axis=1) + 0.1 * rng.normal(size=800)
    >>> group, = find_copies(masks, outputs, width=50).found()
    >>> group.players, group.kind
    ((0, 1, 2, 3, 4), 'redundancy')
    >>> bool(group.share > 0.8)
    True
    """
    data = _checked(masks, outputs, alpha, groups, max_size, width, max_tests)
    alpha = float(np.ravel(alpha)[0])
    rows, values, labels = data.masks, data.outputs, data.groups
    n_targets = values.shape[1]
    parts = [
        main_effects(rows, values[:, first : first + OUTPUTS_AT_ONCE], alpha, labels, seed)
        for first in range(0, n_targets, OUTPUTS_AT_ONCE)
    ]
    residuals = np.concatenate([part.residuals for part in parts], axis=1)
    scale = residuals.std(axis=0)
    # The residuals of a target that is a linear function of the mask are rounding errors.
    alive = scale > 1e-9 * np.maximum(values.std(axis=0), 1e-300)
    unit = np.where(alive, scale, 1.0)
    residuals = np.where(alive, residuals / unit, 0.0)
    effects = np.concatenate([part.effect for part in parts]) / unit[:, None]
    errors = np.concatenate([part.stderr for part in parts]) / unit[:, None]
    known = alive[:, None] & (errors > 0)
    z = np.where(known, effects / np.where(known, errors, 1.0), 0.0)
    players = np.arange(rows.shape[1])
    if len(players) > MAX_PLAYERS:
        players = np.sort(np.argsort(-(z**2).sum(axis=0), kind="stable")[:MAX_PLAYERS])
    first_half = assign_folds(labels, N_FOLDS, seed) < N_FOLDS // 2
    tested: list[CopyGroup] = []
    for proposing in (first_half, ~first_half):
        search = CopyProposals(
            rows[np.ix_(proposing, players)], residuals[proposing], z[:, players], alpha, max_size, width
        )
        proposals = [
            replace(proposal, players=tuple(players[list(proposal.players)].tolist()))
            for proposal in search.proposals(across_targets and n_targets > 1)[:max_tests]
        ]
        held = ~proposing
        fits = []
        for proposal in proposals:
            pooled = residuals @ proposal.weights[:, None]
            own = any_present_fit(rows[held], pooled[held], proposal.players, alpha, labels[held])
            both = any_present_fit(rows, pooled, proposal.players, alpha, labels)
            noise = float(pooled.std()) / math.sqrt(alpha * (1 - alpha) * (int(labels.max()) + 1))
            fits.append((own, float(np.nan_to_num(both.z[0])), noise))
        q_values = np.minimum(1.0, 2 * adjust(np.array([own.p_above[0] for own, _, _ in fits]), "BY"))
        for proposal, (own, z_all, noise), q in zip(proposals, fits, q_values.tolist(), strict=True):
            tested.append(_copy_group(proposal, own, z_all, noise, q, effects, alpha))
    tested.sort(key=lambda group: (group.q_value, -group.z_all))
    return CopySearch(tuple(tested), len(tested))


# Earlier names of the same function and classes.
find_clusters, ClusterSearch, FoundCluster = find_copies, CopySearch, CopyGroup


def _checked(
    masks: Any, outputs: Any, alpha: float, groups: Any, max_size: int, width: int, max_tests: int
) -> CheckedData:
    if np.shape(masks)[1:] == (1,):
        raise AttributionError("a group of copies has at least two players; the masks have one.")
    data = check_data(masks, outputs, alpha, groups=groups)
    if data.alphas is not None:
        raise AttributionError(
            "copies are searched at one alpha; several were given. Give the masks of one alpha at a time."
        )
    for name, given, least in (("max_size", max_size, 2), ("width", width, 1), ("max_tests", max_tests, 1)):
        check_integer(name, given, least)
    return data


def _copy_group(
    proposal: Proposal, test: AnyPresent, z_all: float, noise: float, q: float, effects: Array, alpha: float
) -> CopyGroup:
    """Describe a tested proposal; noise: standard error of one player's main effect along the direction."""
    members, effect = list(proposal.players), float(test.effect[0])
    k = len(members)
    own = proposal.weights @ effects[:, members]
    same_sign = own.sum() > Z95_ONE_SIDED * noise * math.sqrt(k) and bool((own > -2 * noise).all())
    # The effect of a member alone is its own part, which others leave as it is, plus `effect`, which they replace.
    alone = float(own.mean()) + effect * (1 - (1 - alpha) ** (k - 1))
    return CopyGroup(
        players=proposal.players,
        source=proposal.source,
        target=int(np.abs(proposal.weights).argmax()),
        weights=proposal.weights,
        effect=effect,
        stderr=float(test.stderr[0]),
        p_value=float(test.p_above[0]),
        q_value=q,
        z_all=z_all,
        main_effects=tuple(own.tolist()),
        main_effect_stderr=noise,
        share=float(np.clip(effect / alone, 0.0, 1.0)) if alone > 0 else 0.0,
        kind="redundancy" if same_sign and effect > 0 else "uncertain",
    )
