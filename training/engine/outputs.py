"""What is recorded of a target: how far a model leans towards the target's label."""

from __future__ import annotations

import torch
from torch import Tensor


def margin_lse(logits: Tensor, labels: Tensor) -> Tensor:
    """Correct logit minus the logsumexp of the others: the log odds of the correct class (TRAK, Park et al.
    2023).

    logits (..., n, n_classes), labels (n,) int64; the result is (..., n). Two classes or more are needed.
    """
    correct, others = _split(logits, labels)
    return correct - torch.logsumexp(others, dim=-1)


def margin_max(logits: Tensor, labels: Tensor) -> Tensor:
    """Correct logit minus the largest other logit (Datamodels, Ilyas et al. 2022); shapes as above."""
    correct, others = _split(logits, labels)
    return correct - others.amax(dim=-1)


def accuracy(logits: Tensor, labels: Tensor, counted: Tensor | None = None) -> Tensor:
    """Share of examples whose largest logit is the correct one; logits (..., n, n_classes) to (...) float64.

    counted: (..., n) bool, the examples that count; None counts all. NaN where none does.
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
