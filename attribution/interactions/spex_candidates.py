"""Candidate sets of a SPEX design: what either half of its masks decodes to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.member_sets import Members
from attribution.interactions.candidate_table import MIN_REPORTED_Z, Candidates, joined
from attribution.interactions.proposers import bit_of
from attribution.interactions.setup import N_FOLDS, BlockSetup
from attribution.linear.datamodel_fit import fit_linear
from attribution.screening.screen import set_statistics
from attribution.spex.decoder import bins_of, decode
from attribution.spex.design import SpexDesign
from attribution.spex.rows import rows_of_design
from attribution.types import Array

_LEAST_PRIOR_VARIANCE = 9.0  # of z among decoded sets that are real: decoding needs about |z| = 3


def spex_candidates(setup: BlockSetup, design: SpexDesign, residual: Array) -> list[Candidates]:
    """Decode each half of the design and make candidates of the sets of two and more members.

    Parameters
    ----------
    setup : BlockSetup
        Its folds keep the halves apart (spex/rows.py).
    design : SpexDesign
    residual : (m, t) float64
        Out-of-fold residuals of the datamodel.

    Returns
    -------
    list of Candidates
        One for each target. A set is tested on the half that did not decode it.

    Notes
    -----
    Each half is a design of one bit less. Main effects are fitted on the half and subtracted before it is decoded, so
    that they take no room in the bins.
    """
    halves = [decoded_half(setup, design, second) for second in (False, True)]
    by_parity = {parity: setup.row_groups.sums(residual, parity) for parity in (0, 1)}
    place = np.full(setup.n_all_players, -1, np.int64)
    place[setup.players] = np.arange(setup.n_players)
    result = []
    for target in range(setup.n_targets):
        found = [
            {members for members in half[target] if len(members) > 1 and (place[list(members)] >= 0).all()}
            for half in halves
        ]
        parts = []
        for order in sorted({len(members) for members in found[0] | found[1]}):
            sets = sorted(members for members in found[0] | found[1] if len(members) == order)
            statistics = set_statistics(
                setup.row_groups, setup.fold_of_row_group, N_FOLDS, place[np.array(sets)],
                by_parity[order % 2][:, target],
            )  # fmt: skip
            on_half = np.array([[members in half for members in sets] for half in found])
            parts.append(_candidates(setup, statistics.members, statistics.sums, statistics.squares, on_half))
        result.append(joined(parts))
    return result


def decoded_half(setup: BlockSetup, design: SpexDesign, second: bool) -> list[dict[Members, float]]:
    """Decode one half of a design's masks, less the datamodel of that half: {members: F(S)} of each target."""
    of_half = np.flatnonzero(setup.half_of_fold[setup.folds] == second)
    _, folds = np.unique(setup.folds[of_half], return_inverse=True)
    y = setup.data.outputs
    own = fit_linear(
        setup.phi[of_half], y[of_half], folds.astype(np.int64),
        weight=None if setup.data.weight is None else setup.weight[of_half],
    )  # fmt: skip
    residual = y - (setup.phi @ own.coef.T.astype(setup.phi.dtype) + own.intercept)
    smaller = design.with_bits(design.n_bits - 1)
    rows = rows_of_design(design, setup.all_masks)
    rows = rows[smaller.n_masks :] if second else rows[: smaller.n_masks]
    values = np.where((rows >= 0)[:, None], residual[rows], 0.0)  # a missing output counts as the datamodel's
    shift = (design.directions() >> (design.n_bits - 1)) & 1
    return decode(smaller, bins_of(smaller, values), shift=shift.astype(bool) if second else None)


def _candidates(
    setup: BlockSetup, members: NDArray[np.int64], sums: Array, squares: Array, on_half: NDArray[np.bool_]
) -> Candidates:
    """Candidates with a normal prior of their own: a set that was decoded is real or not with even odds."""
    n_sets = len(members)
    posterior, p_null = np.empty((N_FOLDS + 1, n_sets)), np.empty((N_FOLDS + 1, n_sets))
    for row in range(N_FOLDS + 1):
        folds = setup.all_folds if row == N_FOLDS else np.delete(setup.all_folds, row)
        z = sums[folds].sum(axis=0) / np.sqrt(np.maximum(squares[folds].sum(axis=0), 1e-300))
        variance = np.maximum(z**2, _LEAST_PRIOR_VARIANCE)
        shrink = variance / (1.0 + variance)
        log_odds = 0.5 * (z**2 * shrink - np.log1p(variance))
        p_null[row] = 1.0 / (1.0 + np.exp(np.minimum(log_odds, 700.0)))
        posterior[row] = z * shrink * (1.0 - p_null[row])
    return Candidates(
        members=members,
        sums=sums,
        squares=squares,
        selected_on_half=on_half,
        tested_exhaustively=np.zeros(n_sets, bool),
        posterior_mean_z=posterior,
        p_null=p_null,
        report_threshold=np.full(n_sets, MIN_REPORTED_Z),
        by_heredity=np.zeros(n_sets, bool),
        proposed_by=np.full(n_sets, bit_of("SPEX"), np.uint8),
        proposers=np.full(n_sets, bit_of("SPEX"), np.uint8),
    )


