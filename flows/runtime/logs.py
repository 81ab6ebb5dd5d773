"""Log lines: to Prefect's run logger inside a flow run, to standard error otherwise."""

from __future__ import annotations

import logging
import sys
from typing import Any

from attribution.errors import AttributionError
from conf.compose import ConfigError
from flows.errors import CoterieError
from training.errors import TrainingInputError

Log = logging.Logger | logging.LoggerAdapter[Any]


def stage_logger() -> Any:
    """Return the logger of the current flow run, or the project's own outside one (a decorator taken off).

    Returns
    -------
    logger
    """
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


OURS = (CoterieError, ConfigError, TrainingInputError, AttributionError)


class _OneLine(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OURS):
            record.exc_info, record.exc_text = None, None
        return True


def quiet_our_tracebacks() -> None:
    """Attach the filter to the console handlers; what goes to Prefect's server keeps the traceback.

    Prefect's console handler hangs on the root logger, which its loggers hand their records on to.
    """
    for name in (None, "prefect", "prefect.flow_runs", "prefect.task_runs"):
        for handler in logging.getLogger(name).handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.addFilter(_OneLine())
