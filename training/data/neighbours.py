"""Near-duplicate images: connected components of pairs whose pixels hardly differ."""

from __future__ import annotations

import numpy as np

NEAR_DUPLICATE_DISTANCE = 0.2
"""Root mean square pixel difference, in units of the standard deviation of all pixels, below which two images
count as near duplicates. Nearest neighbours among 1,797 digits lie at 0.34 (median) and 0.11 (closest pair),
among 1,000 CIFAR-10 test images at 0.76 and 0.37; a re-encoded or slightly shifted-in-brightness copy lies
below 0.2."""

_COARSE_SIDE = 8
_ROWS_AT_ONCE = 512
_PAIRS_AT_ONCE = 4_096


def near_duplicate_components(images: np.ndarray, threshold: float = NEAR_DUPLICATE_DISTANCE) -> np.ndarray:
    """Component number of each image, (n,) int64: images share one when a chain of near duplicates joins
    them.

    images: (n, height, width, channels) uint8. Exact copies are found by their bytes. Other pairs are first
    compared on block means (averaging can only bring images closer, so no pair is lost), 512 rows at a time,
    and the candidates then on all pixels: 10,000 CIFAR-10 images need about 100 MB beside the images
    themselves.
    """
    n = len(images)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    flat = images.reshape(n, -1)
    _, first, copy_of = np.unique(flat, axis=0, return_index=True, return_inverse=True)
    distinct = images[first]
    component = np.arange(len(distinct), dtype=np.int64)
    spread = float(images.std())
    if len(distinct) > 1 and spread > 0:
        for pairs in _near_pairs(distinct, threshold * spread):
            component = _join(component, pairs)
    return component[copy_of.reshape(-1)]


def _near_pairs(images: np.ndarray, limit: float):  # noqa: ANN202
    """Blocks of pairs (n_pairs, 2) whose root mean square difference is below `limit` grey levels."""
    n = len(images)
    coarse = _block_means(images)
    n_values = coarse.shape[1]
    coarse = coarse - coarse.mean(axis=0)
    squares = np.einsum("ij,ij->i", coarse, coarse, dtype=np.float64)
    # float32 products err by about 1e-6 of the squared norms; the slack keeps every true pair among the
    # candidates.
    bound = limit**2 * n_values + 1e-4 * float(squares.max())
    pixels = images.reshape(n, -1)
    for start in range(0, n, _ROWS_AT_ONCE):
        stop = min(start + _ROWS_AT_ONCE, n)
        distance = squares[start:stop, None] + squares[None, start:] - 2.0 * (coarse[start:stop] @ coarse[start:].T)
        left, right = np.nonzero(distance <= bound)
        left, right = left[right > left] + start, right[right > left] + start
        for piece in range(0, len(left), _PAIRS_AT_ONCE):
            pair = np.stack([left[piece : piece + _PAIRS_AT_ONCE], right[piece : piece + _PAIRS_AT_ONCE]], axis=1)
            difference = pixels[pair[:, 0]].astype(np.float32) - pixels[pair[:, 1]]
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
