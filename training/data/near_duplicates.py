"""Near-duplicates: images that differ by less than a stated distance, pair by pair and as connected components."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np

NEAR_DUPLICATE_DISTANCE = 0.2
"""Root mean square pixel difference, in units of the standard deviation of all pixels, below which two images
count as near-duplicates.

False alarms: none among the 17,997,000 pairs of 6,000 CIFAR-10 images, neither at 32 x 32 pixels (closest pair
0.28) nor reduced to 16 x 16 (closest pair 0.20). Digits of 8 x 8 pixels are more alike: of 1,797, nearest
neighbours lie at 0.34 (median), the closest pair at 0.11.

Found, of 600 CIFAR-10 images changed and compared with themselves: JPEG of quality 95, 75, 50: 99.8%, 98%, 87%;
reduced to 24 x 24 and back: 98%; brightness changed by 5%, 10%, 20%: 100%, 65%, 1%; cropped by one pixel on every
side and enlarged: 19%. Shifted by one pixel or mirrored: 0%.
"""

_COARSE_SIDE = 8
_ROWS_AT_ONCE = 512
_CELLS_AT_ONCE = 2**23  # distances held at a time, 32 MB as float32
_PAIRS_AT_ONCE = 4_096


def near_duplicate_components(images: np.ndarray, threshold: float = NEAR_DUPLICATE_DISTANCE) -> np.ndarray:
    """Number the components of near-duplicates: images share one when a chain of near-duplicates joins them.

    Parameters
    ----------
    images : (n, height, width, channels) uint8
    threshold : float
        Distance below which two images are near-duplicates, in standard deviations of all pixels.

    Returns
    -------
    (n,) int64
        Component of each image.

    Examples
    --------
    >>> images = np.random.default_rng(0).integers(0, 255, (3, 8, 8, 1), dtype=np.uint8)
    >>> component = near_duplicate_components(np.concatenate([images, images + 1]))
    >>> bool(np.array_equal(component[:3], component[3:]))
    True
    """
    return components_of_parts([images], threshold)


def components_of_parts(parts: Sequence[np.ndarray], threshold: float = NEAR_DUPLICATE_DISTANCE) -> np.ndarray:
    """Number the components of near-duplicates over several arrays of images, without joining the arrays.

    Parameters
    ----------
    parts : sequence of (n_i, height, width, channels) uint8
    threshold : float
        See `near_duplicate_components`.

    Returns
    -------
    (sum of n_i,) int64
        Component of each image, part by part.

    Notes
    -----
    Exact copies are found by a hash of their bytes, in linear time. Other pairs of about the same brightness are
    compared on block means first: averaging can only bring images closer, so no pair is lost. The candidates are then
    compared on all pixels. Memory beside the images: the block means twice (768 bytes a colour image) and about 200 MB.
    """
    sizes = [len(part) for part in parts]
    n = sum(sizes)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(sizes)])
    first, copy_of = _distinct(parts)
    component = np.arange(len(first), dtype=np.int64)
    spread = _standard_deviation(parts)

    def pixels(rows: np.ndarray) -> np.ndarray:
        rows = first[rows]
        owner = np.searchsorted(starts, rows, side="right") - 1
        shape = parts[0].shape[1:]
        found = np.empty((len(rows), int(np.prod(shape))), dtype=np.float32)
        for number, part in enumerate(parts):
            mine = owner == number
            found[mine] = part[rows[mine] - starts[number]].reshape(int(mine.sum()), found.shape[1])
        return found

    if len(first) > 1 and spread > 0:
        coarse = np.concatenate([_block_means(part) for part in parts if len(part)])[first]
        for pairs in _near_pairs(coarse, pixels, threshold * spread):
            component = _join(component, pairs)
    return component[copy_of]


def image_hashes(images: np.ndarray) -> list[bytes]:
    """Hash the pixels of each image of (n, height, width, channels) uint8: equal exactly for exact copies."""
    return [hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=16).digest() for image in images]


def _distinct(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Row of the first image of each kind, and for every image which kind it is."""
    kinds: dict[bytes, int] = {}
    copy_of = np.array(
        [kinds.setdefault(digest, len(kinds)) for part in parts for digest in image_hashes(part)], dtype=np.int64
    )
    return np.unique(copy_of, return_index=True)[1], copy_of


