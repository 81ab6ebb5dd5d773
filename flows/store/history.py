"""The record of a run: the resolved configuration, the versions, and what each stage took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from conf.schema import CampaignConfig
from flows.runtime.versions import code_version, versions
from flows.storage.files import read_json
from flows.store.campaign import Campaign


class RunRecord:
    """Kept in the campaign's history folder; written again after every stage, so that a crash leaves what was known."""

    def __init__(self, config: CampaignConfig) -> None:
        self._campaign = Campaign(config.campaign.folder)
        started = datetime.now(UTC)
        self._stamp = started.strftime("%Y-%m-%dT%H-%M-%S-%f")
        self.content: dict[str, Any] = {
            "started": started.isoformat(timespec="seconds"),
            "finished": None,
            "trained_models": 0,
            "seconds_by_stage": {},
            "versions": versions(),
            "code_version": code_version(),
            "config": config.model_dump(mode="json"),
        }

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage and write the record when it ends, whichever way it ends."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.content["seconds_by_stage"][name] = round(time.monotonic() - began, 1)
            self.write()

    def write(self) -> None:
        """Write what is known. Without a campaign there is nothing to keep it beside."""
        if self._campaign.exists:
            self._campaign.record_run(self._stamp, self.content)

    def finish(self) -> None:
        self.content["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.write()


def runs(campaign: Campaign) -> list[dict[str, Any]]:
    """Every recorded run, oldest first."""
    return [read_json(path) for path in sorted((campaign.folder / "history").glob("*.json"))]
