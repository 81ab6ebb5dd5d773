"""The candidate sets of one target, with their statistics before any refit.

Which sets become candidates is decided in candidate_search.py (pairs), triples.py and proxy_proposals.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.proposers import Proposer, bit_of
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.levels import REPORTED_Q
from attribution.screening.screened_sets import ScreenedSets
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum
from attribution.types import Array

MIN_REPORTED_Z = 2.5  # |z| below which no set is reported, not even one in the spectrum: its sign is unreliable


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """The candidate sets of one target, with their statistics before any refit.

    Attributes
    ----------
    members : ndarray of int, shape (n_sets, max_order)
        Positions of the members among the players of the joint fit, padded with -1.
    sums, squares : ndarray of shape (N_FOLDS, n_sets)
        Sums over each fold of phi_S r and of its square.
    selected_on_half : ndarray of bool, shape (2, n_sets)
        Halves of the masks on which a set was selected; both for sets of a screen.
    tested_exhaustively : ndarray of bool, shape (n_sets,)
        True if every set of the family was tested: no half of the masks has to be held back for the set's test.
    posterior_mean_z : ndarray of shape (N_FOLDS + 1, n_sets)
        Posterior mean of z, without each fold and (last row) on all masks.
    p_null : ndarray of shape (N_FOLDS + 1, n_sets)
        Posterior probability that the effect is null, in the same rows.
    report_threshold : ndarray of shape (n_sets,)
        Smallest |z| of the set's own test at which it is reported.
    by_heredity : ndarray of bool, shape (n_sets,)
        True if smaller sets singled it out (screening/heredity.py): a stratum of its own among the q-values.
    proposed_by : ndarray of uint8, shape (n_sets,)
        Bit of the proposer by whose rule the set is tested (proposers.py).
    proposers : ndarray of uint8, shape (n_sets,)
        Bits of all that propose the set, `proposed_by` included.
    """

    members: NDArray[np.int64]
    sums: Array
    squares: Array
    selected_on_half: NDArray[np.bool_]
    tested_exhaustively: NDArray[np.bool_]
    posterior_mean_z: Array
    p_null: Array
    report_threshold: Array
    by_heredity: NDArray[np.bool_]
    proposed_by: NDArray[np.uint8]
    proposers: NDArray[np.uint8]

    @property
    def strata(self) -> list[Stratum]:
        """The stratum of each set among the q-values."""
        orders = (self.members >= 0).sum(axis=1)
        return [Stratum(int(order), bool(own)) for order, own in zip(orders, self.by_heredity, strict=True)]

    def z(self, folds: NDArray[np.int64]) -> Array:
        """Compute the z of every set on some folds: (n_sets,)."""
        squares = self.squares[folds].sum(axis=0)
        return self.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))

    def name(self, proposer: Proposer, which: NDArray[np.bool_]) -> None:
        """Note, in place, that a proposer proposes some of the sets: which (n_sets,) bool."""
        self.proposers[which] |= bit_of(proposer)

    def take(self, which: NDArray[np.bool_]) -> Candidates:
        """Select some of the sets: which (n_sets,) bool."""
        columns = {name: getattr(self, name)[..., which] for name in _LAST_AXIS_IS_SETS}
        return Candidates(members=self.members[which], **columns)

    def without(self, others: Sequence[Candidates]) -> Candidates:
        """Leave out the sets that are among others."""
        width = self.members.shape[1]
        known = {tuple(row) for other in others if other.members.shape[1] == width for row in other.members.tolist()}
        return self.take(np.array([tuple(row) not in known for row in self.members.tolist()], dtype=bool))


_LAST_AXIS_IS_SETS = [field.name for field in fields(Candidates) if field.name != "members"]


def with_prior(
    setup: BlockSetup,
    sets: ScreenedSets,
    prior: EffectPrior,
    report_threshold: float,
    stratum: Stratum,
    *,
    proposed_by: Proposer,
    selected_on_half: NDArray[np.bool_] | None = None,
    min_z: float = 0.0,
) -> Candidates:
    """Make candidates of sets of a family that was tested exhaustively and shares a prior and a stratum.

    Parameters
    ----------
    setup : BlockSetup
    sets : ScreenedSets
        Sets of one target, with their statistics.
    prior : EffectPrior
        Prior of the family's z on all masks.
    report_threshold : float
        Smallest |z| of a set's own test at which it is reported.
    stratum : Stratum
        Stratum of the sets among the q-values.
    proposed_by : Proposer
        Proposer of all of them.
    selected_on_half : (2, c) bool, optional
        Halves of the masks on which a set was selected; both if omitted.
    min_z : float
        Sets with a smaller |z| are excluded from a fit, whatever their posterior.

    Returns
    -------
    Candidates
    """
    n_sets = len(sets.members)
    posterior_mean_z, p_null = np.empty((N_FOLDS + 1, n_sets)), np.empty((N_FOLDS + 1, n_sets))
    for row in range(N_FOLDS + 1):
        folds = setup.all_folds if row == N_FOLDS else np.delete(setup.all_folds, row)
        squares = sets.squares[folds].sum(axis=0)
        z = sets.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))
        share = float(setup.fold_weight[folds].sum() / setup.fold_weight.sum())
        posterior_mean_z[row], p_null[row] = prior.scaled(share).shrink(z)
        p_null[row, np.abs(z) < min_z] = 1.0
    return Candidates(
        members=sets.members,
        sums=sets.sums,
        squares=sets.squares,
        selected_on_half=np.ones((2, n_sets), dtype=bool) if selected_on_half is None else selected_on_half,
        tested_exhaustively=np.ones(n_sets, dtype=bool),
        posterior_mean_z=posterior_mean_z,
        p_null=p_null,
        report_threshold=np.full(n_sets, report_threshold),
        by_heredity=np.full(n_sets, stratum.by_heredity),
        proposed_by=np.full(n_sets, bit_of(proposed_by)),
        proposers=np.full(n_sets, bit_of(proposed_by)),
    )


def find_report_threshold(
    setup: BlockSetup, q: Array | None, prior: EffectPrior, retain_threshold: float, chance_threshold: float
) -> float:
    """Compute the |z| from which the sets of a screen are reported.

    Parameters
    ----------
    setup : BlockSetup
    q : (N_Z_BINS,) float64 or None
        q-value at the lower edge of every bin of |z|; None if nothing was tested.
    prior : EffectPrior
        Prior of the screen's z.
    retain_threshold : float
        |z| from which the screen retained sets.
    chance_threshold : float
        |z| that a few null sets of a target are expected to exceed.

    Returns
    -------
    float
        The smallest |z| that has a q-value of at most REPORTED_Q, may enter the spectrum, or reaches
        `chance_threshold`; at least `retain_threshold` and MIN_REPORTED_Z.
    """
    edges = np.arange(N_Z_BINS, dtype=np.float64) * Z_STEP
    significant = edges[:0] if q is None else edges[q <= REPORTED_Q]
    entering = edges[prior.shrink(edges)[1] <= max(setup.settings.max_p_null_grid)]
    smallest = min([*significant[:1].tolist(), *entering[:1].tolist(), chance_threshold])
    return max(MIN_REPORTED_Z, retain_threshold, smallest)


def no_candidates() -> Candidates:
    """Make candidates without any set."""
    per_fold, per_fit = np.zeros((N_FOLDS, 0)), np.zeros((N_FOLDS + 1, 0))
    return Candidates(
        members=np.zeros((0, 2), np.int64),
        sums=per_fold,
        squares=per_fold,
        selected_on_half=np.zeros((2, 0), bool),
        tested_exhaustively=np.zeros(0, bool),
        posterior_mean_z=per_fit,
        p_null=per_fit,
        report_threshold=np.zeros(0),
        by_heredity=np.zeros(0, bool),
        proposed_by=np.zeros(0, np.uint8),
        proposers=np.zeros(0, np.uint8),
    )


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Concatenate candidates, of any orders, in the order given."""
    if not parts:
        return no_candidates()
    width = max(part.members.shape[1] for part in parts)
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts], axis=-1) for name in _LAST_AXIS_IS_SETS
    }
    padded = [
        np.pad(part.members, ((0, 0), (0, width - part.members.shape[1])), constant_values=-1) for part in parts
    ]
    return Candidates(members=np.concatenate(padded), **columns)
