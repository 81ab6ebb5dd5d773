"""Runs a stage that acts on a campaign's findings from the command line."""

from __future__ import annotations

from conf.schema import CampaignConfig, identity_settings
from flows import drive
from flows.environment import prepare
from flows.errors import IncompleteCampaign
from flows.logs import log_to_stderr
from flows.store import Campaign

WITHOUT_RAY = ("curate",)


def drive_decision(stage: str, config: CampaignConfig, dry_run: bool = False) -> None:
    """Check what can be known at once, then run the stage's flow. Raises IncompleteCampaign without an analysis.

    dry_run: only print what would be done, what it would train and how long that takes.
    """
    log_to_stderr()
    prepare()
    campaign = Campaign(config.campaign.folder)
    if not campaign.exists or campaign.analysis is None:
        raise IncompleteCampaign(f"{campaign.folder} has no analysis yet. Run `coterie run` first")
    campaign.check_identity(identity_settings(config))
    if dry_run:
        from flows.dry_run_decisions import describe

        for line in describe(stage, config, campaign):
            print(line)
        return
    _check_request(stage, config, campaign)
    drive.check_writable(campaign)
    drive._run(stage, config, needs_ray=stage not in WITHOUT_RAY)


def _check_request(stage: str, config: CampaignConfig, campaign: Campaign) -> None:
    """What cannot be done is said before Ray and Prefect start: sets, targets, budgets and decisions that do not exist.

    Raises what the stage itself would raise.
    """
    if stage == "certify":
        from flows.certify_sets import choose_sets

        choose_sets(config, campaign)
    elif stage == "curate":
        from flows.curate import check_request

        check_request(config, campaign)
    elif stage == "verify":
        from flows.verify import current_decisions

        current_decisions(config, campaign)
