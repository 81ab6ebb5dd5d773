"""Settings of Prefect and Ray that are read from the environment when they are first imported.

Call `prepare` before either is imported. What the user has set stays as it is.
"""

from __future__ import annotations

import os
import secrets

# One thread a worker: two threads of small convolutions on a busy core ran 10-20 times slower.
WORKER_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}

DEFAULTS = {
    **WORKER_ENVIRONMENT,
    # No usage statistics are sent anywhere.
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Prefect's temporary server needs 11-22 s on two busy cores; its own limit of 20 s is too near.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
    # A host whose link is cut is noticed in seconds, not minutes; the driver needs these as the daemons do.
    "RAY_grpc_client_keepalive_time_ms": "2000",
    "RAY_grpc_client_keepalive_timeout_ms": "3000",
    # Ray prints a notice about a coming change of this default unless it is set.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "1",
}

# Ray's daemons gather figures for a dashboard that is not shown: without them, on two cores, they took 3.5% of one core
# instead of 4.7% (benchmarks/README.md, "Overhead").
QUIET_LOCAL_RAY = {
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "RAY_metrics_report_interval_ms": "60000",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "AUTOSCALER_UPDATE_INTERVAL_S": "60",
}


def prepare() -> None:
    """Set what is not set yet."""
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def prepare_local_ray() -> None:
    """Settings of a Ray that starts in this process: nothing listens beyond this machine, and it wants a token.

    The token lives in this process's environment, so that no file is left in the home folder which a cluster started
    by hand would then find. Where authentication has been set up already, that stays.
    """
    for name, value in QUIET_LOCAL_RAY.items():
        os.environ.setdefault(name, value)
    # Despite its name this is the switch, on every system, that binds Ray's daemons to 127.0.0.1.
    os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    if "RAY_AUTH_MODE" not in os.environ:
        os.environ["RAY_AUTH_MODE"] = "token"
        if not os.environ.get("RAY_AUTH_TOKEN") and not os.environ.get("RAY_AUTH_TOKEN_PATH"):
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
