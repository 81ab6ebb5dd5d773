"""Prefect's console log, with one line instead of a traceback for errors that carry their own remedy."""

from __future__ import annotations

import logging

from attribution.errors import AttributionError
from conf.compose import ConfigError
from flows.errors import CoterieError
from training.errors import TrainingInputError

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
