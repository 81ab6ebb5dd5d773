"""A block's whole fit on a device, here torch's CPU, is NumPy's: the same sets, strictness, gates and numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attribution import ProxySPEX
from attribution.errors import AttributionError
from attribution.interactions.block import BlockFit, BlockSettings, fit_block
from attribution.masks.inputs import check_data
from attribution.proxy.boosted_trees import BoosterSettings
from tests.games import planted_interactions

TORCH_CPU = "cpu:0"  # torch's own name for it; "cpu" is NumPy
# Every step is NumPy's to some 1e-6 of an output's spread, and so is the whole where no choice is a tie. Two penalties
# of a path may predict equally well: then rounding decides between them, that fold's fit is another one, and through
# the prior of the block it moves the other targets by some 1e-4. On these games there is no such tie.
ROUNDING = 2e-5


def fits(device: str, alpha: float, weighted: bool) -> tuple[BlockFit, BlockFit]:
    """The same campaign fitted on the device and by NumPy. 130 players: more than have all their triples screened."""
    games = [planted_interactions(130, seed, noise_ceiling=0.7).at_alpha(alpha) for seed in range(3)]
    masks = games[0].draw_masks(700, seed=0)
    outputs = np.column_stack([game.observe(masks, 10 + k) for k, game in enumerate(games)])
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(masks)) if weighted else None
    data = check_data(masks, outputs / outputs.std(axis=0), alpha, sample_weight=weight)
    on, by_numpy = (
        fit_block(data, BlockSettings(alpha, max_sieve_players=0, booster=BoosterSettings(device=where)))
        for where in (device, "cpu")
    )
    return on, by_numpy


def same(found: BlockFit, expected: BlockFit) -> None:
    assert found.strictness.tolist() == expected.strictness.tolist() and expected.strictness.any()
    assert np.abs(found.predicted - expected.predicted).max() < ROUNDING
    assert np.abs(found.main - expected.main).max() < ROUNDING
    assert np.allclose(found.gate_p, expected.gate_p, rtol=1e-3, atol=1e-12)
    for one, other in zip(found.spectra, expected.spectra, strict=True):
        assert {members for members in one.terms if len(members) > 1} == {m for m in other.terms if len(m) > 1}
        every = one.terms.keys() | other.terms.keys()
        assert max(abs(one.coefficient(members) - other.coefficient(members)) for members in every) < ROUNDING
    for reported, wanted in zip(found.reported, expected.reported, strict=True):
        assert reported.members == wanted.members
        assert np.allclose(reported.p_value, wanted.p_value, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize(("alpha", "weighted"), [(0.5, False), (0.5, True), (0.3, False)])
def test_the_fit_on_a_device_is_that_of_numpy(alpha: float, weighted: bool) -> None:
    same(*fits(TORCH_CPU, alpha, weighted))


@pytest.mark.skipif(torch.cuda.is_available(), reason="torch sees a GPU here")
def test_an_estimator_that_is_to_use_a_gpu_says_that_there_is_none() -> None:
    masks = np.random.default_rng(0).random((60, 6)) < 0.5
    with pytest.raises(AttributionError, match="torch .* finds 0 GPUs on this machine. Set device='cpu'"):
        ProxySPEX(device="cuda", max_triple_players=3, max_sieve_players=0).fit(masks, masks[:, 0] * 1.0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_the_fit_on_a_gpu_is_that_of_numpy() -> None:
    same(*fits("cuda", 0.5, False))
