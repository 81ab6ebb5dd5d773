"""The link: how the output saturates in what speaks for it and in what speaks against it, whoever the players are.

With the datamodel's coefficients b split by sign, u+ = sum of b_i phi_i over players that raise the output and u- over
those that lower it, the output is u+ + u- + k1 u+^2 + k2 u-^2 + 2 k3 u+ u-, less the squares of single players. So a
pair has the coefficient 2 k b_i b_j, with the curvature k of its two sides and nothing that belongs to these two alone:
the saturation part of its interaction. One curve of u+ + u- alone (k1 = k2 = k3) does not fit: on real campaigns k1 is
negative, k2 positive and k3 near 0, and where both sides weigh the same, one curve sees no curvature at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from attribution.linear.datamodel_fit import LinearFit
from attribution.types import Array, Floating

# The curvatures: of the players that raise the output, of those that lower it, and between the two.
SIDES = ("helping", "hurting", "across")
# Targets from which the curvatures of a block have a common mean; fewer are shrunken towards 0.
_MIN_TARGETS = 5
# Effective number of players, (sum b^2)^2 / sum b^4, from which a side has a curve: with two players a curve and the
# interaction of these two are one column, and of three copies both describe the same. A choice.
_MIN_PLAYERS = 2.5
# Pairs of so many of the strongest players are looked at for those that do not agree with the curve, which are taken
# out of its fit; the z from which a pair is, and the most pairs taken out of one target. Choices.
_STRONGEST, _OUTLIER_Z, _MAX_OUTLIERS = 40, 4.0, 20
_PRIOR_SD = 0.15  # of k |b|, where no other target says more; real campaigns have .1 (benchmarks/attribution.md)
# Largest |k| |b|: a curve must not turn within 1.4 standard deviations of the linear predictor; what is steeper belongs
# to the players. A choice.
_STEEPEST = 0.35
_UNKNOWN = 1e12  # variance of a curvature that the masks do not determine


@dataclass(frozen=True)
class LinkPrior:
    """Where the curvatures of targets lie: each kappa = k |b| is drawn from N(centre, between), side by side.

    Attributes
    ----------
    centre, between : (3,) float64
        Mean and variance for each of `SIDES`.
    of_folds : tuple of LinkPrior
        The same without the rows of each fold, so that cross-fitted curvatures do not depend on the rows they predict.

    Examples
    --------
    >>> kappa, spread = np.full((8, 3), -0.2), np.full((8, 3), 0.01)
    >>> LinkPrior.fit(kappa, spread).centre.round(2).tolist()
    [-0.2, -0.2, -0.2]
    """

    centre: Array
    between: Array
    of_folds: tuple[LinkPrior, ...] = ()

    @staticmethod
    def fit(kappa: Array, spread: Array) -> LinkPrior:
        """Fit to estimates (t, 3) and their variances; infinite or zero ones say nothing."""
        centre, between = np.zeros(kappa.shape[1]), np.zeros(kappa.shape[1])
        for side in range(kappa.shape[1]):
            known = np.isfinite(spread[:, side]) & (spread[:, side] > 0)
            if known.any():
                centre[side], between[side] = _normal_prior(kappa[known, side], spread[known, side])
        return LinkPrior(centre, between)


@dataclass(frozen=True, kw_only=True)
class LinkFit:
    """Curvatures of t targets. They multiply coefficients in the outputs' units, and are in 1 / that unit.

    Attributes
    ----------
    curvature, stderr : (t, 3) float64
        k1, k2, k3 of every target (`SIDES`), shrunken over the targets, and their posterior standard deviations.
    raw, raw_stderr : (t, 3) float64
        The same before shrinkage; standard errors are clustered by row group, infinite where not identified.
    fold_curvature : (k, t, 3) float64
        Shrunken curvatures without each fold.
    predicted : (m, t) float64
        The link's part of the output at every row, from coefficients and curvatures without the row's fold.
    prior : LinkPrior or None
        What the curvatures were shrunken to.

    Examples
    --------
    >>> from attribution.linear.datamodel_fit import fit_linear
    >>> phi = 2.0 * (np.random.default_rng(0).random((900, 6)) < 0.5) - 1
    >>> u, folds = phi @ [0.5, 0.5, 0.5, 0.5, 0.0, 0.0], np.arange(900) % 6
    >>> linear = fit_linear(phi, (u - 0.2 * u**2)[:, None], folds)
    >>> link = fit_link(phi, (u - 0.2 * u**2)[:, None], linear, folds)
    >>> link.curvature[0, :1].round(1).tolist()
    [-0.2]
    >>> link.pair_coefficient(linear.coef, np.array([[0, 1]]))[0].round(1).tolist()
    [-0.1]
    """

    curvature: Array
    stderr: Array
    raw: Array
    raw_stderr: Array
    fold_curvature: Array
    predicted: Array
    prior: LinkPrior | None = None

    def at(self, targets: slice) -> LinkFit:
        """Return the link of some targets."""
        return LinkFit(
            curvature=self.curvature[targets], stderr=self.stderr[targets],
            raw=self.raw[targets], raw_stderr=self.raw_stderr[targets],
            fold_curvature=self.fold_curvature[:, targets], predicted=self.predicted[:, targets],
        )  # fmt: skip

    def evaluate(self, phi: Floating, coef: Array) -> Array:
        """Return the link's part of the output: phi (h, n), the datamodel's coefficients (t, n) -> (h, t)."""
        return np.einsum("hts,ts->ht", link_columns(phi, coef), self.curvature)

    def pair_factors(self, coef: Array) -> tuple[Array, Array]:
        """Return left and right, (t, n, 2) each: left[t, i] @ right[t, j] is `pair_coefficient` of the pair (i, j)."""
        sides = np.stack([np.maximum(coef, 0.0), np.minimum(coef, 0.0)], axis=2)
        helping, hurting, across = self.curvature.T
        mixed = np.stack([np.stack([helping, across], axis=1), np.stack([across, hurting], axis=1)], axis=1)
        return 2.0 * sides @ mixed, sides

    def pair_variance(self, coef: Array, coef_stderr: Array, pairs: NDArray[np.int64]) -> Array:
        """Return the variance of `pair_coefficient` (t, c), by the errors of curvatures and coefficients (t, n)."""
        first, second = coef[:, pairs[:, 0]], coef[:, pairs[:, 1]]
        errors = coef_stderr[:, pairs[:, 0]], coef_stderr[:, pairs[:, 1]]
        side = _side(first, second)
        curvature = np.take_along_axis(self.curvature, side, axis=1)
        of_curvature = np.take_along_axis(self.stderr, side, axis=1) * first * second
        of_effects = curvature**2 * ((second * errors[0]) ** 2 + (first * errors[1]) ** 2)
        return np.asarray(4.0 * (of_curvature**2 + of_effects))

    def pair_coefficient(self, coef: Array, pairs: NDArray[np.int64]) -> Array:
        """Return the saturation part 2 k b_i b_j of pairs (c, 2) on every target, as a coefficient: (t, c)."""
        return _of_pairs(self.curvature, coef, pairs)

    def fold_pair_coefficient(self, fold_coef: Array, pairs: NDArray[np.int64]) -> Array:
        """Return the same by the fits without each fold: fold_coef (k, t, n) -> (k, t, c)."""
        return np.stack([_of_pairs(k, coef, pairs) for k, coef in zip(self.fold_curvature, fold_coef, strict=True)])


def no_link(linear: LinearFit, n_masks: int) -> LinkFit:
    """Make the link of targets without curvature."""
    n_folds, n_targets = linear.fold_intercept.shape
    nothing = np.zeros((n_targets, 3))
    return LinkFit(
        curvature=nothing, stderr=nothing, raw=nothing, raw_stderr=np.full((n_targets, 3), np.inf),
        fold_curvature=np.zeros((n_folds, n_targets, 3)), predicted=np.zeros((n_masks, n_targets)),
    )  # fmt: skip


def link_columns(phi: Floating, coef: Array) -> Array:
    """Evaluate what each curvature multiplies.

    Parameters
    ----------
    phi : (m, n) float
        The basis at each row.
    coef : (t, n) float64
        Coefficients of the datamodel.

    Returns
    -------
    (m, t, 3) float64
        The sums of b_i b_j phi_i phi_j over ordered pairs of different players: both helping, both hurting, one each.
    """
    helping, hurting = np.maximum(coef, 0.0).T.astype(phi.dtype), np.minimum(coef, 0.0).T.astype(phi.dtype)
    up, down = (phi @ helping).astype(np.float64), (phi @ hurting).astype(np.float64)
    squared = phi * phi
    return np.stack(
        [up**2 - squared @ helping**2, down**2 - squared @ hurting**2, 2.0 * up * down], axis=2
    )


def fit_link(
    phi: Floating,
    outputs: Floating,
    linear: LinearFit,
    folds: NDArray[np.int64],
    *,
    weight: Floating | None = None,
    groups: NDArray[np.int64] | None = None,
    prior: LinkPrior | None = None,
) -> LinkFit:
    """Fit the curvatures of every target to what the datamodel leaves.

    Parameters
    ----------
    phi : (m, n) float
        The basis at each row.
    outputs : (m, t) float
    linear : LinearFit
        The datamodel of the same rows and folds.
    folds : (m,) int64
        Fold of each row.
    weight : (m,) float or None
        Weights of the rows; None for ones.
    groups : (m,) int64 or None
        Row groups that standard errors are clustered by; None for single rows.
    prior : LinkPrior or None
        From more targets than these, on the same rows and folds, where these are a part of a campaign's; None: from
        these.

    Returns
    -------
    LinkFit

    Notes
    -----
    Least squares of the out-of-fold residuals on out-of-fold columns. The curvatures kappa = k |b| are then shrunken:
    kappa_t ~ N(mu, tau^2) over the targets, mu and tau by Paule and Mandel (1982); with fewer than five targets mu = 0
    and tau is at most .15. Pairs of strong players that do not agree with the curve of all others are taken out of its
    fit, and a side of too few players has the mean curve. Curves are quadratic, so that a pair's part has a closed
    form at every alpha.
    """
    n_folds, (n_masks, n_targets) = len(linear.fold_coef), outputs.shape
    w = np.ones(n_masks) if weight is None else np.asarray(weight, dtype=np.float64)
    residual = outputs - linear.predicted
    columns = np.empty((n_masks, n_targets, 3))
    rows = [np.flatnonzero(folds == fold) for fold in range(n_folds)]
    for fold, own in enumerate(rows):
        columns[own] = link_columns(phi[own], linear.fold_coef[fold])
    columns -= np.einsum("m,mts->ts", w, columns) / w.sum()
    residual = residual - (w @ residual) / w.sum()
    fitted_to = columns.copy()
    for target in range(n_targets):
        pairs = _outliers(phi, residual[:, target] * w, linear.coef[target], columns[:, target], w)
        for fold, own in enumerate(rows):
            columns_of_pairs = _columns_of_pairs(phi[own], linear.fold_coef[fold, target], pairs)
            fitted_to[own, target] -= columns_of_pairs
    fitted_to -= np.einsum("m,mts->ts", w, fitted_to) / w.sum()
    gram = np.stack([np.einsum("m,mts,mtr->tsr", w[own], fitted_to[own], fitted_to[own]) for own in rows])
    cross = np.stack([np.einsum("m,mts,mt->ts", w[own], fitted_to[own], residual[own]) for own in rows])
    unit = np.sqrt((linear.coef**2).sum(axis=1))
    raw, bread = _solve(gram.sum(axis=0), cross.sum(axis=0))
    left = residual - np.einsum("mts,ts->mt", fitted_to, raw)
    variance = _clustered(fitted_to, left * w[:, None], bread, groups)
    known = (np.einsum("tss->ts", bread) > 0) & _has_many_players(linear.coef)
    variance[~known] = np.inf
    more = variance * n_folds / max(n_folds - 1, 1)
    without = [_solve(gram.sum(axis=0) - gram[fold], cross.sum(axis=0) - cross[fold])[0] for fold in range(n_folds)]
    if prior is None:
        prior = LinkPrior.fit(raw * unit[:, None], _of_kappa(variance, unit))
        of_folds = tuple(LinkPrior.fit(own * unit[:, None], _of_kappa(more, unit)) for own in without)
        prior = replace(prior, of_folds=of_folds)
    curvature, posterior = _shrink(raw, variance, unit, prior)
    predicted = np.empty((n_masks, n_targets))
    fold_curvature = np.empty((n_folds, n_targets, 3))
    for fold, own in enumerate(rows):
        of_fold = prior.of_folds[fold] if len(prior.of_folds) == n_folds else prior
        fold_curvature[fold] = _shrink(without[fold], more, unit, of_fold)[0]
        predicted[own] = np.einsum("mts,ts->mt", columns[own], fold_curvature[fold])
    return LinkFit(
        curvature=curvature,
        stderr=np.sqrt(posterior),
        raw=raw,
        raw_stderr=np.sqrt(variance),
        fold_curvature=fold_curvature,
        predicted=predicted,
        prior=prior,
    )


def _of_kappa(variance: Array, unit: Array) -> Array:
    """Variances (t, 3) of kappa = k |b| from those of k; infinite stays infinite, also where b is zero."""
    known = np.isfinite(variance)
    return np.where(known, np.where(known, variance, 0.0) * unit[:, None] ** 2, np.inf)


def _has_many_players(coef: Array) -> NDArray[np.bool_]:
    """Whether each side of every target, and both together, have players enough for a curve: (t, 3)."""
    enough = []
    for side in (np.maximum(coef, 0.0), np.minimum(coef, 0.0)):
        squares = side**2
        enough.append(squares.sum(axis=1) ** 2 >= _MIN_PLAYERS * (squares**2).sum(axis=1))
    return np.stack([*enough, enough[0] & enough[1]], axis=1)


def _columns_of_pairs(phi: Floating, coef: Array, pairs: NDArray[np.int64]) -> Array:
    """The part of `link_columns` that belongs to some pairs (c, 2) of one target, coef (n,): (m, 3)."""
    first, second = coef[pairs[:, 0]], coef[pairs[:, 1]]
    weights = 2.0 * (first * second)[:, None] * (_side(first, second)[:, None] == np.arange(3))
    return (phi[:, pairs[:, 0]] * phi[:, pairs[:, 1]]).astype(np.float64) @ weights


def _outliers(phi: Floating, weighted: Array, coef: Array, columns: Array, weight: Array) -> NDArray[np.int64]:
    """Pairs of one target's strongest players whose interaction is not that of the curve through all others: (c, 2).

    The pair of largest |z| is taken out, and so on while one reaches _OUTLIER_Z. z compares a pair's coefficient with
    the curve without it, by a normal prior of k |b|."""
    unit = float(np.sqrt((coef**2).sum()))
    strongest = np.argsort(-np.abs(coef), kind="stable")[:_STRONGEST]
    strongest = strongest[coef[strongest] != 0]
    if len(strongest) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    own = phi[:, strongest].astype(np.float64)
    i, j = np.triu_indices(len(strongest), 1)
    total = float(weight.sum())
    found = ((own * weighted[:, None]).T @ own)[i, j] / total
    variance = (((own * weighted[:, None]) ** 2).T @ own**2)[i, j] / total**2
    b = coef[strongest]
    by_curve, side = 2.0 * b[i] * b[j], _side(b[i], b[j])
    information = np.array([weight @ columns[:, s] ** 2 for s in range(3)]) / total
    evidence = np.array([weighted @ columns[:, s] for s in range(3)]) / total
    noise = float(weighted @ weighted) / total**2
    prior = noise / (_PRIOR_SD / unit) ** 2
    taken: list[int] = []
    while len(taken) < _MAX_OUTLIERS:
        rest = np.maximum(information[side] - by_curve**2, 0.0) + prior
        curve = (evidence[side] - by_curve * found) / rest
        z = np.abs(found - curve * by_curve) / np.sqrt(variance + by_curve**2 * noise / rest)
        z[taken] = 0.0
        worst = int(z.argmax())
        if z[worst] < _OUTLIER_Z:
            break
        taken.append(worst)
        information[side[worst]] -= by_curve[worst] ** 2
        evidence[side[worst]] -= by_curve[worst] * found[worst]
    return np.column_stack([strongest[i[taken]], strongest[j[taken]]]).astype(np.int64)


def _of_pairs(curvature: Array, coef: Array, pairs: NDArray[np.int64]) -> Array:
    """2 k b_i b_j of pairs (c, 2), by curvatures (t, 3) and coefficients (t, n): (t, c)."""
    first, second = coef[:, pairs[:, 0]], coef[:, pairs[:, 1]]
    return np.asarray(2.0 * np.take_along_axis(curvature, _side(first, second), axis=1) * first * second)


def _side(first: Array, second: Array) -> NDArray[np.int64]:
    """Which curvature belongs to two coefficients (`SIDES`)."""
    return np.where((first > 0) & (second > 0), 0, np.where((first < 0) & (second < 0), 1, 2))


def _solve(gram: Array, cross: Array) -> tuple[Array, Array]:
    """Least squares (t, 3) and the inverse Gram matrices (t, 3, 3); zero for columns that vanish."""
    size = np.sqrt(np.einsum("tss->ts", gram))
    used = size > 1e-6 * size.max(axis=1, keepdims=True, initial=1e-300)
    scale = np.where(used, size, 1.0)
    both = used[:, :, None] & used[:, None, :]
    scaled = np.where(both, gram / (scale[:, :, None] * scale[:, None, :]), 0.0) + 1e-9 * np.eye(3)
    scaled += np.einsum("ts,sr->tsr", (~used).astype(np.float64), np.eye(3))
    inverse = np.where(both, np.linalg.inv(scaled) / (scale[:, :, None] * scale[:, None, :]), 0.0)
    return np.einsum("tsr,tr->ts", inverse, cross), inverse


def _clustered(columns: Array, weighted: Array, bread: Array, groups: NDArray[np.int64] | None) -> Array:
    """Sandwich variances (t, 3) of the curvatures, clustered by row group."""
    scores = columns * weighted[:, :, None]
    if groups is not None and len(np.unique(groups)) < len(groups):
        order = np.argsort(groups, kind="stable")
        starts = np.concatenate([[0], np.flatnonzero(np.diff(groups[order])) + 1])
        scores = np.add.reduceat(scores[order], starts, axis=0)
    influence = np.einsum("tsr,mtr->mts", bread, scores)
    return np.asarray((influence**2).sum(axis=0))


def _shrink(raw: Array, variance: Array, unit: Array, prior: LinkPrior) -> tuple[Array, Array]:
    """Posterior means and variances (t, 3) of the curvatures, each side by its normal prior over the targets."""
    scale = np.where(unit > 0, unit, 1.0)[:, None]
    kappa, spread = raw * scale, variance * scale**2
    mean, posterior = np.zeros_like(kappa), np.full_like(kappa, 0.0)
    for side, (centre, between) in enumerate(zip(prior.centre, prior.between, strict=True)):
        known = np.isfinite(spread[:, side]) & (spread[:, side] > 0) & (unit > 0)
        own = np.where(known, spread[:, side], _UNKNOWN)
        share = between / (between + own)
        found = np.clip(centre + share * (kappa[:, side] - centre), -_STEEPEST, _STEEPEST)
        mean[:, side] = np.where(unit > 0, found, 0.0)
        posterior[:, side] = np.where(unit > 0, share * own, 0.0)
    return mean / scale, posterior / scale**2


def _normal_prior(values: Array, variances: Array) -> tuple[float, float]:
    """Mean of the true values, and the variance at which the weighted sum of squares is as large as expected."""
    if len(values) < _MIN_TARGETS:
        return 0.0, min(_PRIOR_SD**2, max(float((values**2 - variances).mean()), 0.0))
    expected = len(values) - 1

    def centre_of(between: float) -> float:
        weight = 1.0 / (between + variances)
        return float(weight @ values / weight.sum())

    def excess(between: float) -> float:
        return float(((values - centre_of(between)) ** 2 / (between + variances)).sum()) - expected

    low, high = 0.0, float((values**2).max() + variances.max())
    if excess(low) <= 0:
        return centre_of(low), low
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) > 0 else (low, middle)
    return centre_of(high), high
