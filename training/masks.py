"""Samplers draw the players of each model's training set; mask k of a campaign is a function of (seed, k) alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from training.errors import TrainingInputError
from training.randomness import word_rows

SAMPLERS = ("bernoulli", "fixed_size", "antithetic")
_WORDS_AT_ONCE = 2**23  # 64 MB of words: bounds memory when a campaign has 50,000 players


def sample_masks(
    n_players: int,
    count: int | None = None,
    alpha: float | Sequence[float] = 0.5,
    seed: int = 0,
    *,
    sampler: str = "bernoulli",
    first: int = 0,
    ids: Sequence[int] | np.ndarray | None = None,
) -> np.ndarray:
    """Draw masks: which players are in the training set of each model.

    Parameters
    ----------
    n_players : int
        Columns.
    count : int, optional
        Number of masks; not needed with `ids`.
    alpha : float or sequence of float
        Probability that a player is included. Of several alphas (`bernoulli` only), mask k takes the (k mod number of
        alphas)-th (`mask_alphas`).
    seed : int
        Seed of the campaign.
    sampler : str
        `bernoulli`: each player is included with probability alpha, independently.
        `fixed_size`: round(alpha * n_players) players, every such set equally likely. Such masks do not identify the
        common shift of the main effects.
        `antithetic`: masks 2j and 2j + 1 are complements of each other. alpha must be 1/2, because the complement of
        an alpha mask has 1 - alpha.
    first : int
        Id of the first mask: the ids are first .. first + count - 1.
    ids : sequence of int, optional
        Ids of the masks, in place of `first` and `count`.

    Returns
    -------
    (n_masks, n_players) bool array
        True = the player is in the training set. A Bernoulli mask may be empty; `training.retrain` defines the outputs
        of a model without training examples.

    Raises
    ------
    TrainingInputError
        For alpha outside (0, 1), no players, no masks, negative ids, an unknown sampler, `antithetic` with alpha other
        than 1/2, and a fixed size that rounds to none or all of the players.

    Notes
    -----
    Mask k uses the k-th row of a Philox table keyed by the seed (`antithetic`: row k // 2), so it does not depend on
    which other masks are drawn.

    Examples
    --------
    >>> masks = sample_masks(5, 3, alpha=0.5, seed=0)
    >>> masks.shape, masks.dtype.name
    ((3, 5), 'bool')
    >>> bool((sample_masks(5, ids=[2], alpha=0.5, seed=0)[0] == masks[2]).all())
    True
    """
    row_ids = _row_ids(count, first, ids)
    several = _several(n_players, alpha, sampler)
    size = 0 if several is not None else _check(n_players, alpha, sampler)  # type: ignore[arg-type]
    masks = np.empty((len(row_ids), n_players), dtype=bool)
    table_rows = row_ids // 2 if sampler == "antithetic" else row_ids
    for start, stop in _runs(table_rows, max(1, _WORDS_AT_ONCE // n_players)):
        low = int(table_rows[start])
        words = word_rows("masks", seed, low, int(table_rows[stop - 1]) - low + 1, n_players)
        if several is not None:
            which = np.arange(low, low + len(words)) % len(several)
            block = words < several[which][:, None]
        elif sampler == "fixed_size":
            block = _smallest(words, size)
        else:
            block = words < np.uint64(round(alpha * 2**64))  # type: ignore[operator]
        masks[start:stop] = block[table_rows[start:stop] - low]
    if sampler == "antithetic":
        masks[row_ids % 2 == 1] ^= True
    return masks


def mask_alphas(ids: Sequence[int] | np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Return the alpha of each mask of a campaign with several alphas.

    Parameters
    ----------
    ids : sequence of int
        Mask ids.
    alphas : sequence of float
        The campaign's alphas; masks take them in turn.

    Returns
    -------
    (n_masks,) float64 array
        One alpha a mask.

    Examples
    --------
    >>> mask_alphas([0, 1, 2, 3], alphas=[0.5, 0.2]).tolist()
    [0.5, 0.2, 0.5, 0.2]
    """
    return np.asarray(alphas, dtype=np.float64)[np.asarray(ids, dtype=np.int64) % len(alphas)]


def _several(n_players: int, alpha: float | Sequence[float], sampler: str) -> np.ndarray | None:
    """Thresholds of several alphas, (k,) uint64; None for a single one. Raises TrainingInputError."""
    if isinstance(alpha, (int, float, np.floating)):
        return None
    alphas = list(alpha)
    if not alphas or len(set(alphas)) != len(alphas):
        raise TrainingInputError(f"several alphas must differ from each other; got {alphas}.")
    for one in alphas:
        _check(n_players, one, sampler)
    if sampler != "bernoulli":
        raise TrainingInputError(f"several alphas need sampler 'bernoulli'; got {sampler!r}.")
    return np.array([np.uint64(round(one * 2**64)) for one in alphas], dtype=np.uint64)


def _row_ids(count: int | None, first: int, ids: Sequence[int] | np.ndarray | None) -> np.ndarray:
    if ids is None:
        if count is None or count < 1:
            raise TrainingInputError(f"at least one model is needed; got count={count}. Ask for 1 or more.")
        if first < 0:
            raise TrainingInputError(f"mask ids start at 0; got first={first}.")
        return np.arange(first, first + count, dtype=np.int64)
    row_ids = np.asarray(ids)
    if row_ids.ndim != 1 or row_ids.size == 0:
        raise TrainingInputError(f"at least one model is needed; got ids of shape {row_ids.shape}.")
    if row_ids.dtype.kind not in "iu":
        raise TrainingInputError(f"mask ids must be whole numbers; got an array of {row_ids.dtype}.")
    if int(row_ids.min()) < 0:
        raise TrainingInputError(f"mask ids start at 0; got {int(row_ids.min())}.")
    if count is not None and count != row_ids.size:
        raise TrainingInputError(f"count is {count}, but {row_ids.size} ids are given. Leave count out.")
    return row_ids.astype(np.int64)


def _check(n_players: int, alpha: float, sampler: str) -> int:
    """Check the sampler's parameters and return the number of players in a fixed-size mask."""
    if sampler not in SAMPLERS:
        raise TrainingInputError(f"unknown sampler {sampler!r}. Choose one of {', '.join(SAMPLERS)}.")
    if n_players < 1:
        raise TrainingInputError(f"at least one player is needed; got n_players={n_players}.")
    if not (isinstance(alpha, (int, float, np.floating)) and math.isfinite(alpha) and 0 < alpha < 1):
        raise TrainingInputError(f"alpha must lie in (0, 1); got {alpha}. Give a fraction such as 0.5.")
    if sampler == "antithetic" and alpha != 0.5:
        raise TrainingInputError(
            f"antithetic masks exist at alpha = 0.5 only (the complement of an alpha mask has 1 - alpha); "
            f"got {alpha}. Set alpha to 0.5 or use sampler 'bernoulli'."
        )
    size = round(alpha * n_players)
    if sampler == "fixed_size" and not 0 < size < n_players:
        raise TrainingInputError(
            f"a fixed size of alpha * n = {alpha} * {n_players} rounds to {size}: every mask would be "
            f"the same. Change alpha or use sampler 'bernoulli'."
        )
    return size


def _runs(rows: np.ndarray, longest: int) -> Iterator[tuple[int, int]]:
    """Yield stretches [start, stop) of consecutive (or repeated) table rows, at most `longest` ids each."""
    breaks = np.flatnonzero((np.diff(rows) != 0) & (np.diff(rows) != 1)) + 1
    edges = [0, *breaks.tolist(), len(rows)]
    for begin, end in zip(edges[:-1], edges[1:], strict=True):
        for start in range(begin, end, longest):
            yield start, min(start + longest, end)


def _smallest(words: np.ndarray, size: int) -> np.ndarray:
    """True at the `size` smallest words of each row."""
    chosen = np.argpartition(words, size - 1, axis=1)[:, :size]
    masks = np.zeros(words.shape, dtype=bool)
    np.put_along_axis(masks, chosen, True, axis=1)
    return masks
