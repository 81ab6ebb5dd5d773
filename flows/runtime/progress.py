"""Progress a person can follow: a bar on a terminal, a line every few seconds elsewhere.

Everything goes to standard error, so that standard output stays what a command was asked for.
"""

from __future__ import annotations

import logging
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LOG = logging.getLogger("coterie")
LINE_EVERY_SECONDS = 10.0


class Progress:
    """Count units done; show done/total, rate and time left.

    Parameters
    ----------
    total : int
        Units in all.
    noun : str
        What is counted, such as "models".
    done : int
        Units that exist already.
    """

    def __init__(self, total: int, noun: str, *, done: int = 0) -> None:
        self.total, self.noun, self.done = total, noun, done
        self._at_start = done
        self._began = self._last_line = time.monotonic()
        self._shown = False
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Progress:
        return self

    def show(self) -> None:
        """Show the bar and begin to measure the rate when the first unit runs; later batches change neither."""
        if self._shown:
            return
        self._shown = True
        self._began = time.monotonic()
        if sys.stderr.isatty():
            self._start_bar()
        else:
            self._line()

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self._task = bar.add_task(self.noun, total=self.total, completed=self.done, rate="")
        bar.start()
        self._bar = bar

    def advance(self, count: int) -> None:
        """Count more units that have ended, and show them.

        Parameters
        ----------
        count : int
            Units.
        """
        self.done += count
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self.done, rate=f"{self.rate:.1f} {self.noun}/s")
        elif time.monotonic() - self._last_line >= LINE_EVERY_SECONDS or self.done >= self.total:
            self._line()

    @property
    def rate(self) -> float:
        """Units a second since the start.

        Returns
        -------
        float
        """
        return (self.done - self._at_start) / max(time.monotonic() - self._began, 1e-9)

    def _line(self) -> None:
        self._last_line = time.monotonic()
        text = f"{self.noun}: {self.done}/{self.total}"
        if self.done > self._at_start:
            left = (self.total - self.done) / max(self.rate, 1e-9)
            text += f", {self.rate:.1f} {self.noun}/s, ETA {clock(left)}"
        LOG.info(text)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def clock(seconds: float) -> str:
    """Write seconds as m:ss or h:mm:ss.

    Parameters
    ----------
    seconds : float

    Returns
    -------
    str
    """
    whole = int(round(seconds))
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"
