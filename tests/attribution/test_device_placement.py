"""What can be said of a GPU without one: torch's stand-in tensors know their shape and device but hold no values.

An operation on tensors of two devices is an error with them, and so is one that needs a value, which on a GPU would
make the host wait for it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import DynamicOutputShapeException, FakeTensorMode

from attribution.interactions import refit_torch
from attribution.linear import lasso_torch
from attribution.masks.row_groups import make_row_groups
from attribution.proxy import booster_torch
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.early_stopping import Start
from attribution.screening import screen_torch
from tests.attribution.interactions import test_refit_torch
from tests.attribution.linear import test_lasso_torch

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def same_draws() -> None:
    """Every test draws the same numbers, in whatever order the tests run."""
    global RNG
    RNG = np.random.default_rng(0)


MASKS, OUTPUTS, HELD = RNG.random((120, 20)) < 0.5, RNG.normal(size=(120, 3)), np.arange(120) % 6 == 0


@pytest.fixture(autouse=True)
def _stand_in_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (booster_torch, lasso_torch, refit_torch, screen_torch):
        monkeypatch.setattr(module, "torch_device", lambda name: torch.device(name))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reg_lambda", [0.0, 1.0])
def test_a_round_of_the_booster_stays_on_its_device_and_asks_it_for_nothing(weighted: bool, reg_lambda: float) -> None:
    settings = BoosterSettings(device="cuda", max_depth=4, reg_lambda=reg_lambda)
    weight = RNG.uniform(0.5, 2.0, 120) if weighted else None
    with FakeTensorMode():
        shared = booster_torch._Masks(MASKS, HELD, weight, settings)
        players, leaves, error = booster_torch._Block(shared, Start(OUTPUTS, HELD, weight), settings)._round(True)
    assert players.device.type == leaves.device.type == error.device.type == "cuda"
    assert (players.shape, leaves.shape, error.shape) == ((3, 15), (3, 16), (3,))
    assert (players.dtype, leaves.dtype, error.dtype) == (torch.int32, torch.float32, torch.float64)


def screen(order: int, alpha: float) -> None:
    row_groups = make_row_groups(MASKS, np.arange(120), None, alpha)
    counts = np.zeros(screen_torch.N_Z_BINS, dtype=np.int64)
    folds = np.arange(120) % 6
    list(screen_torch.screen_on_device(order, "cuda", row_groups, folds, OUTPUTS, 2.0, counts, alpha == 0.5))


def refit(weighted: bool) -> None:
    list(refit_torch.solve_on_device("cuda", *test_refit_torch.campaign(weighted), max_iterations=25))


STEPS: dict[str, Callable[[], object]] = {
    "pairs": lambda: screen(2, 0.5),
    "pairs at another alpha": lambda: screen(2, 0.3),
    "triples": lambda: screen(3, 0.5),
    "LASSO": lambda: lasso_torch.solve_l1_on_device("cuda", *test_lasso_torch.problems(), max_iterations=25),
    "refits": lambda: refit(False),
    "weighted refits": lambda: refit(True),
}


@pytest.mark.parametrize("step", STEPS)
def test_the_other_steps_wait_only_to_learn_what_to_keep_or_when_to_stop(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with FakeTensorMode(), pytest.raises(DynamicOutputShapeException, match="nonzero"):
        STEPS[step]()

    def some(tensor: torch.Tensor, as_tuple: bool = False) -> torch.Tensor | tuple[torch.Tensor, ...]:
        found = torch.zeros((1, tensor.dim()), dtype=torch.int64, device=tensor.device)
        return found.unbind(1) if as_tuple else found

    monkeypatch.setattr(torch, "nonzero", some)
    # With an answer to that, everything up to the results' way to the host is done on the device.
    with FakeTensorMode(), pytest.raises(RuntimeError, match="numpy.. is not supported for tensor subclasses"):
        STEPS[step]()
