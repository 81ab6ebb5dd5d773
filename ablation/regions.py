"""Regions of an image: grids, superpixels and integer maps of one's own, as players."""

from __future__ import annotations

from typing import Any

import numpy as np

from ablation.errors import AblationError


def grid(rows: int, columns: int, height: int, width: int) -> np.ndarray:
    """Divide an image into rows x columns rectangles of nearly equal size.

    Returns
    -------
    (height, width) int64
        Numbers 0 .. rows * columns - 1, row by row.

    Examples
    --------
    >>> grid(2, 2, 4, 4).tolist()
    [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    """
    if not (1 <= rows <= height and 1 <= columns <= width):
        raise AblationError(
            f"a grid of {rows} x {columns} regions does not fit an image of {height} x {width} pixels. Use fewer."
        )
    down = np.arange(height) * rows // height
    across = np.arange(width) * columns // width
    return down[:, None] * columns + across[None, :]


def superpixels(image: np.ndarray, n_regions: int, compactness: float = 1.0) -> np.ndarray:
    """Divide an image into regions of similar colour: k-means over position and colour, started on a grid.

    Parameters
    ----------
    image : (channels, height, width) float
    n_regions : int
    compactness : float
        Weight of position against colour; larger gives squarer regions.

    Returns
    -------
    (height, width) int64

    Notes
    -----
    The objective of SLIC (Achanta et al. 2012) without its local search window, which small images do not need.
    """
    from sklearn.cluster import KMeans

    channels, height, width = image.shape
    if not 1 <= n_regions <= height * width:
        raise AblationError(f"{n_regions} superpixels do not fit {height} x {width} pixels. Use fewer.")
    spread = float(image.std()) or 1.0
    side = max(1.0, (height * width / n_regions) ** 0.5)
    y, x = np.mgrid[:height, :width]
    colour = image.reshape(channels, -1).T / spread
    place = compactness * np.stack([y.ravel(), x.ravel()], axis=1) / side
    values = np.concatenate([place, colour], axis=1)
    starts = np.linspace(0, height * width - 1, n_regions).round().astype(int)
    rows = max(1, round((n_regions * height / width) ** 0.5))
    if n_regions % rows == 0 and rows <= height and n_regions // rows <= width:
        cells = grid(rows, n_regions // rows, height, width).ravel()
        starts = np.array([np.flatnonzero(cells == cell)[np.sum(cells == cell) // 2] for cell in range(n_regions)])
    found = KMeans(n_regions, init=values[starts], n_init=1, random_state=0, max_iter=30).fit(values).labels_
    return found.reshape(height, width).astype(np.int64)


def region_maps(regions: Any, images: np.ndarray) -> np.ndarray:
    """Return the region of every pixel, one map for all images or one for each.

    Parameters
    ----------
    regions : (int, int), int, or integer array
        A grid (rows, columns); a number of superpixels; or a map (height, width) or (n_images, height, width) of
        numbers 0 .. n_regions - 1.
    images : (n_images, channels, height, width) float

    Returns
    -------
    (1 or n_images, height, width) int64

    Raises
    ------
    AblationError
        For a map of another size, a number that no pixel has, or fewer than two regions.
    """
    n_images, _, height, width = images.shape
    if isinstance(regions, (int, np.integer)):
        maps = np.stack([superpixels(image, int(regions)) for image in images])
    elif isinstance(regions, (tuple, list)) and len(regions) == 2 and all(np.ndim(part) == 0 for part in regions):
        maps = grid(int(regions[0]), int(regions[1]), height, width)[None]
    else:
        maps = np.asarray(regions)
        maps = maps[None] if maps.ndim == 2 else maps
        if maps.ndim != 3 or maps.shape[1:] != (height, width) or len(maps) not in (1, n_images):
            raise AblationError(
                f"a region map must have shape ({height}, {width}) or ({n_images}, {height}, {width}), one number a "
                f"pixel; got {np.shape(regions)}."
            )
        if maps.dtype.kind not in "iu" or maps.min() < 0:
            raise AblationError(f"a region map holds numbers from 0 on; got {maps.dtype}, smallest {maps.min()}.")
    n_regions = int(maps.max()) + 1
    for number, own in enumerate(maps):
        empty = np.flatnonzero(np.bincount(own.ravel(), minlength=n_regions) == 0)
        if len(empty):
            raise AblationError(
                f"region {empty[0]} of image {number} has no pixel, of {n_regions} regions. Number the regions "
                "0, 1, 2, ... without gaps, the same number of them in every image."
            )
    if n_regions < 2:
        raise AblationError("one region is the whole image. Use at least two.")
    return maps.astype(np.int64)
