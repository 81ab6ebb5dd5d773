"""Tests of a set of masks against the design that effects and their errors assume.

Every estimate of this package takes masks for independent inclusions: each player in each mask with probability alpha,
whatever the others do. Fixed sizes are the one exception with a convention of its own. Samplers of other methods
(Shapley-type sizes, halves stratified by class, one of k variants) break that without a trace in the outputs: effects
are then biased, or known only up to a shift, under standard errors that say neither. The checks below find such masks
from the masks alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError, AttributionWarning
from attribution.masks.weights import effective_groups
from attribution.types import Array, Labels, Masks

CHANCE = 1e-9  # probability, over all tests of one kind, below which chance is not the explanation
MAX_DENSE_PLAYERS = 2000  # beyond these a sample of players is tested pair by pair: their products are n^2 numbers
SIZE_Z = 6.0  # z of the spread of sizes beyond which it is not that of independent inclusion
EXCESS = 0.25  # and by which share it is larger; a third of a percent is significant in 300,000 masks, and harmless
MANY = 20  # variance of the number of masks that include a player, from which equal columns are no chance; a choice
NEARLY_SAME = 0.8  # |correlation| of two columns from which they are warned of and not refused as dependent; a choice
NAMED = 6  # players named in a message

Untested = Literal["spex", "accepted"]

_untested: ContextVar[Untested | None] = ContextVar("untested", default=None)


class DesignError(AttributionError):
    """Masks that were not drawn by independent inclusion.

    Attributes
    ----------
    seen : str
        What is not as it should be, a clause without a full stop.

    Examples
    --------
    >>> raise DesignError(": draw them independently.", seen="players 0 and 1 are together in all masks")
    Traceback (most recent call last):
    attribution.masks.design.DesignError: players 0 and 1 are together in all masks: draw them independently.
    """

    def __init__(self, remedy: str, *, seen: str) -> None:
        super().__init__(seen + remedy)
        self.seen = seen


@contextmanager
def untested_design(why: Untested | None) -> Iterator[None]:
    """Leave the tests of a design out within the block.

    Parameters
    ----------
    why : {"spex", "accepted"} or None
        "spex": the masks are a SPEX design, dependent by construction. "accepted": they were drawn independently and
        some have no output, so those that remain may depend on each other, which is no fault of the draw; whoever
        accepts them says so (`dependence`). None: the tests are made.
    """
    token = _untested.set(why)
    try:
        yield
    finally:
        _untested.reset(token)


def masks_are_of_spex() -> bool:
    """Return whether the masks are those of a SPEX design (`untested_design`)."""
    return _untested.get() == "spex"


def dependence(masks: Masks, alpha: float | Array, groups: Labels | None = None) -> str:
    """Say how masks differ from independent inclusion at `alpha`.

    Parameters
    ----------
    masks : (n_masks, n_players) bool
    alpha : float or (n_masks,) float64
    groups : (n_masks,) int64 or None
        Row groups; None if every mask is one.

    Returns
    -------
    str
        What was seen, e.g. "players 0 and 1 are together in 36.2% of the masks"; empty if they do not differ.
    """
    sizes = masks.sum(axis=1)
    own = np.arange(len(masks)) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    try:
        check_design(masks, alpha, own, bool((sizes == sizes[0]).all()))
    except DesignError as found:
        return found.seen
    return ""


def check_design(
    masks: Masks,
    alpha: float | Array,
    groups: Labels,
    fixed_size: bool,
    players: NDArray[np.int64] | None = None,
) -> None:
    """Refuse masks that were not drawn by independent inclusion at `alpha` (or at one size).

    Parameters
    ----------
    masks : (n_masks, n_players) bool
    alpha : float or (n_masks,) float64
        Inclusion probability of every mask.
    groups : (n_masks,) int64
        Rows that share a mask (replicates) or its complement count as one draw.
    fixed_size : bool
        Whether every mask includes equally many players.
    players : (n_players,) int64 or None
        Numbers of the players in messages, if players that no mask separates were left out (inseparable.py).

    Raises
    ------
    AttributionError
        Where sizes vary more than those of independent inclusion (Shapley-type samplers), where a player or a pair is
        included more or less often than alpha allows, and where a sum over some players is the same in every mask
        (strata, one of k variants). The message names what was found.

    Warns
    -----
    AttributionWarning
        Where sizes vary less than half as much as independent inclusion makes them, and where two players are nearly
        always, or nearly never, together: their errors are enlarged (inseparable.py).

    Notes
    -----
    Few masks hold constant sums by chance; they are looked for among more than 2 n_players + 20 independent masks only.
    """
    if _untested.get() is not None:
        return
    draws = effective_groups(None, groups)
    names = np.arange(masks.shape[1]) if players is None else players
    varying = np.flatnonzero(~(masks == masks[:1]).all(axis=0))  # the others are named by check_data
    if not fixed_size:
        _check_sizes(masks, alpha, draws)
    _check_rates(masks, alpha, draws, varying, names)
    if len(varying) < 2:
        return
    chosen = varying
    if len(varying) > MAX_DENSE_PLAYERS:
        chosen = np.sort(np.random.default_rng(0).choice(varying, MAX_DENSE_PLAYERS, replace=False))
    part = np.ascontiguousarray(masks[:, chosen])
    p = float(np.mean(alpha))
    single = part.astype(np.float32)
    together = (single.T @ single).astype(np.float64) / len(masks)  # counts up to 2^24 are exact in float32
    if draws > 2 * len(chosen) + 20 and draws * p * (1 - p) > MANY:
        _check_constant_sums(part, together, names[chosen], fixed_size)
    _check_pairs(part, together, alpha, draws, names[chosen], fixed_size)


def _check_sizes(masks: Masks, alpha: float | Array, draws: float) -> None:
    """Compare the spread of sizes with the binomial's: E[(k - np)^2 / npq] = 1, variance 2 + (1 - 6pq) / npq."""
    n_players = masks.shape[1]
    p = np.broadcast_to(np.asarray(alpha, np.float64), (len(masks),))
    expected = n_players * p * (1 - p)
    relative = (masks.sum(axis=1) - n_players * p) ** 2 / expected
    spread = float(np.mean(2.0 + (1.0 - 6.0 * p * (1 - p)) / expected))
    excess = float(relative.mean()) - 1.0
    z = excess / (spread / draws) ** 0.5
    if z > SIZE_Z and excess > EXCESS:
        sizes = masks.sum(axis=1)
        raise DesignError(
            ". Samplers for Shapley values draw such masks; effects would be biased. Draw masks with one alpha "
            "(training.sample_masks), or give the alpha of every mask where there are several.",
            seen=f"the sizes of the masks vary {1 + excess:.1f} times as much as those of players included "
            f"independently: their variance is {sizes.var():.1f}, and alpha gives {float(expected.mean()):.1f}",
        )
    if z < -SIZE_Z and excess < -0.5:
        warnings.warn(
            f"the sizes of the masks vary {1 + excess:.2f} times as much as those of players included independently: "
            "the sum of all main effects is known less well than their standard errors say.",
            AttributionWarning,
            stacklevel=5,
        )


