"""One-step estimates of effects and interactions, with errors and p-values that selection does not spoil."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attribution.candidates import Candidates
from attribution.screen import set_columns
from attribution.selection import Selection
from attribution.setup import BlockSetup
from attribution.significance import Considered, clustered_mean, two_sided_p, z_of

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Reported:
    """Sets of one target that either half selected, strongest evidence first. The arrays (c,) are in units of F.

    value, stderr: by the halves that did not select the set. overall, overall_stderr: by all masks.
    shrunken: posterior mean of `overall`. p_value: on all masks for screened sets, by the other half for proposed
    ones. kept: in the target's spectrum."""

    members: list[tuple[int, ...]]
    value: Array
    stderr: Array
    overall: Array
    overall_stderr: Array
    shrunken: Array
    p_value: Array
    kept: NDArray[np.bool_]


def main_effects(setup: BlockSetup, residual: Array, fold_main: Array) -> tuple[Array, Array]:
    """One-step main effects F({i}) and their clustered standard errors, (t, n) each; NaN for a constant player.

    residual: (m, t), cross-fitted; fold_main: (k, t, n), the coefficients they were made with."""
    share = setup.fold_weight / setup.fold_weight.sum()
    total = float(setup.weight.sum())
    centred = residual - np.average(residual, axis=0, weights=setup.weight)
    sums = setup.clusters.sums(centred, 1)
    main = np.einsum("k,ktn->tn", share, fold_main) + (sums.T @ setup.clusters.phi) / total
    if setup.clusters.exact:
        stderr = np.sqrt((sums.T**2) @ (setup.clusters.phi.astype(np.float64) ** 2)) / total
    else:
        stderr = np.stack(
            [
                clustered_mean(setup.phi * centred[:, [target]], setup.data.weight, setup.data.groups)[1]
                for target in range(setup.n_targets)
            ]
        )
    if setup.data.fixed_size:
        # The common shift is not identified; the minimum-norm convention is a mean of zero.
        main = main - main.mean(axis=1, keepdims=True)
    unknown = (setup.phi == setup.phi[:1]).all(axis=0)
    main[:, unknown] = np.nan
    stderr[:, unknown] = np.nan
    return main, stderr


def report(
    setup: BlockSetup, residual: Array, candidates: Candidates, selection: Selection, considered: Considered
) -> Reported:
    """Values, errors and p-values of one target's sets that a half selected.

    residual: (m,), cross-fitted by the spectrum. A set that the first half selected is estimated on the second and
    the other way round; one that both selected, by all masks. So a reported value owes nothing to its own luck.
    In `considered` a screened set's |z| of the screen is replaced by that of its final test, and proposed sets are
    added."""
    halves = [setup.every[~setup.half_of_fold], setup.every[setup.half_of_fold]]
    selected = np.array(
        [(np.abs(candidates.z(halves[h])) >= candidates.listing_z) & candidates.proposed[h] for h in (0, 1)]
    ).reshape(2, -1)
    listed = selected.any(axis=0) | selection.kept
    wanted = np.flatnonzero(listed | ~candidates.screened)
    columns = set_columns(setup.phi, candidates.members[wanted]).astype(np.float64)
    scores = columns * (residual - np.average(residual, weights=setup.weight))[:, None]
    estimate, stderr = np.empty((3, len(wanted))), np.empty((3, len(wanted)))
    for part, folds in enumerate((*halves, setup.every)):
        rows = np.flatnonzero(np.isin(setup.folds, folds))
        share = setup.fold_weight[folds] / setup.fold_weight[folds].sum()
        mean, stderr[part] = clustered_mean(scores[rows], setup.weight[rows], setup.data.groups[rows])
        estimate[part] = mean + share @ selection.fold_sets[folds][:, wanted]
    z = np.divide(estimate, stderr, out=np.zeros_like(estimate), where=stderr > 0)
    p = two_sided_p(z)
    # A proposed set is tested by the half that did not propose it, by both where both did (Bonferroni).
    proposed = candidates.proposed[:, wanted]
    by_other = np.where(proposed, p[1::-1], np.inf).min(axis=0) * proposed.sum(axis=0)
    screened = candidates.screened[wanted]
    p_value = np.where(screened, p[2], np.minimum(by_other, 1.0))
    orders = (candidates.members[wanted] >= 0).sum(axis=1)
    shown = listed[wanted]
    for order in np.unique(orders):
        now = orders == order
        considered.add_tests(int(order), z_of(p_value[now & ~screened]))
        swapped = now & screened & shown
        considered.move(
            int(order), np.abs(candidates.z(setup.every)[wanted][swapped]), z_of(p_value[swapped])
        )
    chosen = selected[:, wanted]
    same = chosen[0] == chosen[1]  # both halves, or (kept only) neither
    value = np.where(same, estimate[2], np.where(chosen[0], estimate[1], estimate[0]))
    value_stderr = np.where(same, stderr[2], np.where(chosen[0], stderr[1], stderr[0]))
    z_all = np.abs(candidates.z(setup.every)[wanted])
    shrink = np.abs(candidates.mean[-1, wanted]) / np.maximum(z_all, 1e-300)
    order = np.flatnonzero(shown)[np.argsort(p_value[shown], kind="stable")]
    return Reported(
        [tuple(int(i) for i in row if i >= 0) for row in candidates.members[wanted][order]],
        value[order], value_stderr[order], estimate[2, order], stderr[2, order],
        (shrink * estimate[2])[order], p_value[order], selection.kept[wanted][order],
    )  # fmt: skip
