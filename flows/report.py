"""Stage report: one self-contained HTML file of what the campaign found."""

from __future__ import annotations

from pathlib import Path

from prefect import flow

from conf.schema import CampaignConfig
from flows.reporting.key import report_key
from flows.reporting.page import build_report
from flows.runtime.logs import stage_logger
from flows.storage.files import read_json, write_atomically, write_json
from flows.store.campaign import Campaign
from flows.store.history import runs


@flow(name="report", flow_run_name="{config.name} report", persist_result=False)
def report(config: CampaignConfig) -> Path:
    """Write report.html into the campaign's folder, unless it is up to date; its path.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    Path
        The file report.html.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    page, about = campaign.folder / "report.html", campaign.folder / "report.json"
    key = report_key(config, campaign)
    if page.is_file() and about.is_file() and read_json(about).get("key") == key:
        log.info("the report is up to date: %s", page)
        return page
    html = build_report(
        campaign,
        n_targets=config.report.n_targets,
        sets_per_target=config.report.sets_per_target,
        config=config.model_dump(mode="json"),
        runs=runs(campaign),
    )
    with campaign.lock():
        write_atomically(page, lambda temporary: _write_text(temporary, html))
        write_json(about, {"key": key})
    log.info("the report is %s (%.1f MB)", page, len(html.encode()) / 1e6)
    return page


def _write_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
