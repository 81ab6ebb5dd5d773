"""Runs a stage, or the whole campaign, from the command line: first what can be known at once, then Ray and Prefect."""

from __future__ import annotations

import importlib
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conf.games import FIXED, OWN_FUNCTION
from conf.schema import CampaignConfig, identity_settings
from flows.cli.stage_states import StageState, survey
from flows.compute import ray_cluster as cluster
from flows.compute.ray_cluster import ClusterError
from flows.compute.session import start_session_of
from flows.errors import IncompleteCampaign, StoreError
from flows.games.table import refuse_other_games, require_evaluation
from flows.runtime.environment import prepare
from flows.runtime.logs import log_to_stderr
from flows.runtime.preflight import check_environment, check_ray_address, check_ray_answers
from flows.runtime.trust import refuse_unnamed_cluster
from flows.storage.object_store import ObjectPath
from flows.store.campaign import Campaign

PREFECT_ANSWERS_WITHIN = 3.0  # seconds in which a server of the user's must answer; it does in milliseconds
TEMPORARY = "use a temporary one: unset PREFECT_API_URL, or set PREFECT_PROFILE=ephemeral where a profile holds it"
LOG = logging.getLogger("coterie")
NEEDS = {"retrain": "plan", "attribute": "retrain", "report": "attribute"}
NEEDS_TRAINING = ("curate", "verify", "brittleness")
IN_THIS_PROCESS = ("prune", "flip")  # inference of seconds: without Ray
ON_RAY = {"campaign": ("retrain", "attribute"), "retrain": ("retrain",), "attribute": ("attribute",)}


def drive(stage: str, config: CampaignConfig, dry_run: bool, where: str = "") -> None:
    """Run `stage`, or only print what would be done and why.

    Parameters
    ----------
    stage : str
        Name of the stage; "campaign" for all of them.
    config : CampaignConfig
    dry_run : bool
        Only print.
    where : str
        What the user named (a configuration, a file or a folder), for hints; the configuration's name when empty.

    Raises
    ------
    IncompleteCampaign
        If the stage before it has not made what this one needs.
    CampaignMismatch
        If the folder belongs to another campaign.
    StoreError
        If the folder cannot be written.
    CampaignBusy
        If another driver writes to the campaign.
    """
    from flows.games.table import games_kept

    with games_kept():  # the images are loaded once, by the check, and then used by every stage
        _drive(stage, config, dry_run, where or config.name)


def _drive(stage: str, config: CampaignConfig, dry_run: bool, where: str) -> None:
    log_to_stderr()
    prepare()
    if stage == "retrain":
        require_evaluation(config, "`coterie retrain`")
    states = {state.stage: state for state in survey(config)}
    chosen = list(states.values()) if stage == "campaign" else [states[stage]]
    campaign = Campaign(config.campaign.folder)
    evaluating = stage in ("campaign", "plan", "retrain")
    if evaluating or config.game.kind not in OWN_FUNCTION:
        evaluates = evaluating and any(states[name].todo for name in ("plan", "retrain"))
        check_data(config, campaign, evaluates, dry_run)
    if dry_run:
        _print_states(chosen)
        return
    if not any(state.todo for state in chosen):
        _print_states(chosen)
        print("Nothing to do.")
        _print_report(campaign)
        return
    _check_inputs(stage, states, campaign, where)
    check_writable(campaign)
    _announce(chosen)
    run_flow(stage, config, needs_ray=any(states[name].todo for name in ON_RAY.get(stage, ())))
    _print_report(campaign)