def _check_rates(
    masks: Masks, alpha: float | Array, draws: float, varying: NDArray[np.int64], names: NDArray[np.int64]
) -> None:
    """Compare how often each player is included with alpha, by the binomial's tails."""
    from scipy.stats import binom

    p = float(np.mean(alpha))
    rate = masks[:, varying].mean(axis=0)
    n_draws = max(1, round(draws))
    count = np.round(rate * n_draws)
    tail = np.minimum(binom.cdf(count, n_draws, p), binom.sf(count - 1, n_draws, p))
    if len(varying) and tail.min() * 2 * len(varying) < CHANCE:
        worst = int(np.argmin(tail))
        raise DesignError(
            ": players are not included with the same probability, which effects and their errors assume. Draw masks "
            "with one alpha for all players, or leave such players out.",
            seen=f"player {names[varying[worst]]} is in {rate[worst]:.1%} of the masks and alpha is {p:g}",
        )


def _check_pairs(
    masks: Masks, together: Array, alpha: float | Array, draws: float, names: NDArray[np.int64], fixed_size: bool
) -> None:
    """Compare how often each pair is included together with what exchangeable players of these sizes give."""
    from scipy.stats import binom

    n_players = masks.shape[1]
    if n_players < 2:
        return
    sizes = masks.sum(axis=1, dtype=np.float64)
    p = float(np.mean(alpha))
    both = float(alpha) ** 2 if not np.ndim(alpha) else 0.0
    if fixed_size or np.ndim(alpha):
        both = float((sizes * (sizes - 1)).mean() / (n_players * (n_players - 1)))
        p = float(sizes.mean()) / n_players
    single = np.diag(together).copy()
    near = np.eye(n_players, dtype=bool)
    if draws * p * (1 - p) > MANY:  # fewer masks make columns alike by chance
        near |= _warn_of_near_players(masks, together, names)
    n_draws = max(1, round(draws))
    n_tests = 3 * n_players * (n_players - 1) // 2
    one_of_them = single[:, None] + single - 2 * together
    # The rarest of the three says most: far from alpha 1/2 two dependent players are seldom alone, or seldom both out.
    cells = ((together, both), (one_of_them, 2 * (p - both)), (1.0 - together - one_of_them, 1 - 2 * p + both))
    for seen, expected in cells:
        shares = np.where(near, expected, seen)
        for place in (int(shares.argmax()), int(shares.argmin())):
            i, j = divmod(place, n_players)
            count = round(float(shares[i, j]) * n_draws)
            tail = min(binom.cdf(count, n_draws, expected), binom.sf(count - 1, n_draws, expected))
            if tail * 2 * n_tests < CHANCE:
                raise DesignError(
                    ": their inclusions depend on each other, so their effects cannot be separated by standard errors "
                    "that assume they do not. Draw every player independently, or make what is drawn together one "
                    "player.",
                    seen=f"players {names[i]} and {names[j]} are together in {together[i, j]:.1%} of the masks, and "
                    f"players included independently would be in {both:.1%}",
                )


