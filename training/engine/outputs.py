"""Outputs recorded for a target: the margin of its own label."""

from __future__ import annotations

import torch
from torch import Tensor


def margin_lse(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the correct logit minus the logsumexp of the others: the log odds of the correct class.

    Parameters
    ----------
    logits : (..., n, n_classes) tensor
        Two classes or more.
    labels : (n,) int64 tensor
        Correct classes.

    Returns
    -------
    (..., n) tensor
        log(p / (1 - p)) for the correct class's probability p (TRAK, Park et al. 2023).

    Examples
    --------
    >>> margin_lse(torch.tensor([[2.0, 0.0, 0.0]]), torch.tensor([0]))
    tensor([1.3069])
    """
    correct, others = _split(logits, labels)
    return correct - torch.logsumexp(others, dim=-1)


def margin_max(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the correct logit minus the largest other logit.

    Parameters
    ----------
    logits : (..., n, n_classes) tensor
        Two classes or more.
    labels : (n,) int64 tensor
        Correct classes.

    Returns
    -------
    (..., n) tensor
        Positive exactly where the prediction is correct (Datamodels, Ilyas et al. 2022).

    Examples
    --------
    >>> margin_max(torch.tensor([[2.0, 0.5, 0.0]]), torch.tensor([0]))
    tensor([1.5000])
    """
    correct, others = _split(logits, labels)
    return correct - others.amax(dim=-1)


def accuracy(logits: Tensor, labels: Tensor, counted: Tensor | None = None) -> Tensor:
    """Return the share of examples whose largest logit is the correct one.

    Parameters
    ----------
    logits : (..., n, n_classes) tensor
        Logits.
    labels : (n,) int64 tensor
        Correct classes.
    counted : (..., n) bool tensor, optional
        The examples that count, all by default.

    Returns
    -------
    (...) float64 tensor
        NaN where no example counts.

    Examples
    --------
    >>> accuracy(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0]))
    tensor(0.5000, dtype=torch.float64)
    """
    correct = logits.argmax(dim=-1) == labels
    if counted is None:
        counted = torch.ones_like(correct)
    return (correct & counted).sum(dim=-1, dtype=torch.float64) / counted.sum(dim=-1, dtype=torch.float64)


def _split(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    where = labels.view(-1, 1).expand(*logits.shape[:-1], 1)
    correct = logits.gather(-1, where).squeeze(-1)
    return correct, logits.scatter(-1, where, float("-inf"))


OUTPUT_FUNCTIONS = {"margin_lse": margin_lse, "margin_max": margin_max}