def check_data(config: CampaignConfig, campaign: Campaign, evaluates: bool = True, dry_run: bool = False) -> None:
    """Find errors in the data, sizes it cannot give, and another campaign's folder, before anything is started.

    Parameters
    ----------
    config : CampaignConfig
    campaign : Campaign
    evaluates : bool
        Whether masks are drawn or evaluated; where none are, code that only a campaign's folder names is not run.
    dry_run : bool
        Nothing is downloaded: sizes of data that is not here yet are not checked, which is printed. Games other than
        retraining are not checked.

    Raises
    ------
    TrainingInputError
        For data that cannot be used.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    from flows.games.table import full_identity, make_game, refuse_without_audit, runs_unnamed_code
    from flows.games.trainer.game import Trainer

    if dry_run and config.game.kind != "retraining":
        return  # a game of the user's own is not started for a look ahead
    if runs_unnamed_code(config) and (dry_run or not evaluates):
        return  # what is left to do only reads, and `survey` has compared the settings
    chosen = config.dataset
    if dry_run and chosen.source == "cifar10" and chosen.download and not Path(chosen.path or "data").exists():
        print(f"data      not checked: {chosen.source} is downloaded into {chosen.path or 'data'} by the first run")
        return
    game = make_game(config)
    if campaign.exists:
        campaign.check_identity(full_identity(config, game))
    else:
        refuse_without_audit(config, game)
    if evaluates and isinstance(game, Trainer) and not config.compute.ray_address and "RAY_ADDRESS" not in os.environ:
        game.check()  # here as on the nodes: a function that cannot be called is known before Ray starts


def _check_inputs(stage: str, states: dict[str, StageState], campaign: Campaign, where: str) -> None:
    """A stage run alone needs what the stage before it makes."""
    needed, name = NEEDS.get(stage), campaign.folder if campaign.exists else where
    if needed == "plan" and states["plan"].todo:
        raise IncompleteCampaign(
            f"masks are not planned yet ({states['plan'].why}). Run `coterie plan {name}` first, with the same settings"
        )
    if needed == "retrain" and not any(rows.role == "fit" for rows in campaign.trained()):
        raise IncompleteCampaign(f"there are no trained models to explain. Run `coterie retrain {name}` first")
    if needed == "attribute" and campaign.analysis is None:
        raise IncompleteCampaign(f"there is no analysis to report. Run `coterie attribute {name}` first")


def check_writable(campaign: Campaign) -> None:
    """Find a folder that cannot be written, or is being written, before minutes are spent; every stage checks again.

    Parameters
    ----------
    campaign : Campaign

    Raises
    ------
    StoreError
        If the folder cannot be written.
    CampaignBusy
        If another driver writes to the campaign.
    """
    _check_folder(campaign.folder)
    if not isinstance(campaign.folder, ObjectPath):
        with campaign.lock():
            pass


def _check_folder(folder: Path) -> None:
    """A folder that cannot be written is found before minutes are spent. Raises StoreError."""
    if isinstance(folder, ObjectPath):  # its first write shows whether it can be written
        return
    place = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not place.is_dir():
        raise StoreError(f"{place} is a file, so {folder} cannot be a folder. Set campaign.folder to another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise StoreError(f"{place} cannot be written to. Fix its permissions, or set campaign.folder elsewhere")


def _announce(states: list[StageState]) -> None:
    for state in states:
        LOG.info("%-9s %s%s", state.stage, "" if state.todo else "nothing to do: ", state.why)


def run_flow(stage: str, config: CampaignConfig, *, needs_ray: bool, then: tuple[str, ...] = ()) -> None:
    """Run a stage's flow, and then those that its result makes stale.

    Parameters
    ----------
    stage : str
        Name of the stage.
    config : CampaignConfig
    needs_ray : bool
        Start Ray in the background first.
    then : tuple of str
        Stages to run afterwards, in this order.

    Raises
    ------
    ClusterError
        If Prefect's server cannot be reached.
    """
    began = time.monotonic()
    check_environment()
    _check_prefect()  # before Ray: to stop a Ray that is still starting takes seconds
    if needs_ray:
        check_ray_address(config.compute.ray_address)
        refuse_unnamed_cluster(config.compute.ray_address)
        check_ray_answers(config.compute.ray_address)
        started = start_session_of(config)
        where = f"{started.cpus} cores of this machine" if started.is_local else f"cluster at {started.address}"
        LOG.info("starting Ray (%s) …", where)
    try:
        LOG.info("starting Prefect (%s) …", _prefect_server())
        for name in (stage, *then):
            _flow(name)(config)
    finally:
        cluster.stop_session()
    LOG.info("done in %.0f s", time.monotonic() - began)


def _check_prefect() -> None:
    """A server of the user's that does not answer is found before minutes are spent. Raises ClusterError."""
    import urllib.error
    import urllib.request

    from prefect.settings import PREFECT_API_KEY, PREFECT_API_URL

    url, key = PREFECT_API_URL.value(), PREFECT_API_KEY.value()
    if not url:
        return
    try:
        secret = {} if key is None else {"Authorization": f"Bearer {key}"}
        request = urllib.request.Request(f"{url.rstrip('/')}/health", headers=secret)
        urllib.request.urlopen(request, timeout=PREFECT_ANSWERS_WITHIN).close()
    except urllib.error.HTTPError as error:
        if key is not None and error.code in (401, 403):
            raise ClusterError(
                f"Prefect's server at {url} refuses the key in PREFECT_API_KEY ({error.code} {error.reason}). Log in "
                f"again (`prefect cloud login`), or {TEMPORARY}"
            ) from error
        # it answers, and may want a login that Prefect sends
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"Prefect's server at {url} cannot be reached: {error}. Start it (`prefect server start`), or {TEMPORARY}"
        ) from error


