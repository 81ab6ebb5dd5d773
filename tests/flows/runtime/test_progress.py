"""What the line of progress claims: units a second are counted from the first unit on, over all batches."""

from __future__ import annotations

import pytest

from flows.runtime import progress
from flows.runtime.progress import Progress


def test_a_second_batch_does_not_restart_the_clock_of_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    with Progress(20, "models") as shown:
        shown.show()
        now[0] += 2.0
        shown.advance(4)
        shown.show()
        now[0] += 2.0
        shown.advance(4)
        assert shown.rate == pytest.approx(2.0)