def _standard_deviation(parts: Sequence[np.ndarray]) -> float:
    """Standard deviation of all pixels, from how often each level occurs: exact, and in bounded memory."""
    counts = np.zeros(256, dtype=np.int64)
    for part in parts:
        for start in range(0, len(part), _ROWS_AT_ONCE):
            counts += np.bincount(part[start : start + _ROWS_AT_ONCE].ravel(), minlength=256)
    levels = np.arange(256)
    mean = np.average(levels, weights=counts)
    return float(np.sqrt(np.average((levels - mean) ** 2, weights=counts)))


def _near_pairs(
    coarse: np.ndarray, pixels: Callable[[np.ndarray], np.ndarray], limit: float
) -> Iterator[np.ndarray]:
    """Blocks of pairs (n_pairs, 2) whose root mean square difference is below `limit` grey levels.

    coarse: (n, n_values) float32 block means; pixels: a function from rows to (rows, values) float32.
    """
    n, n_values = coarse.shape
    # Near-duplicates are about as bright as one another, so only pairs of images next to each other in the order of
    # brightness are compared: a fifth of all pairs of natural images. Brightness is the projection on a unit vector.
    brightness = coarse.sum(axis=1, dtype=np.float64) / np.sqrt(n_values)
    order = np.argsort(brightness, kind="stable")
    # A product of (-2 x, 1, |x|^2) and (y, |y|^2, 1) is the squared distance: nothing is left to do for each cell.
    rights = np.empty((n, n_values + 2), dtype=np.float32)
    rights[:, :n_values] = coarse[order]
    rights[:, :n_values] -= coarse.mean(axis=0)
    squares = np.einsum("ij,ij->i", rights[:, :n_values], rights[:, :n_values], dtype=np.float64)
    rights[:, n_values], rights[:, n_values + 1] = squares, 1.0
    # float32 products err by about 1e-6 of the squared norms; the slack keeps every true pair among the
    # candidates.
    bound = limit**2 * n_values + 1e-4 * float(squares.max())
    last = np.searchsorted(brightness[order], brightness[order] + np.sqrt(bound), side="right")
    rows_at_once = max(1, min(_ROWS_AT_ONCE, _CELLS_AT_ONCE // n))
    for start in range(0, n, rows_at_once):
        stop = min(start + rows_at_once, n)
        block = rights[start:stop]
        lefts = np.hstack([-2.0 * block[:, :n_values], block[:, [n_values + 1, n_values]]])
        distance = lefts @ rights[start : last[stop - 1]].T
        left, right = np.nonzero(distance <= bound)
        left, right = left[right > left] + start, right[right > left] + start
        for piece in range(0, len(left), _PAIRS_AT_ONCE):
            pair = np.stack([left[piece : piece + _PAIRS_AT_ONCE], right[piece : piece + _PAIRS_AT_ONCE]], axis=1)
            pair = order[pair]
            difference = pixels(pair[:, 0]) - pixels(pair[:, 1])
            yield pair[np.sqrt(np.mean(difference**2, axis=1)) < limit]


def _block_means(images: np.ndarray) -> np.ndarray:
    """Means over equal blocks, at most about 8 x 8 of them, (n, n_blocks * channels) float32.

    Rows and columns that do not fill a block are left as they are when the side has no suitable divisor.
    """
    n, height, width, channels = images.shape
    rows, columns = _block_side(height), _block_side(width)
    blocks = images.reshape(n, height // rows, rows, width // columns, columns, channels)
    return blocks.mean(axis=(2, 4), dtype=np.float32).reshape(n, -1)


def _block_side(side: int) -> int:
    """The largest divisor of `side` that leaves at least 8 blocks, 1 where there is none."""
    return max(d for d in range(1, max(1, side // _COARSE_SIDE) + 1) if side % d == 0)


def _join(component: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Merge the components of each pair."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return component
    edges = component[pairs]
    graph = coo_array((np.ones(len(edges), dtype=np.int8), (edges[:, 0], edges[:, 1])), shape=(len(component),) * 2)
    _, merged = connected_components(graph, directed=False)
    return merged.astype(np.int64)[component]
