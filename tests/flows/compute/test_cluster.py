"""The map over real Ray: bounded, streaming, and honest about what failed."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from flows.compute.ray_cluster import Cluster, ClusterError, Resources
from tests.flows import ray_units
from tests.flows.toy import ROOT, is_alive, wait_until

pytestmark = pytest.mark.ray


def test_every_unit_has_one_outcome(cluster: Cluster) -> None:
    outcomes = list(cluster.map(ray_units.add, 100, range(20)))
    assert {outcome.index: outcome.value for outcome in outcomes} == {unit: 100 + unit for unit in range(20)}
    assert len(outcomes) == 20 and all(outcome.error is None for outcome in outcomes)


def test_no_units_no_outcomes(cluster: Cluster) -> None:
    assert list(cluster.map(ray_units.add, 0, [])) == []


def test_outcomes_arrive_while_other_units_still_run(cluster: Cluster, tmp_path: Path) -> None:
    order = []
    for outcome in cluster.map(ray_units.wait_for, str(tmp_path), range(4)):
        order.append(outcome.index)
        (tmp_path / "go").touch()
    assert order[0] != 0 and sorted(order) == [0, 1, 2, 3]


def test_units_are_drawn_only_as_fast_as_outcomes_are_taken(cluster: Cluster) -> None:
    """A campaign of 300,000 models does not lie in memory: at most `window` units are ahead of the reader."""
    drawn = 0

    def units() -> Iterator[int]:
        nonlocal drawn
        for unit in range(30):
            drawn += 1
            yield unit

    for taken, _ in enumerate(cluster.map(ray_units.add, 0, units(), window=3), start=1):
        assert drawn <= taken + 3
    assert drawn == 30


def test_the_first_unit_is_announced_once(cluster: Cluster) -> None:
    announced = []
    outcomes = cluster.map(ray_units.add, 0, range(3), on_start=lambda: announced.append(True))
    assert announced == []
    assert len(list(outcomes)) == 3 and announced == [True]


def test_an_exception_in_a_unit_is_its_outcome_and_the_others_go_on(cluster: Cluster) -> None:
    outcomes = {outcome.index: outcome for outcome in cluster.map(ray_units.only_even, None, range(6))}
    assert [outcomes[unit].value for unit in (0, 2, 4)] == [0, 2, 4]
    assert [outcomes[unit].error for unit in (1, 3, 5)] == [f"ValueError: {unit} is odd" for unit in (1, 3, 5)]
    assert outcomes[1].value is None


def test_a_unit_whose_process_died_is_tried_again(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = list(cluster.map(ray_units.die_unless_tried, str(tmp_path), range(2), Resources(max_retries=2)))
    assert sorted(outcome.value for outcome in outcomes) == [0, 1]
    assert all(outcome.error is None for outcome in outcomes)


def test_a_unit_that_kills_every_process_fails_alone(cluster: Cluster) -> None:
    outcomes = {
        outcome.index: outcome for outcome in cluster.map(ray_units.die, None, range(4), Resources(max_retries=0))
    }
    assert [outcomes[unit].value for unit in (0, 2, 3)] == [0, 2, 3]
    assert "WorkerCrashed" in str(outcomes[1].error) and len(str(outcomes[1].error).splitlines()) == 1


def test_when_the_first_units_all_fail_the_rest_is_not_tried(cluster: Cluster) -> None:
    outcomes = cluster.map(ray_units.always_wrong, "no such disk", range(1000))
    seen = []
    with pytest.raises(ClusterError, match="first [0-9]+ tasks .*RuntimeError: no such disk"):
        for outcome in outcomes:
            seen.append(outcome)
    assert 4 <= len(seen) < 20


def test_what_units_share_is_stored_once_and_cannot_be_changed_by_one_of_them(cluster: Cluster) -> None:
    shared = np.zeros(10**6, np.uint8)
    outcomes = [outcome.value for outcome in cluster.map(ray_units.describe, shared, range(6))]
    assert not any(writeable for writeable, _, _ in outcomes)
    assert os.getpid() not in {pid for _, pid, _ in outcomes}


def test_workers_do_not_load_prefect(cluster: Cluster) -> None:
    """A worker that does starts a Prefect server of its own."""
    outcomes = cluster.map(ray_units.describe, np.zeros(1), range(4))
    assert {name for outcome in outcomes for name in outcome.value[2]} == set()


def test_leaving_early_ends_what_is_in_flight(cluster: Cluster, tmp_path: Path) -> None:
    outcomes = cluster.map(ray_units.linger, str(tmp_path), range(2), Resources(max_retries=0))
    assert next(outcomes).value == 0
    worker = int(next(tmp_path.iterdir()).name.partition("-")[2])
    outcomes.close()  # type: ignore[attr-defined]
    wait_until(lambda: not is_alive(worker), "the other unit's process to end")


def test_an_address_where_nothing_listens_is_one_clear_error_at_once() -> None:
    """In a process of its own, as this one is connected already. Ray alone would wait for more than five minutes."""
    code = (
        "from flows.compute.ray_cluster import Cluster, ClusterError\n"
        "try: Cluster('127.0.0.1:1').start()\n"
        "except ClusterError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert "could not be started at '127.0.0.1:1'" in done.stdout
    assert "RAY_ADDRESS" in done.stdout


def test_a_machine_too_busy_to_start_ray_has_another_remedy_than_a_wrong_address(monkeypatch) -> None:
    cluster = Cluster("local")

    def busy() -> None:
        raise Exception("The current node timed out during startup..")

    monkeypatch.setattr(cluster, "_start_once", busy)
    with pytest.raises(ClusterError, match=r"on this machine: The current node timed out during startup\. Run"):
        cluster.start()
