"""One target's member sets under consideration, with what is known of each before anything is refitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.screening.screened_sets import ScreenedSets
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, Stratum
from attribution.types import Array

LEAST_REPORTED = 2.5  # |z| below which no set is reported, whatever enters: nobody could name its sign


@dataclass(frozen=True)
class Candidates:
    """The candidate sets of one target, with their statistics before any refit.

    Attributes
    ----------
    members : ndarray of int, shape (n_sets, max_order)
        Positions of the members among the players of the joint fit, padded with -1.
    sums, squares : ndarray of shape (N_FOLDS, n_sets)
        Sums over each fold of phi_S r and of its square.
    proposed : ndarray of bool, shape (2, n_sets)
        Which half of the masks a set was selected on; both for sets of a screen.
    screened : ndarray of bool, shape (n_sets,)
        True if the whole family was tested exhaustively: no half has to be held back for the set's test.
    mean, nil : ndarray of shape (N_FOLDS + 1, n_sets)
        Posterior mean of z and probability that the effect is null, without each fold and (last row) on all masks.
    cut : ndarray of shape (n_sets,)
        Smallest |z| of the set's own test at which it is reported.
    by_heredity : ndarray of bool, shape (n_sets,)
        True if smaller sets singled it out (screening/heredity.py): a stratum of its own among the q-values.
    """

    members: NDArray[np.int64]
    sums: Array
    squares: Array
    proposed: NDArray[np.bool_]
    screened: NDArray[np.bool_]
    mean: Array
    nil: Array
    cut: Array
    by_heredity: NDArray[np.bool_]

    @property
    def strata(self) -> list[Stratum]:
        """The stratum of each set among the q-values."""
        orders = (self.members >= 0).sum(axis=1)
        return [Stratum(int(order), bool(own)) for order, own in zip(orders, self.by_heredity, strict=True)]

    def z(self, folds: NDArray[np.int64]) -> Array:
        """The sets' z on some folds: (c,)."""
        squares = self.squares[folds].sum(axis=0)
        return self.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))

    def take(self, which: NDArray[np.bool_]) -> Candidates:
        """Some of the sets: which (c,)."""
        return Candidates(
            self.members[which], self.sums[:, which], self.squares[:, which], self.proposed[:, which],
            self.screened[which], self.mean[:, which], self.nil[:, which], self.cut[which], self.by_heredity[which],
        )  # fmt: skip

    def without(self, others: Sequence[Candidates]) -> Candidates:
        """Leave out sets that are among others."""
        width = self.members.shape[1]
        known = {tuple(row) for other in others if other.members.shape[1] == width for row in other.members.tolist()}
        return self.take(np.array([tuple(row) not in known for row in self.members.tolist()], dtype=bool))


def with_prior(
    setup: BlockSetup,
    hit: ScreenedSets,
    prior: EffectPrior,
    cut: float,
    stratum: Stratum,
    proposed: NDArray[np.bool_] | None = None,
    screened: bool = True,
    least: float = 0.0,
) -> Candidates:
    """Candidates of one prior and stratum. proposed: (2, c), which half put a set forward; None: both. screened: all
    sets there are were looked at and are counted, so that none has to be held back for their test. least: sets of
    smaller |z| in a fit are kept out of it, however likely the prior makes them."""
    n_sets = len(hit.members)
    mean, nil = np.empty((N_FOLDS + 1, n_sets)), np.empty((N_FOLDS + 1, n_sets))
    for row in range(N_FOLDS + 1):
        folds = setup.every if row == N_FOLDS else np.delete(setup.every, row)
        squares = hit.squares[folds].sum(axis=0)
        z = hit.sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares, 1e-300))
        share = float(setup.fold_weight[folds].sum() / setup.fold_weight.sum())
        mean[row], nil[row] = prior.scaled(share).shrink(z)
        nil[row, np.abs(z) < least] = 1.0
    return Candidates(
        hit.members, hit.sums, hit.squares, np.ones((2, n_sets), dtype=bool) if proposed is None else proposed,
        np.full(n_sets, screened), mean, nil, np.full(n_sets, cut), np.full(n_sets, stratum.by_heredity),
    )  # fmt: skip


def report_cut(setup: BlockSetup, q: Array | None, prior: EffectPrior, keep_z: float, usual_z: float) -> float:
    """The |z| from which a screen's sets are reported.

    Reported is what may pass the false discovery rate, what may enter the spectrum, or what chance brings often enough
    (usual_z), whichever is the lowest. q: (N_Z_BINS,) of the block's tests, None: of none; keep_z: what was kept."""
    edges = np.arange(N_Z_BINS, dtype=np.float64) * Z_STEP
    passing = edges[:0] if q is None else edges[q <= 0.1]
    entering = edges[prior.shrink(edges)[1] <= max(setup.settings.levels)]
    return max(LEAST_REPORTED, keep_z, min([*passing[:1].tolist(), *entering[:1].tolist(), usual_z]))


def no_candidates() -> Candidates:
    """None at all."""
    nothing, rows = np.zeros((N_FOLDS, 0)), np.zeros((N_FOLDS + 1, 0))
    return Candidates(
        np.zeros((0, 2), np.int64), nothing, nothing, np.zeros((2, 0), bool), np.zeros(0, bool), rows, rows,
        np.zeros(0), np.zeros(0, bool),
    )  # fmt: skip


def joined(parts: Sequence[Candidates]) -> Candidates:
    """Several candidates' sets, of whatever orders, one after the other."""
    if not parts:
        return no_candidates()
    width = max(part.members.shape[1] for part in parts)
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in parts], axis=-1)
        for field in fields(Candidates)
        if field.name != "members"
    }
    padded = [
        np.pad(part.members, ((0, 0), (0, width - part.members.shape[1])), constant_values=-1) for part in parts
    ]
    return Candidates(members=np.concatenate(padded), **columns)
