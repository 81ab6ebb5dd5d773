"""Margins: what they are, and that they differ."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from training.engine.outputs import accuracy, margin_lse, margin_max

LOGITS = torch.tensor(np.random.default_rng(0).normal(size=(3, 7, 5)), dtype=torch.float64)
LABELS = torch.tensor([0, 4, 2, 1, 3, 3, 0])


def test_margin_lse_is_the_log_odds_of_the_correct_class():
    probability = torch.softmax(LOGITS, dim=-1)[:, torch.arange(7), LABELS]
    assert torch.allclose(margin_lse(LOGITS, LABELS), torch.log(probability / (1 - probability)), atol=1e-12)


def test_margin_max_is_positive_exactly_where_the_prediction_is_correct():
    margins = margin_max(LOGITS, LABELS)
    assert torch.equal(margins > 0, LOGITS.argmax(dim=-1) == LABELS)
    assert torch.allclose((margins > 0).double().mean(dim=-1), accuracy(LOGITS, LABELS))


def test_the_two_margins_agree_for_two_classes_and_differ_by_at_most_log_of_the_others():
    two = LOGITS[..., :2]
    labels = LABELS % 2
    assert torch.allclose(margin_lse(two, labels), margin_max(two, labels))
    gap = margin_max(LOGITS, LABELS) - margin_lse(LOGITS, LABELS)
    assert (gap > 0).all() and (gap <= np.log(4) + 1e-12).all()


def test_large_logits_do_not_overflow():
    logits = torch.tensor([[1e4, -1e4, 0.0]])
    assert margin_lse(logits, torch.tensor([0])).item() == pytest.approx(1e4)
