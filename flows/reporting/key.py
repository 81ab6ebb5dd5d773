"""Names a report by everything it depends on."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from conf.schema import CampaignConfig
from flows.runtime.versions import source_digest
from flows.store.campaign import Campaign, digest
from flows.store.derived import experiment_keys
from flows.store.examples import inspection


def report_key(config: CampaignConfig, campaign: Campaign) -> str:
    """Names a report by the analysis and the experiments it shows, its settings, and the code that draws it."""
    found = inspection(campaign)
    return digest(
        {
            "analysis": (campaign.analysis or {}).get("key"),
            "report": config.report.model_dump(mode="json"),
            "experiments": experiment_keys(campaign),
            "data": None if found is None else [asdict(finding) for finding in found],
            "code": source_digest(Path(__file__).parent),
        }
    )[:16]
