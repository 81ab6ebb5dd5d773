"""The solver of lasso.py in torch, for a GPU: several Gram matrices (folds) and all targets and penalties together.

The iteration is that of lasso.py for each target: one that has converged is not changed any more, in each fold
separately. The host asks the device for convergence only every _ITERATIONS_AT_ONCE iterations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from attribution.device import exact_products, torch_device
from attribution.linear.lasso import EIGENVALUE_MARGIN, POWER_ITERATIONS
from attribution.types import Floating

if TYPE_CHECKING:
    import torch

_ITERATIONS_AT_ONCE = 10  # iterations between two checks of convergence; a choice


def solve_l1_on_device(
    device: str,
    grams: Sequence[Floating],
    covariances: Sequence[Floating],
    penalties: Sequence[Floating],
    starts: Sequence[Floating | None],
    *,
    tolerance: float = 1e-4,
    max_iterations: int = 2000,
) -> list[Floating]:
    """Solve k problems of one shape on a torch device, each as lasso.solve_l1.

    Parameters
    ----------
    device : str
        Name of the torch device.
    grams : k of (q, q)
        Covariances of the design.
    covariances : k of (t, q)
        Covariances of outputs with the design.
    penalties : k, broadcastable to (t, l, q)
        lambda times each column's own penalty; infinity keeps a column out.
    starts : k of (t, l, q) or None
        Coefficients to start from; None for zeros.
    tolerance, max_iterations :
        As in lasso.solve_l1.

    Returns
    -------
    list of k (t, l, q)
        Coefficients of each problem.

    Raises
    ------
    AttributionError
        If the device does not exist.
    """
    import torch

    place = torch_device(device)
    shape = (*covariances[0].shape[:1], penalties[0].shape[1], covariances[0].shape[1])
    dtype = grams[0].dtype

    def stacked(arrays: Sequence[Floating]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays).astype(dtype, copy=False)).to(place)

    gram, covariance = _Shared(stacked(grams)), stacked(covariances)
    penalty = stacked([np.broadcast_to(penalty, shape) for penalty in penalties])
    zeros = np.zeros(shape, dtype)
    coef = stacked([zeros if start is None else start for start in starts])
    with exact_products():
        largest = largest_eigenvalue(gram, covariance[:, :1])
        found = iterate(gram, largest, covariance, penalty, coef, tolerance, max_iterations)
    return list(found.cpu().numpy())


class Gram(Protocol):
    """The Gram matrices of k problems with t targets each, in any layout."""

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        """Multiply row vectors (k, t, l, q) by their target's matrix."""

    def keep(self, targets: torch.Tensor) -> Gram:
        """Return the matrices of some targets."""


class _Shared:
    """One matrix for all targets of a problem: (k, q, q)."""

    def __init__(self, gram: torch.Tensor) -> None:
        self.gram = gram

    def product(self, vectors: torch.Tensor) -> torch.Tensor:
        return (vectors.flatten(1, 2) @ self.gram).view_as(vectors)

    def keep(self, targets: torch.Tensor) -> _Shared:
        return self


def iterate(
    gram: Gram,
    largest: torch.Tensor,
    covariance: torch.Tensor,
    penalties: torch.Tensor,
    start: torch.Tensor,
    tolerance: float,
    max_iterations: int,
) -> torch.Tensor:
    """Iterate as lasso.solve_l1 does.

    Parameters
    ----------
    gram : Gram
        Matrices of k problems with t targets each.
    largest : (k, t) or (k, 1)
        Their largest eigenvalues, from above.
    covariance : (k, t, q)
        Covariances of outputs with the design.
    penalties, start : (k, t, l, q)
        Penalties, and coefficients to start from.
    tolerance, max_iterations :
        As in lasso.solve_l1.

    Returns
    -------
    (k, t, l, q)
        Coefficients.
    """
    import torch

    step = (1.0 / largest)[:, :, None, None]
    result, coef, ahead, shrinkage = start.clone(), start, start, step * penalties
    target = covariance[:, :, None, :]
    accuracy = tolerance * covariance.abs().amax(dim=2)
    momentum = torch.ones_like(coef[..., :1])
    done = torch.zeros_like(accuracy, dtype=torch.bool)
    going = torch.arange(covariance.shape[1], device=covariance.device)  # not yet converged in every problem
    for iteration in range(1, max_iterations + 1):
        moved = ahead - step * (gram.product(ahead) - target)
        new = moved.sign() * (moved.abs() - shrinkage).clamp_(min=0)
        new = torch.where(done[:, :, None, None], coef, new)
        change = new - coef
        done = done | (change.abs().amax(dim=3) <= accuracy[:, :, None]).all(dim=2)
        # Restart the momentum wherever it points uphill.
        uphill = ((ahead - new) * change).sum(dim=3, keepdim=True) > 0
        momentum = torch.where(uphill, 1.0, momentum)
        following = (1 + (1 + 4 * momentum**2).sqrt()) / 2
        ahead = new + ((momentum - 1) / following) * change
        momentum, coef = following, new
        if iteration % _ITERATIONS_AT_ONCE == 0 or iteration == max_iterations:
            left = torch.nonzero(~done.all(dim=0))[:, 0]
            if len(left) == 0:
                break
            if len(left) < 0.75 * len(going):
                result[:, going] = coef
                going, coef, ahead, momentum = going[left], coef[:, left], ahead[:, left], momentum[:, left]
                shrinkage, target = shrinkage[:, left], target[:, left]
                accuracy, done = accuracy[:, left], done[:, left]
                gram, step = gram.keep(left), step if step.shape[1] == 1 else step[:, left]
    result[:, going] = coef
    return result


def largest_eigenvalue(gram: Gram, like: torch.Tensor) -> torch.Tensor:
    """Estimate as lasso.largest_eigenvalue.

    Parameters
    ----------
    gram : Gram
        Matrices of k problems with t targets each.
    like : (k, t, q)
        A tensor of the shape and device of their vectors.

    Returns
    -------
    (k, t)
        Estimates, at least 1e-12.
    """
    import torch

    begin = np.random.default_rng(0).standard_normal(like.shape[2])
    vector = torch.from_numpy(begin).to(like).expand(like.shape)[:, :, None, :]
    value = torch.ones_like(like[..., 0])
    for _ in range(POWER_ITERATIONS):
        vector = gram.product(vector)
        value = (vector**2).sum(dim=(2, 3)).sqrt()
        vector = vector / value.clamp(min=1e-30)[:, :, None, None]
    return (value * EIGENVALUE_MARGIN).clamp(min=1e-12)
