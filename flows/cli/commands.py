"""The `coterie` command. Commands that only read, and --help, import neither torch nor Ray nor Prefect."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from conf.compose import ConfigError
from conf.schema import CampaignConfig
from flows.cli import banks as cli_banks
from flows.cli import decisions as cli_decisions
from flows.cli import lenses as cli_lenses
from flows.cli import refinement as cli_refinement
from flows.cli.arguments import AsJson, DryRun, Name, Overrides, Where
from flows.cli.configuration import configuration, locate
from flows.errors import CoterieError
from flows.runtime.wording import plural

EXIT_CODES = """
Exit codes: 0 done (or nothing to do) · 1 unexpected error · 2 wrong usage or configuration · 3 the folder belongs to
another campaign · 4 another process is writing to it · 5 a table cannot be read or written · 6 something is missing
or failed · 7 the cluster or Prefect's server cannot be reached · 8 the data cannot be used · 9 an audit found
something wrong · 130 interrupted
"""

app = typer.Typer(
    help="Which training examples act together, which can go, which must stay - proven by retraining.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"coterie {version('coterie')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Plan, retrain, attribute and report: everything a configuration asks for and that does not exist yet.

    Run it again and nothing is done twice. Ask for more models (campaign.n_fit=4000) and only those are trained.
    Stop it whenever you like: finished models are kept.
    """
    _stage("campaign", config, configuration(config, overrides), dry_run)


