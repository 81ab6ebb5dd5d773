"""Small campaigns for the battery: how they are started, stopped, compared and audited."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conf.compose import compose
from conf.schema import CampaignConfig
from flows.audit.fragments import audit
from flows.errors import CoterieError
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from tests.chaos.processes import kill_family

RUN = "from flows.cli.commands import main; main()"
ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Small:
    """A campaign of `n_fit` + 2 × `n_holdout` models in shards of 4.

    A shard takes about a third of a second of the compiled mode: 32 of them are a third of a campaign's time, the rest
    is Ray, Prefect and the analysis, and a kill can hit each.
    """

    folder: Path
    n_fit: int = 96
    n_holdout: int = 16
    epochs: float = 300
    extra: tuple[str, ...] = ()

    @property
    def overrides(self) -> list[str]:
        return [
            "dataset.n_train=24", "dataset.n_targets=8", "dataset.n_audit=8", f"recipe.epochs={self.epochs}",
            "recipe.width=4", f"campaign.n_fit={self.n_fit}", f"campaign.n_holdout={self.n_holdout}",
            "campaign.shard_size=4", "compute.ensemble_size=4", "compute.mode=native", "attribution.n_targets=4",
            "attribution.published_targets=0",
            f"campaign.folder={self.folder}", *self.extra,
        ]

    @property
    def config(self) -> CampaignConfig:
        return compose("quickstart", self.overrides)

    @property
    def campaign(self) -> Campaign:
        return Campaign(self.folder)

    def start(self, log: Path, stage: str = "run", **environment: str) -> subprocess.Popen[bytes]:
        """Start `coterie <stage>` in a session of its own; its output goes to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as file:
            return subprocess.Popen(
                [sys.executable, "-c", RUN, stage, "quickstart", *self.overrides],
                stdout=file, stderr=file, stdin=subprocess.DEVNULL, cwd=ROOT, start_new_session=True,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )

    def finish(self, log: Path, stage: str = "run", timeout: float = 600, **environment: str) -> int:
        """Run to the end; the exit code."""
        process = self.start(log, stage, **environment)
        try:
            return process.wait(timeout)
        finally:
            kill_family(process.pid)

    # --- what is there ---------------------------------------------------------------------------------------

    def fragments(self) -> dict[str, int]:
        """Finished fragments of outputs and when each was written, in nanoseconds."""
        try:
            paths = self.campaign.fragment_paths("outputs")
        except CoterieError:
            return {}
        return {path.name: path.stat().st_mtime_ns for path in paths if not path.name.endswith(".failed.parquet")}

    def faults(self) -> list[str]:
        """What an audit finds."""
        return [str(finding) for finding in audit(self.campaign, self.config).findings]

    def difference(self, other: Small) -> str:
        """How the tables differ from another campaign's of the same configuration; empty when they do not.

        Outputs bit for bit; effects and interactions to the last digit. Where and how long is not compared.
        """
        for role, replicates in (("fit", 1), ("holdout", 2)):
            for replicate in range(replicates):
                mine, theirs = (c.campaign.training_pairs(role, replicate) for c in (self, other))
                for name in ("mask_ids", "masks", "outputs"):
                    if not np.array_equal(getattr(mine, name), getattr(theirs, name)):
                        return f"{name} of {role}, replicate {replicate}"
        for table in ("effects", "interactions", "faithfulness"):
            if self.campaign.analysis is None or other.campaign.analysis is None:
                return "no analysis"
            if repr(self.campaign.read(table).to_pylist()) != repr(other.campaign.read(table).to_pylist()):
                return f"table {table}"
        return ""


def row_names(fragments: dict[str, int]) -> list[RowRange]:
    return [RowRange.parse(name.split(".")[0]) for name in fragments]
