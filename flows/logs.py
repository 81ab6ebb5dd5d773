"""Log lines: to Prefect's run logger inside a flow run, to standard error otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Any


def stage_logger() -> Any:
    """The logger of the current flow run, or the project's own outside one (a decorator taken off)."""
    from prefect import get_run_logger
    from prefect.exceptions import MissingContextError

    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger("coterie")


def log_to_stderr() -> None:
    """Show the project's own log lines on standard error, bare."""
    logger = logging.getLogger("coterie")
    if not logger.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
