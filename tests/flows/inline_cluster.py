"""A cluster that runs every task at once in this process: for tests that are not about Ray."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from flows.compute import ray_cluster
from flows.compute.streaming_map import Outcome


class InlineCluster:
    """Maps one task after the other, here."""

    is_local = True

    def start(self) -> float:
        return 0.0

    def map(
        self, function: Callable[[Any, Any], Any], shared: Any, tasks: Iterable[Any], *_: Any, **__: Any
    ) -> Iterator[Outcome]:
        for index, task in enumerate(tasks):
            try:
                yield Outcome(index, function(shared, task), None)
            except Exception as error:  # as on a node: the task's outcome
                yield Outcome(index, None, f"{type(error).__name__}: {error}", traceback.format_exc())


def use_inline_cluster(monkeypatch: pytest.MonkeyPatch) -> InlineCluster:
    """Give every stage this cluster in place of a session of Ray's."""
    cluster = InlineCluster()

    @contextmanager
    def session(*_: Any) -> Iterator[InlineCluster]:
        yield cluster

    monkeypatch.setattr(ray_cluster, "session", session)
    for module in ("flows.attribute", "flows.compute.session"):
        monkeypatch.setattr(f"{module}.session", session)
    return cluster