@app.command()
def plan(
    config: Name = "quickstart",
    overrides: Overrides = None,
    dry_run: DryRun = False,
    estimate: Annotated[
        bool,
        typer.Option("--estimate", help="Say what it would cost and show (time, disk, faithfulness), and do nothing."),
    ] = False,
    core_hours: Annotated[
        float | None,
        typer.Option("--core-hours", min=0.001, help="With --estimate: how many groups and masks so much pays for."),
    ] = None,
    precheck: Annotated[
        bool,
        typer.Option(
            "--precheck", help="Evaluate 24 masks, say whether outputs respond to the data at all, and write nothing."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Draw the masks: which training examples each model will see. Says what a campaign of this size could detect.

    With --estimate: a few seconds of training calibrate this machine, sample files give the disk space, and a learning
    curve through what exists (or other campaigns, marked as such) gives the faithfulness to expect.
    With --precheck: noise ceiling and slope from 24 evaluations, before a campaign is paid for.
    """
    chosen = configuration(config, overrides)
    if core_hours is not None and not estimate:
        raise ConfigError("--core-hours goes with --estimate. Give both")
    if precheck:
        from flows.cli.estimate import print_precheck

        print_precheck(chosen, as_json)
        return
    if estimate:
        from flows.cli.estimate import print_estimate

        print_estimate(chosen, as_json, core_hours)
        return
    _stage("plan", config, chosen, dry_run, as_json)


@app.command()
def retrain(config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Train the planned models that do not exist yet, on all cores or on the Ray cluster at RAY_ADDRESS."""
    _stage("retrain", config, configuration(config, overrides), dry_run)


@app.command()
def attribute(config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Fit the datamodel and ProxySPEX to the outputs: effects, interactions, faithfulness."""
    _stage("attribute", config, configuration(config, overrides), dry_run)


@app.command()
def report(config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False) -> None:
    """Write the campaign's report: one HTML file that needs nothing else."""
    _stage("report", config, configuration(config, overrides), dry_run)


@app.command()
def status(campaign: Where = "quickstart", overrides: Overrides = None, as_json: AsJson = False) -> None:
    """What exists, what is missing and what failed."""
    if as_json:
        from flows.cli.as_json import status_of

        _print_json(status_of(*locate(campaign, overrides)))
        return
    from flows.cli.status import print_status

    print_status(campaign, overrides or [])


@app.command()
def audit(
    campaign: Where = "quickstart",
    overrides: Overrides = None,
    sample: Annotated[int, typer.Option(min=0, help="Shards to train again and compare; 0 to only read.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Chooses the sample.")] = 0,
    repair: Annotated[bool, typer.Option("--repair", help="Set what is broken aside; nothing is deleted.")] = False,
) -> None:
    """Check that every row exists once, is as it was written, and that models trained again come out the same.

    Exit code 9 and a list when something is wrong. With --repair, broken files go to quarantine/ inside the campaign's
    folder with the reasons, and the next `coterie run` makes what is then missing.
    """
    from flows.cli.audit import run_audit

    run_audit(campaign, overrides or [], sample, seed, repair)


@app.command()
def compact(campaign: Where = "quickstart", overrides: Overrides = None) -> None:
    """Copy the outputs target by target, so that one target reads fast; only what has changed since is written."""
    from flows.store.compaction import compact as bring_up_to_date

    found, _ = locate(campaign, overrides)
    with found.lock():
        summary = bring_up_to_date(found)
    was = "was" if summary.current == 1 else "were"
    print(f"{plural(summary.written, 'file')} written, {summary.current} {was} current, in {found.folder}/compact")


@app.command()
def show(
    campaign: Where = "quickstart",
    overrides: Overrides = None,
    target: Annotated[
        int | None, typer.Option(
            help="A target's number; -1 is the mean of all, -2, -3, … that of the first, second, … class. All targets "
            "when left out."
        )
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many to list.")] = 10,
    as_json: AsJson = False,
) -> None:
    """The strongest interactions of a target (or of all targets), in the terminal."""
    if as_json:
        from flows.cli.as_json import interactions_of

        _print_json(interactions_of(locate(campaign, overrides)[0], target, top))
        return
    from flows.cli.status import print_interactions

    print_interactions(campaign, overrides or [], target, top)


def _stage(stage: str, where: str, config: CampaignConfig, dry_run: bool, as_json: bool = False) -> None:
    """Run a stage; where: what the user named, for hints."""
    from flows.cli.run_stage import drive

    _do(stage, config, lambda: drive(stage, config, dry_run, where), dry_run, as_json)


def _decide(stage: str, where: str, config: CampaignConfig, dry_run: bool, as_json: bool = False) -> None:
    from flows.cli.run_stage import drive_decision

    _do(stage, config, lambda: drive_decision(stage, config, dry_run, where), dry_run, as_json)


def _do(stage: str, config: CampaignConfig, work: Callable[[], None], dry_run: bool, as_json: bool) -> None:
    """Run a stage. With as_json, standard output holds one JSON document, and what is printed for people goes to
    standard error."""
    if not as_json:
        _supervised(config, work, alone=dry_run)
        return
    if dry_run:
        raise ConfigError("--json reports what a stage wrote, and --dry-run writes nothing. Give one of them")
    from flows.cli.as_json import outcome_of

    with contextlib.redirect_stdout(sys.stderr):
        _supervised(config, work)
    _print_json(outcome_of(stage, config))


def _print_json(content: object) -> None:
    print(json.dumps(content, indent=2, ensure_ascii=False))


def _supervised(config: CampaignConfig, work: Callable[[], None], alone: bool = False) -> None:
    """Run `work` in a child process that is restarted if the Ray daemon kills it; alone=True runs it directly."""
    from flows.runtime.logs import log_to_stderr
    from flows.runtime.supervise import supervise

    try:
        if not alone and not config.compute.ray_address and not os.environ.get("RAY_ADDRESS"):
            log_to_stderr()
            supervise()  # Ray runs in this process, and ends it when its daemon dies
        work()
    except KeyboardInterrupt:  # here, because Typer would end the process without a word
        # Cleaning up may take seconds; a second Ctrl-C exits immediately, without a traceback.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        _leave("interrupted; finished models are kept. Run the same command to go on", 130)


cli_decisions.register(app, _decide)
cli_lenses.register(app, _decide)
cli_refinement.register(app, lambda stage, config, dry_run: _stage(stage, config.campaign.folder, config, dry_run))
cli_banks.register(app)


def main() -> None:
    """Run the command line; print one message and leave with its exit code for errors a person can fix.

    Raises
    ------
    SystemExit
        With code 2 for a configuration, 8 for data or an analysis, else the error's own exit code.
    """
    from attribution.errors import AttributionError
    from training.errors import TrainingInputError

    try:
        app()
    except ConfigError as error:
        _leave(error, 2)
    except CoterieError as error:
        _leave(error, error.exit_code)
    except (TrainingInputError, AttributionError) as error:
        _leave(error, 8)


def _leave(message: object, code: int) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(code)
