"""The exhaustive screens of screen.py in torch, for a GPU: the same sets, sums and counts, up to rounding.

Pairs and triples are one computation. A row is a set without its last player, a column is that player. All sets of one
target are (products of the row's players times the residuals) times (the players), one batched product over the folds;
only the part in which the last player follows the row's players is used. Only retained sets are copied to the host.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attribution.device import exact_products, torch_device
from attribution.masks.row_groups import RowGroups
from attribution.screening.screened_sets import KnownPart, ScreenedSets
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP

if TYPE_CHECKING:
    import torch

_BLOCK_BYTES = 2**28  # device memory of one block of rows; a choice


def screen_on_device(
    order: int,
    device: str,
    row_groups: RowGroups,
    folds: NDArray[np.int64],
    residual_sums: NDArray[np.float64],
    retain_threshold: float | NDArray[np.float64],
    counts: NDArray[np.int64],
    unit_variance: bool,
    classes: NDArray[np.int8] | None = None,
    *,
    known: KnownPart | None = None,
    block_bytes: int = _BLOCK_BYTES,
) -> Iterator[ScreenedSets]:
    """Screen all sets of `order` players, target after target, on a torch device.

    Parameters
    ----------
    order : int
        Number of members, 2 or 3.
    device : str
        Name of the torch device.
    row_groups, folds, residual_sums, retain_threshold, counts, unit_variance, classes, known :
        As in screen.screen_pairs.
    block_bytes : int
        Device memory that the products of one block may take, in bytes.

    Yields
    ------
    ScreenedSets
        The sets of one target that reach the threshold.

    Raises
    ------
    AttributionError
        If the device does not exist.
    """
    screen = _Screen(order, torch_device(device), row_groups, folds, unit_variance, block_bytes)
    thresholds = np.atleast_1d(np.asarray(retain_threshold, dtype=np.float32))
    for target in range(residual_sums.shape[1]):
        own = np.zeros(row_groups.phi.shape[1], np.int8) if classes is None else classes[target]
        part = None if known is None else (known.left[target], known.right[target])
        with exact_products():
            retained, found, whole = screen.target(residual_sums[:, target], thresholds, own, part)
        counts += found.reshape(counts.shape)
        if known is not None:
            known.counts[...] += whole.reshape(counts.shape)
        yield retained


class _Screen:
    """Arrays on the device that all targets share.

    phi: (k, n, l) float32, the basis of every fold's row groups, players first, padded with zeros to the longest fold.
    left: (rows, order - 1), every set without its last player, in order.
    """

    def __init__(
        self,
        order: int,
        device: torch.device,
        row_groups: RowGroups,
        folds: NDArray[np.int64],
        unit_variance: bool,
        block_bytes: int,
    ) -> None:
        import torch

        n_players = row_groups.phi.shape[1]
        self.device, self.n_players = device, n_players
        self.parts = [np.flatnonzero(folds == fold) for fold in range(int(folds.max()) + 1)]
        self.longest = max(len(rows) for rows in self.parts)
        padded = np.zeros((len(self.parts), n_players, self.longest), dtype=np.float32)
        for fold, rows in enumerate(self.parts):
            padded[fold, :, : len(rows)] = row_groups.phi[rows].T
        self.phi = torch.from_numpy(padded).to(device)
        self.squared = None if unit_variance else self.phi**2
        left = np.array(list(combinations(range(n_players - 1), order - 1)), dtype=np.int64).reshape(-1, order - 1)
        self.left = torch.from_numpy(left).to(device)
        self.last = left[:, -1]
        self.players = torch.arange(n_players, device=device)
        # Bytes of a row: its products, also weighted and squared; sums and squares; z and masks of those.
        per_row = 4 * (len(self.parts) * (3 * self.longest + 3 * n_players) + 12 * n_players)
        self.at_once = max(1, block_bytes // per_row)

    def target(
        self,
        residual: NDArray[np.float64],
        thresholds: NDArray[np.float32],
        classes: NDArray[np.int8],
        known: tuple[NDArray[np.float32], NDArray[np.float32]] | None,
    ) -> tuple[ScreenedSets, NDArray[np.int64], NDArray[np.int64]]:
        """Screen one target: sets whose |z| reaches their class's threshold, and two histograms (classes, N_Z_BINS)."""
        import torch

        padded = np.zeros((len(self.parts), 1, self.longest), dtype=np.float32)
        for fold, rows in enumerate(self.parts):
            padded[fold, 0, : len(rows)] = residual[rows]
        r = torch.from_numpy(padded).to(self.device)
        spread = (r.double() ** 2).sum(dim=2, keepdim=True).float()
        counts = torch.zeros(2, len(thresholds) * N_Z_BINS, dtype=torch.int64, device=self.device)
        part = None if known is None else tuple(torch.from_numpy(side).to(self.device) for side in known)
        threshold = torch.from_numpy(thresholds).to(self.device)
        own_class = torch.from_numpy(classes.astype(np.int64)).to(self.device)
        found = [self._block(start, r, spread, threshold, own_class, part, counts)
                 for start in range(0, len(self.left), self.at_once)]  # fmt: skip
        members, sums, squares = zip(*found, strict=True)
        retained = ScreenedSets(np.concatenate(members), np.concatenate(sums, axis=1), np.concatenate(squares, axis=1))
        of_residuals, whole = counts.cpu().numpy()
        return retained, of_residuals, whole

    def _block(
        self,
        start: int,
        r: torch.Tensor,
        spread: torch.Tensor,
        thresholds: torch.Tensor,
        classes: torch.Tensor,
        known: tuple[torch.Tensor, ...] | None,
        counts: torch.Tensor,
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
        """Screen a block of rows: members, sums and squares of retained sets; adds every set to `counts`."""
        import torch

        left = self.left[start : start + self.at_once]
        first = int(self.last[start : start + self.at_once].min()) + 1  # the first column that any of them needs
        weighted = self.phi[:, left[:, 0]]
        for position in range(1, left.shape[1]):
            weighted = weighted * self.phi[:, left[:, position]]
        weighted = weighted * r
        sums = weighted @ self.phi[:, first:].mT
        squares = spread if self.squared is None else weighted**2 @ self.squared[:, first:].mT
        total_z, largest = _largest_z(sums, squares)
        follows = self.players[first:] > left[:, -1:]
        of_set = torch.minimum(classes[left].amin(dim=1)[:, None], classes[first:])
        statistics = [total_z]
        if known is not None:
            added = known[0][left[:, 0]] @ known[1][first:].mT
            statistics.append((sums.sum(dim=0) + added).abs() * _inverse_root(squares.sum(dim=0)))
            largest = torch.maximum(largest, statistics[1])
        for own, z in zip(counts, statistics, strict=False):
            bins = (z * (1.0 / Z_STEP)).clamp(max=N_Z_BINS - 1).long() + of_set * N_Z_BINS
            own.scatter_add_(0, bins.flatten(), follows.flatten().long())
        row, column = torch.nonzero((largest >= thresholds[of_set]) & follows, as_tuple=True)
        members = torch.cat([left[row], column[:, None] + first], dim=1)
        kept, kept_squares = (values.expand_as(sums)[:, row, column].double() for values in (sums, squares))
        return members.cpu().numpy(), kept.cpu().numpy(), kept_squares.cpu().numpy()


def _largest_z(sums: torch.Tensor, squares: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute |z| on all masks and an upper bound of |z| without any one fold, as screen._largest_z."""
    import torch

    total, variance = sums.sum(dim=0), squares.sum(dim=0)
    total_z = total.abs() * _inverse_root(variance)
    extreme = torch.maximum((total - sums.amin(dim=0)).abs(), (total - sums.amax(dim=0)).abs())
    return total_z, torch.maximum(total_z, extreme * _inverse_root(variance - squares.amax(dim=0)))


def _inverse_root(variance: torch.Tensor) -> torch.Tensor:
    return variance.clamp(min=1e-30).rsqrt()
