"""What `coterie audit` prints."""

from __future__ import annotations

import time

from rich.console import Console

from conf.compose import ConfigError, recompose, validate
from conf.schema import CampaignConfig
from flows.audit.fragments import AuditFailed, audit, repair
from flows.cli.status import locate
from flows.errors import StoreError
from flows.games.table import trust_what_is_named
from flows.runtime.environment import prepare
from flows.store.campaign import Campaign
from flows.store.history import runs

LISTED = 50


def run_audit(where: str, overrides: list[str], sample: int, seed: int, with_repair: bool) -> None:
    """Audit, list what was found, and repair if asked to.

    Parameters
    ----------
    where : str
        A campaign's folder, or the configuration that names it.
    overrides : list of str
        Settings to change, written key=value.
    sample : int
        Models to train again; none where no run is on record.
    seed : int
        Seed of the sample.
    with_repair : bool
        Set broken files aside.

    Raises
    ------
    AuditFailed
        When something is wrong, repaired or not.
    """
    prepare()
    campaign, config = locate(where, overrides)
    settings = config or last_configuration(campaign)
    if settings is not None and config is None:
        settings = recompose(settings.model_dump(mode="json"), overrides)
        trust_what_is_named(where, settings, overrides)
    console = Console(width=160, highlight=False, markup=False, soft_wrap=True)
    if settings is None and sample:
        console.print("no run is on record, so no model can be trained again: only reading")
        sample = 0
    began = time.monotonic()
    # A folder alone is audited against its own plan; a configuration also says how many rows there should be.
    report = audit(campaign, settings if config is not None or sample else None, sample=sample, seed=seed)
    for note in report.notes:
        console.print(f"note: {note}")
    for finding in report.findings[:LISTED]:
        console.print(str(finding))
    if len(report.findings) > LISTED:
        console.print(f"… and {len(report.findings) - LISTED} more")
    console.print(
        f"{report.n_fragments:,} fragments and {report.n_rows:,} rows of outputs read, {report.n_retrained} models "
        f"trained again: {len(report.findings)} faults ({time.monotonic() - began:.1f} s)"
    )
    aside = repair(campaign, report) if with_repair else None
    if aside is not None:
        console.print(f"set aside in {aside}; `coterie run {campaign.folder}` makes what is missing now")
    if report.findings:
        remedy = (
            "Run the campaign again"
            if with_repair
            else f"`coterie audit {campaign.folder} --repair` sets broken files aside"
        )
        raise AuditFailed(f"{len(report.findings)} faults in {campaign.folder}. {remedy}")


def last_configuration(campaign: Campaign) -> CampaignConfig | None:
    """Read the configuration of the campaign's last recorded run.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    CampaignConfig or None
        None when none fits this version, or when the records cannot be read.
    """
    try:
        records = runs(campaign)
    except StoreError:  # the audit lists it
        return None
    for record in reversed(records):
        try:
            return validate(record.get("config"))
        except ConfigError:
            continue
    return None