def _prefect_server() -> str:
    from prefect.settings import PREFECT_API_URL

    from flows.runtime.prefect_server import server_log

    url = PREFECT_API_URL.value()
    return f"server at {url}" if url else f"its temporary server needs 5 to 25 s and writes to {server_log()}"


def _flow(stage: str) -> Callable[[CampaignConfig], Any]:
    """The flow of a stage. Flows are imported only here: Prefect takes seconds to import."""
    from prefect.settings import PREFECT_API_URL

    from flows.runtime.logs import quiet_our_tracebacks
    from flows.runtime.prefect_server import guard_temporary_server

    chosen: Callable[[CampaignConfig], Any] = getattr(importlib.import_module(f"flows.{stage}"), stage)
    quiet_our_tracebacks()
    if not PREFECT_API_URL.value():
        guard_temporary_server()
    return chosen


def _print_states(states: list[StageState]) -> None:
    for state in states:
        print(f"{state.stage:<10}{'run ' if state.todo else 'skip'}  {state.why}")


def _print_report(campaign: Campaign) -> None:
    page = campaign.folder / "report.html"
    if page.is_file():
        print(f"Report: {page.resolve()}")


def drive_decision(stage: str, config: CampaignConfig, dry_run: bool = False, where: str = "") -> None:
    """Check what can be known at once, then run the stage's flow and the report's.

    Parameters
    ----------
    stage : str
        "certify", "curate", "verify", "brittleness", "prune" or "flip".
    config : CampaignConfig
    dry_run : bool
        Only print what would be done, what it would train and how long that takes.
    where : str
        What the user named, for hints; the configuration's name when empty.

    Raises
    ------
    IncompleteCampaign
        Without a campaign or an analysis.
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    from flows.games.table import games_kept

    with games_kept():
        _drive_decision(stage, config, dry_run, where or config.name)


def _drive_decision(stage: str, config: CampaignConfig, dry_run: bool, where: str) -> None:
    log_to_stderr()
    prepare()
    campaign = Campaign(config.campaign.folder)
    if not campaign.exists:
        raise IncompleteCampaign(
            f"there is no campaign in {campaign.folder}. Run `coterie run {where}` first, or name another folder"
        )
    if stage != "curate":
        require_evaluation(config, f"`coterie {stage}`", accepts_trainer=True)
    if campaign.analysis is None:
        raise IncompleteCampaign(f"{campaign.folder} has no analysis yet. Run `coterie run {campaign.folder}` first")
    campaign.check_identity(identity_settings(config))
    if config.game.kind == "retraining":
        check_data(config, campaign, dry_run=dry_run)
    if config.game.kind in FIXED and stage in NEEDS_TRAINING:
        refuse_other_games(config, stage)
    if dry_run:
        from flows.cli.dry_run import describe

        for line in describe(stage, config, campaign):
            print(line)
        return
    _check_request(stage, config, campaign)
    check_writable(campaign)
    needs_ray = stage not in IN_THIS_PROCESS
    if stage == "curate":
        needs_ray = config.game.kind == "retraining" and (
            config.curate.label_models > 0 or config.curate.race_models > 0
        )
    run_flow(stage, config, needs_ray=needs_ray, then=("report",))
    _print_report(campaign)


def _check_request(stage: str, config: CampaignConfig, campaign: Campaign) -> None:
    """Refuse sets, targets, budgets and decisions that do not exist before Ray and Prefect start.

    Raises what the stage itself would raise.
    """
    if config.game.kind in (*OWN_FUNCTION, "recorded") and stage != "curate":
        from flows.games.table import evaluator

        evaluator(config, campaign)
    if stage == "certify":
        from flows.experiments.certify_sets import choose_sets

        choose_sets(config, campaign)
    elif stage == "curate":
        from flows.decisions.evidence import check_request

        check_request(config, campaign)
    elif stage == "verify":
        from flows.verify import current_decisions

        current_decisions(config, campaign)
    elif stage == "prune":
        from flows.prune import components_of

        components_of(config, campaign)
    elif stage == "flip":
        from flows.flip import flippable

        flippable(config, campaign)
