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
    """Keep the record of a run in the campaign's history folder.

    Parameters
    ----------
    config : CampaignConfig
        The resolved configuration; it names the campaign's folder.

    Notes
    -----
    The record is written again after every stage, so that a crash leaves what was known.
    """

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
        """Time a stage and write the record when it ends, also when it fails.

        Parameters
        ----------
        name : str
            Key of the stage's seconds in the record.
        """
        began = time.monotonic()
        try:
            yield
        finally:
            self.content["seconds_by_stage"][name] = round(time.monotonic() - began, 1)
            self.write()

    def write(self) -> None:
        """Write what is known; without a campaign nothing is written.

        Raises
        ------
        StoreError
            When the record cannot be written.
        """
        if self._campaign.exists:
            self._campaign.record_run(self._stamp, self.content)

    def finish(self) -> None:
        """Record the time at which the run finished, and write the record.

        Raises
        ------
        StoreError
            When the record cannot be written.
        """
        self.content["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.write()


def runs(campaign: Campaign) -> list[dict[str, Any]]:
    """Read every recorded run.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    list of dict
        The oldest first.

    Raises
    ------
    StoreError
        When a record cannot be read.
    """
    return [read_json(path) for path in sorted((campaign.folder / "history").glob("*.json"))]
