"""Shares of the outputs' variance by order (main effects, pairs, larger sets), in closed form and before any fit.

Saunshi, Gupta, Braverman and Arora (2022, arXiv 2210.01072) estimate the residual of the best linear datamodel from
pairs of correlated masks: outputs of similar masks agree as far as low orders explain them. A campaign has independent
masks, some pairs of which are by chance more alike than others, and that suffices. With

    K_k(a, b) = sum_{|S| = k} phi_S(a) phi_S(b),    W_k = sum_{|S| = k} F(S)^2 = E[y_a y_b K_k(a, b)],  a != b,

the mean of y_a y_b K_k(a, b) over pairs of different masks is unbiased for W_k, also with seed noise (which is
independent between runs). W_1 is the variance that the best linear function of the mask explains. K_k is an elementary
symmetric polynomial of the products phi_i(a) phi_i(b): no fit, one product of the masks with themselves. For fixed-size
masks the phi_S are not orthogonal; K_k is then the zonal polynomial of the masks' overlap (orthogonal under the
hypergeometric distribution), and W_k is what the best function of order k explains beyond order k - 1.

The standard error is about sqrt(2 C(n, k)) / n_masks of the variance, besides what the signal adds: small for k = 1,
about n_players / n_masks for k = 2. The shares measure how much linear models leave; a few strong pairs are found by
the screen instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.basis import basis
from attribution.masks.inputs import check_data
from attribution.types import Array

_ROWS = 512  # rows of the (m, m) kernel held at a time; a choice


@dataclass(frozen=True)
class OrderWeights:
    """Shares of the outputs' variance by order.

    Attributes
    ----------
    share : (max_order, t) float64
        W_k / Var[y] for k = 1..max_order, unbiased up to the ratio and therefore sometimes below 0. share[0] is the R2
        of the best linear function of the mask on single runs. NaN where outputs are constant.
    stderr : (max_order, t) float64
        Standard errors.
    variance : (t,) float64
        Variance of the outputs, seed noise included.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((400, 10)) < 0.5
    >>> weights = order_weights(masks, masks[:, 0] + 2.0 * masks[:, 1] * masks[:, 2])
    >>> weights.share.round(1).tolist()
    [[0.7], [0.3]]
    """

    share: Array
    stderr: Array
    variance: Array

    def p_values(self) -> Array:
        """Return one-sided normal p-values of a share above 0, (max_order, t); 1 where the share is unknown."""
        from scipy.special import ndtr

        known = self.stderr > 0
        z = np.divide(self.share, self.stderr, out=np.zeros_like(self.share), where=known)
        return np.where(known, ndtr(-z), 1.0)


def order_weights(
    masks: Any, outputs: Any, alpha: float = 0.5, *, max_order: int = 2, groups: Any = None
) -> OrderWeights:
    """Estimate the shares of the outputs' variance by order.

    Parameters
    ----------
    masks : (m, n) bool
        Masks drawn independently at one alpha, or all of one size.
    outputs : (m,) or (m, t)
        Outputs of one target, or of t.
    alpha : float
        Inclusion probability.
    max_order : int
        Largest order, 1 to 4.
    groups : (m,) or None
        Row groups; replicates are found without it. Only pairs of rows of different groups count.

    Returns
    -------
    OrderWeights
        Shares with standard errors.

    Raises
    ------
    AttributionError
        If an input is invalid (masks/inputs.py), there are several alphas, or max_order lies outside 1..4.

    Notes
    -----
    The standard error is the jackknife's over groups, of the ratio. A jackknife counts the part of the variance that
    comes from pairs of rows twice, so one is subtracted as if rows were independent: with groups of several rows the
    error is too large, by sqrt(2) at most. Work: m^2 (n + max_order t) multiplications.
    """
    if np.ndim(alpha) != 0:
        raise AttributionError("shares by order are defined at one alpha. Give the masks of each alpha separately.")
    data = check_data(masks, outputs, alpha, groups=groups)
    if not isinstance(max_order, (int, np.integer)) or not 1 <= max_order <= 4:
        raise AttributionError(f"max_order must be an integer in 1..4; got {max_order!r}.")
    m, t = data.outputs.shape
    centre, scale = data.outputs.mean(axis=0), data.outputs.std(axis=0)
    constant = scale == 0
    y = (data.outputs - centre) / np.where(constant, 1.0, scale)
    kernel = _Kernel(data.masks, float(alpha), data.fixed_size)
    y32, squared = y.astype(np.float32), (y**2).astype(np.float32)
    rows = np.empty((max_order, m, t))  # sum over b of y_a y_b K(a, b)
    squares = np.zeros((max_order, t))  # sum over pairs of its square
    for start in range(0, m, _ROWS):
        part = slice(start, min(start + _ROWS, m))
        other = data.groups[part, None] != data.groups[None, :]
        for order, values in enumerate(kernel.block(part, max_order)):
            values = values * other
            rows[order, part] = y[part] * (values @ y32)
            squares[order] += ((values**2 @ squared) * squared[part]).sum(axis=0)
    n_groups = int(data.groups.max()) + 1
    size = np.bincount(data.groups).astype(np.float64)
    n_pairs = float(m**2 - (size**2).sum())
    without = n_pairs - 2 * size * (m - size)  # pairs left when a group goes
    spread = _by_group(_spread(y, data.groups), data.groups, n_groups)
    variance, variance_without = spread.sum(axis=0) / n_pairs, (spread.sum(axis=0) - 2 * spread) / without[:, None]
    # Centring by the sample mean reduces every order by this factor.
    centring = 1 - 2 / m + 2 / m**2
    share, stderr = np.empty((max_order, t)), np.empty((max_order, t))
    with np.errstate(divide="ignore", invalid="ignore"):
        for order in range(max_order):
            by_group = _by_group(rows[order], data.groups, n_groups)
            weight = by_group.sum(axis=0) / n_pairs
            share[order] = weight / variance / centring
            left_out = (by_group.sum(axis=0) - 2 * by_group) / without[:, None] / variance_without / centring
            error = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0) * (n_groups - 1) / n_groups
            alone = (rows[order] / (m - 1)).var(axis=0, ddof=1)
            of_pairs = (squares[order] / n_pairs - weight**2 - 2 * alone) / (1 - 2 / (m - 1))
            corrected = error - 2 * np.maximum(of_pairs, 0.0) / n_pairs / (variance * centring) ** 2
            stderr[order] = np.sqrt(np.maximum(corrected, 0.5 * error))
    share[:, constant] = np.nan
    stderr[:, constant] = np.nan
    return OrderWeights(share, stderr, np.where(constant, 0.0, variance * scale**2))


class _Kernel:
    """The kernels K_1, K_2, ... between some masks and all of them."""

    def __init__(self, masks: NDArray[np.bool_], alpha: float, fixed_size: bool) -> None:
        self.masks, self.alpha, self.fixed_size = masks, alpha, fixed_size
        self.phi = masks.astype(np.float32) if fixed_size else basis(masks, alpha)

    def block(self, part: slice, max_order: int) -> list[NDArray[np.float32]]:
        """Compute the kernels of order 1..max_order between the rows of `part` and all masks, (rows, m) each."""
        n = self.masks.shape[1]
        product = self.phi[part] @ self.phi.T
        if self.fixed_size:
            table = zonal_polynomials(n, int(self.masks[0].sum()), max_order).astype(np.float32)
            overlap = np.rint(product).astype(np.int64)
            return [row[overlap] for row in table]
        power, raised = [product], self.phi
        for k in range(2, max_order + 1):
            if self.alpha == 0.5:
                power.append(product if k % 2 else np.full((1, 1), n, dtype=np.float32))
            else:
                raised = raised * self.phi
                power.append(raised[part] @ raised.T)
        # Newton's identities: k e_k = sum_i (-1)^(i - 1) e_(k - i) p_i.
        elementary: list[NDArray[np.float32]] = [np.ones((1, 1), dtype=np.float32)]
        for k in range(1, max_order + 1):
            total = sum((-1) ** (i - 1) * elementary[k - i] * power[i - 1] for i in range(1, k + 1))
            elementary.append(np.asarray(total / k, dtype=np.float32))
        return elementary[1:]


def zonal_polynomials(n_players: int, size: int, max_order: int) -> Array:
    """Tabulate K_k of two masks of one size by their overlap.

    Parameters
    ----------
    n_players : int
        Number of players.
    size : int
        Number of players of each mask.
    max_order : int
        Largest order.

    Returns
    -------
    (max_order, size + 1) float64
        K_k for k = 1..max_order (rows) and overlaps 0..size (columns); 0 where there is no function of order k.

    Notes
    -----
    The functions of order k beyond order k - 1 on masks of one size form a space of dimension C(n, k) - C(n, k - 1)
    (Delsarte 1973). Its reproducing kernel is the orthonormal polynomial of degree k under the overlap's
    hypergeometric distribution, times the root of that dimension.
    """
    from scipy.stats import hypergeom

    overlap = np.arange(size + 1, dtype=np.float64)
    probability = hypergeom(n_players, size, size).pmf(np.arange(size + 1))
    centred = overlap - probability @ overlap
    centred /= max(math.sqrt(probability @ centred**2), 1e-300)
    found: list[Array] = [np.ones(size + 1)]
    for k in range(1, max_order + 1):
        dimension = math.comb(n_players, k) - math.comb(n_players, k - 1)
        if k > min(size, n_players - size) or dimension <= 0:
            found.append(np.zeros(size + 1))
            continue
        new = centred * found[-1]
        for _ in range(2):  # two Gram-Schmidt passes give orthogonality to the last digit
            for old in found:
                new = new - (probability @ (new * old)) * old
        new = new / math.sqrt(probability @ new**2)
        found.append(new * np.sign(new[-1]))
    weights = [
        math.sqrt(max(math.comb(n_players, k) - math.comb(n_players, k - 1), 0)) for k in range(1, max_order + 1)
    ]
    return np.array(found[1:]) * np.array(weights)[:, None]


def _spread(y: Array, groups: NDArray[np.int64]) -> Array:
    """Sum (y_a - y_b)^2 / 2 over the rows b of other groups, (m, t); its mean over pairs is the variance."""
    size = np.bincount(groups).astype(np.float64)
    own, own_squares = (_by_group(v, groups, len(size))[groups] for v in (y, y**2))
    others = (len(y) - size[groups])[:, None]
    return (others * y**2 - 2 * y * (y.sum(axis=0) - own) + (y**2).sum(axis=0) - own_squares) / 2


def _by_group(values: Array, groups: NDArray[np.int64], n_groups: int) -> Array:
    """Sum rows by group: (m, t) -> (g, t)."""
    if n_groups == len(values):
        return values[np.argsort(groups)]
    result = np.zeros((n_groups, values.shape[1]))
    np.add.at(result, groups, values)
    return result
