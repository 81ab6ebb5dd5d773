"""What every test relies on: one thread a process, no settings of the person who runs the tests, one Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from flows.runtime.environment import prepare

if TYPE_CHECKING:
    from flows.compute.ray_cluster import Cluster

prepare()  # before NumPy, torch, Ray or Prefect is imported
os.environ.pop("RAY_ADDRESS", None)  # the tests start their own Ray and leave every other one alone


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Local Ray with two slots, started once; every stage that runs in this process uses it."""
    from flows.compute.ray_cluster import Cluster

    with Cluster("local", cpus=2) as started:
        yield started