def _warn_of_near_players(masks: Masks, together: Array, names: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Warn of the pair that is most nearly one player; which pairs are, (n_players, n_players)."""
    rate = masks.mean(axis=0)
    spread = np.sqrt(np.maximum(rate * (1 - rate), 1e-12))
    rho = np.abs(together - np.outer(rate, rate)) / np.outer(spread, spread)
    np.fill_diagonal(rho, 0.0)
    near = rho >= NEARLY_SAME
    if not near.any():
        return near
    i, j = divmod(int(rho.argmax()), len(rate))
    warnings.warn(
        f"few masks separate {int(near.any(axis=1).sum())} players from another one (first: players {names[i]} and "
        f"{names[j]}, correlation of their columns {rho[i, j]:.2f}): their errors are larger by 1 / sqrt(1 - rho^2), "
        "and an interaction of one may be that of the other. Draw them independently, or make them one player.",
        AttributionWarning,
        stacklevel=6,
    )
    return near


def _check_constant_sums(masks: Masks, together: Array, names: NDArray[np.int64], fixed_size: bool) -> None:
    """Raise where a combination of players is the same in every mask, other than the size of the whole mask."""
    n_players = masks.shape[1]
    share = np.diag(together)
    covariance = together - np.outer(share, share)
    if (np.linalg.eigvalsh(covariance) >= 1e-9).all():  # a third of the time that the vectors take
        return
    values, vectors = np.linalg.eigh(covariance)
    null = vectors[:, values < 1e-9].T
    if len(null) <= int(fixed_size):
        return
    rows = _reduced(null)
    if fixed_size:
        # The whole size is one of them, or the sum of several: named only where it is not the whole.
        rows = [row for row in rows if np.count_nonzero(row) < n_players] or rows
    raise DesignError(
        ". Effects of such players are known only up to a shift that no mask determines. Draw every player "
        "independently, or make the choice between them the player.",
        seen=f"{len(null)} sums over players are the same in every mask: {_constraint(rows[0], masks, names)}",
    )


def _reduced(null: Array) -> list[Array]:
    """Reduced row echelon form of a null space: its rows are the constraints with the fewest players each."""
    rows, pivot = null.copy(), 0
    for column in range(rows.shape[1]):
        if pivot == len(rows):
            break
        best = pivot + int(np.abs(rows[pivot:, column]).argmax())
        if abs(rows[best, column]) < 1e-6:
            continue
        rows[[pivot, best]] = rows[[best, pivot]]
        rows[pivot] /= rows[pivot, column]
        for other in range(len(rows)):
            if other != pivot:
                rows[other] -= rows[other, column] * rows[pivot]
        pivot += 1
    rows[np.abs(rows) < 1e-6] = 0.0
    return sorted(rows, key=np.count_nonzero)


def _constraint(row: Array, masks: Masks, names: NDArray[np.int64]) -> str:
    """Describe one constraint in words."""
    players = np.flatnonzero(row)
    if np.allclose(row[players], row[players[0]], atol=1e-5):
        return f"{int(masks[0, players].sum())} of {_named(names[players])} are in every mask"
    return f"a weighted sum of {_named(names[players])} never changes"


def _named(players: NDArray[np.int64]) -> str:
    shown = ", ".join(str(player) for player in players[:NAMED])
    return f"players {shown}{f', … ({len(players)} players)' if len(players) > NAMED else ''}"
