"""The attribute stage on a GPU: what it asks of Ray, and the error of a machine without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from flows.attribute import resources
from flows.compute.ray_cluster import Cluster, ClusterError
from flows.compute.streaming_map import Resources
from flows.compute.target_blocks import TargetBlocks
from flows.compute.work import analyse_block
from flows.store.campaign import Campaign
from tests.flows.toy import run_stages, toy

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def trained(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy campaign up to its outputs."""
    folder = tmp_path_factory.mktemp("trained") / "campaign"
    run_stages(toy(folder), "plan", "retrain")
    return folder


def test_a_block_asks_ray_for_part_of_a_gpu_when_it_is_to_use_one(tmp_path: Path) -> None:
    assert resources(toy(tmp_path).attribution) == Resources(gpus=0.0)
    assert resources(toy(tmp_path, "attribution.device=cuda").attribution) == Resources(gpus=0.25)
    whole = toy(tmp_path, "attribution.device=cuda", "attribution.gpus_per_block=1")
    assert resources(whole.attribution).slots_of({"CPU": 8.0, "GPU": 2.0}) == 2


def test_the_device_reaches_the_blocks_and_gives_the_tables_of_the_cpu(trained: Path) -> None:
    config = toy(trained, "attribution.device=cuda")
    blocks = TargetBlocks(Campaign(trained), config)
    job, block = blocks.job(config), next(iter(blocks))
    assert job.settings["device"] == "cuda"
    found, expected = (
        analyse_block(replace(job, settings={**job.settings, "device": device}), block) for device in ("cpu:0", "cpu")
    )
    assert found.interactions["members"] == expected.interactions["members"]
    for name, score in expected.scores.items():
        assert np.allclose(found.scores[name].value, score.value, rtol=1e-4, atol=1e-6, equal_nan=True), name


@pytest.mark.skipif(torch.cuda.is_available(), reason="tests the error of a machine without a GPU")
def test_a_gpu_that_is_not_there_stops_the_stage_at_once_and_names_the_way_out(trained: Path) -> None:
    with pytest.raises(ClusterError, match="asks for 1 CPU, 0.25 GPU, .* 0 GPU.*attribution.device=cpu"):
        run_stages(toy(trained, "attribution.device=cuda"), "attribute")
    assert Campaign(trained).analysis is None
