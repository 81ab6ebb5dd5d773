"""The refits of refit.py in torch, for a GPU or for many players: every fit of all targets of a block at once.

The Gram matrix of a fit has a part that all targets share, that of the main effects, and parts of each target's own, as
wide as its candidates are many. They are kept apart: each iteration then needs one large product with the shared part
and small products with the others, and no n x n matrix for every target has to be stored or read.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attribution.device import exact_products, torch_device
from attribution.interactions.refit import BatchSolutions, Design, Request
from attribution.linear.lasso_torch import iterate, largest_eigenvalue

if TYPE_CHECKING:
    import torch

_BLOCK_BYTES = 2**30  # of a block of targets on the device


def solve_on_device(
    device: str,
    design: Design,
    requests: Sequence[Request],
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
    block_bytes: int = _BLOCK_BYTES,
) -> Iterator[BatchSolutions]:
    """Solve the fits of several targets on a torch device.

    Parameters
    ----------
    device : str
        A torch device.
    design : Design
    requests : sequence of Request
        One for each target; all have the same folds and equally many rows of penalties.
    tolerance, max_iterations : float, int
        Stopping rule of the iteration.
    block_bytes : int
        Device memory in bytes for a block of targets. phi and one Gram matrix for each fit come on top.

    Yields
    ------
    BatchSolutions
        The solutions of each target, in the order of the requests.

    Raises
    ------
    AttributionError
        For a device that does not exist.
    """
    shared = _Shared(torch_device(device), design, [fit.without for fit in requests[0].fits]) if requests else None
    n_masks, n_players = design.phi.shape
    first = 0
    while shared is not None and first < len(requests):
        widest, last = 0, first
        while last < len(requests):  # as many as fit
            widest = max(widest, requests[last].columns.shape[1])
            n_fits, n_levels = len(requests[last].fits), len(requests[last].fits[0].penalties)
            each = 8 * n_masks * widest + 4 * (2 * n_fits + 1) * widest * (n_players + widest)
            each += 48 * n_fits * n_levels * (n_players + widest)
            if last > first and (last + 1 - first) * each > block_bytes:
                break
            last += 1
        with exact_products():
            solved = _Block(shared, requests[first:last]).solve(tolerance, max_iterations)
        yield from solved
        first = last


class _Shared:
    """The shared part on the device: phi (m, n), weight (m, 1) or None, rows of every fold, and for the fits
    without each of `folds` (None: on all) the weight, mean (k, n) and covariance (k, n, n) of phi."""

    def __init__(self, device: torch.device, design: Design, folds: Sequence[int | None]) -> None:
        import torch

        self.device, self.design = device, design
        self.phi = torch.from_numpy(design.phi).to(device)
        self.weight = None if design.weight is None else torch.from_numpy(design.weight).to(device)[:, None]
        self.rows = [torch.from_numpy(rows).to(device) for rows in design.rows]
        # (k, folds) 1 where a fit has a fold.
        self.has = torch.tensor(
            [[float(fold != without) for fold in range(len(design.rows))] for without in folds], device=device
        )
        self.total = self.has @ torch.tensor(design.total, dtype=torch.float32, device=device)
        self.mean = self.without(torch.from_numpy(np.stack(design.x)).to(device)) / self.total[:, None]
        gram = torch.zeros((len(folds), *design.xx[0].shape), device=device)
        for fold, xx in enumerate(design.xx):
            gram += self.has[:, fold, None, None] * torch.from_numpy(xx).to(device)
        self.gram = gram / self.total[:, None, None] - self.mean[:, :, None] * self.mean[:, None, :]

    def without(self, per_fold: torch.Tensor) -> torch.Tensor:
        """Sums over the folds of every fit: (folds, ...) -> (k, ...)."""
        return (self.has @ per_fold.flatten(1)).view(len(self.has), *per_fold.shape[1:])


@dataclass
class _Parts:
    """Gram matrices of k fits of t targets over n players and c sets: shared (k, n, n), cross (k, t, n, c), own
    (k, t, c, c)."""

    shared: torch.Tensor
    cross: torch.Tensor
    own: torch.Tensor

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        import torch

        n = self.shared.shape[1]
        main, sets = vectors[..., :n], vectors[..., n:]
        of_main = (main.flatten(1, 2) @ self.shared).view_as(main) + sets @ self.cross.mT
        return torch.cat([of_main, main @ self.cross + sets @ self.own], dim=3)

    def keep(self, targets: torch.Tensor) -> _Parts:
        return _Parts(self.shared, self.cross[:, targets], self.own[:, targets])


class _Block:
    """Some targets' fits together."""

    def __init__(self, shared: _Shared, requests: Sequence[Request]) -> None:
        self.shared, self.requests = shared, requests
        outputs = np.stack([request.outputs for request in requests])
        self.centre = outputs.mean(axis=1)
        self.scale = np.where(outputs.std(axis=1) > 0, outputs.std(axis=1), 1.0)
        self.y = self._to_device((outputs - self.centre[:, None]) / self.scale[:, None])
        self.n_used = max(1, *(len(fit.used) for request in requests for fit in request.fits))

    def _to_device(self, values: NDArray) -> torch.Tensor:
        import torch

        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(self.shared.device)

    def solve(self, tolerance: float, max_iterations: int) -> list[BatchSolutions]:
        parts, covariance, mean, mean_y = self._moments()
        largest = largest_eigenvalue(parts, covariance)
        penalties, start = self._penalties()
        coef = iterate(parts, largest, covariance, penalties, start, tolerance, max_iterations).double()
        intercept = mean_y.double()[:, :, None] - (coef * mean.double()[:, :, None, :]).sum(dim=3)
        unit = self.scale[None, :, None]
        found = coef.cpu().numpy() * unit[..., None]
        level = intercept.cpu().numpy() * unit + self.centre[None, :, None]
        n = self.shared.phi.shape[1]
        return [
            BatchSolutions(
                found[:, target, :, :n],
                [found[k, target, :, n : n + len(fit.used)] for k, fit in enumerate(request.fits)],
                level[:, target],
            )
            for target, request in enumerate(self.requests)
        ]

    def _moments(self) -> tuple[_Parts, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Covariances of every fit: the Gram matrices' parts; with the outputs (k, t, n + c); the columns' mean (k, t,
        n + c) and the outputs' (k, t). Columns that a fit does not use, or a target does not have, are zero."""
        import torch

        shared = self.shared
        widest = max(request.columns.shape[1] for request in self.requests)
        padded = np.zeros((len(self.requests), len(shared.phi), widest + 1), dtype=np.float32)  # the last stays zero
        for target, request in enumerate(self.requests):
            padded[target, :, : request.columns.shape[1]] = request.columns
        columns = self._to_device(padded)
        sums: list[list[torch.Tensor]] = [[] for _ in range(6)]
        for rows in shared.rows:
            phi, own, y = shared.phi[rows], columns[:, rows], self.y[:, rows, None]
            weight = None if shared.weight is None else shared.weight[rows]
            weighted, weighted_y = (own, y) if weight is None else (own * weight, y * weight)
            for kept, value in zip(sums, (
                phi.T @ weighted, own.mT @ weighted, weighted.sum(dim=1),
                (weighted_y.mT @ phi)[:, 0], (weighted_y.mT @ own)[:, 0], weighted_y.sum(dim=(1, 2)),
            ), strict=True):  # fmt: skip
                kept.append(value)
        xc, cc, c, yx, yc, y_sum = (shared.without(torch.stack(values)) for values in sums)
        total = shared.total[:, None, None]
        # Every fit's own columns, in the order it names them.
        used = np.full((len(shared.has), len(self.requests), self.n_used), widest)
        for target, request in enumerate(self.requests):
            for k, fit in enumerate(request.fits):
                used[k, target, : len(fit.used)] = fit.used
        place = torch.from_numpy(used).to(shared.device)
        c, yc = c.gather(2, place) / total, yc.gather(2, place) / total
        xc = xc.gather(3, place[:, :, None, :].expand(-1, -1, xc.shape[2], -1)) / total[..., None]
        cc = cc.gather(3, place[:, :, None, :].expand(-1, -1, cc.shape[2], -1))
        cc = cc.gather(2, place[:, :, :, None].expand(-1, -1, -1, self.n_used)) / total[..., None]
        mean_x, mean_y = shared.mean[:, None, :].expand(-1, len(self.requests), -1), y_sum / total[..., 0]
        parts = _Parts(shared.gram, xc - mean_x[..., None] * c[:, :, None, :], cc - c[..., None] * c[:, :, None, :])
        mean = torch.cat([mean_x, c], dim=2)
        covariance = torch.cat([yx / total, yc], dim=2) - mean_y[..., None] * mean
        return parts, covariance, mean, mean_y

    def _penalties(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Penalties and starts (k, t, l, n + c) in the scaled outputs' units; what a fit does not use is kept out."""
        n, fits = self.shared.phi.shape[1], [request.fits for request in self.requests]
        shape = (len(self.shared.has), len(fits), len(fits[0][0].penalties), n + self.n_used)
        penalties, start = np.full(shape, np.inf), np.zeros(shape)

        for target, of_target in enumerate(fits):
            for k, fit in enumerate(of_target):
                penalties[k, target, :, :n] = fit.main_penalty
                penalties[k, target, :, n : n + len(fit.used)] = fit.penalties
                start[k, target, :, :n] = fit.start
        unit = self.scale[None, :, None, None]
        return self._to_device(penalties / unit), self._to_device(start / unit)
