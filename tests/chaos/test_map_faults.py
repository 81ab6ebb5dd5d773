"""Retries, logs and slots of the map. The long battery is `python -m tests.chaos.run`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.compute.ray_cluster import Cluster, ClusterError
from flows.compute.streaming_map import Resources
from tests.chaos import units


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(address="local", cpus=2) as running:
        yield running


@pytest.mark.ray
def test_a_unit_that_died_too_often_gets_a_last_try_when_the_others_are_done(cluster: Cluster, tmp_path: Path) -> None:
    warnings: list[str] = []

    def tell(index: int, why: str) -> None:
        warnings.append(why)

    outcomes = cluster.map(units.die_three_times, str(tmp_path), range(6), Resources(max_retries=2), on_retry=tell)
    found = {outcome.index: outcome for outcome in outcomes}
    assert found[1].error is None and found[1].attempts == 4
    assert found[1].value == 5, "the others were not done yet"
    assert len(warnings) == 3 and "once more at the end" in warnings[-1]


@pytest.mark.ray
def test_a_failed_unit_brings_its_traceback_and_its_host(cluster: Cluster) -> None:
    (failed,) = [outcome for outcome in cluster.map(units.complain, None, range(3)) if outcome.error]
    assert failed.error == "ValueError: the data are wrong"
    assert "in complain" in failed.log and "host " in failed.log


@pytest.mark.ray
def test_a_machine_that_cannot_run_one_unit_says_so_at_once(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="asks for 1 CPU, 64 GPU, Ray here offers 2 CPU"):
        list(cluster.map(units.complain, None, range(3), Resources(gpus=64)))


@pytest.mark.parametrize(
    ("resources", "offered", "slots"),
    [
        (Resources(), {"CPU": 4.0}, 4),
        (Resources(), {}, 0),
        (Resources(gpus=0.3), {"CPU": 16.0, "GPU": 2.0}, 6),
        (Resources(gpus=1), {"CPU": 16.0, "GPU": 2.0}, 2),
        (Resources(gpus=2), {"CPU": 16.0, "GPU": 3.0}, 1),
        (Resources(memory_bytes=2**30), {"CPU": 16.0, "memory": 2.5 * 2**30}, 2),
    ],
)
def test_slots_of_a_node(resources: Resources, offered: dict[str, float], slots: int) -> None:
    assert resources.slots_of(offered) == slots
