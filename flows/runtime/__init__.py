"""Environment of a run: Prefect's server, logs, progress, supervision, versions."""
