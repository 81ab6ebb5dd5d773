"""The commands that act on a campaign's findings: certify, curate, verify, brittleness, export, score."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from conf.compose import ConfigError
from conf.schema import CampaignConfig
from flows.cli.arguments import AsJson, DryRun, Name, Overrides, Where, Yes
from flows.cli.configuration import configuration, locate

Run = Callable[[str, str, CampaignConfig, bool, bool], None]  # stage, what the user named, settings, dry run, JSON


def register(app: typer.Typer, run: Run) -> None:
    """Add the commands to `app`; run starts a stage's flow."""

    @app.command()
    def certify(
        config: Name = "quickstart",
        overrides: Overrides = None,
        members: Annotated[str | None, typer.Option(help="A set of your own, e.g. 17,204.")] = None,
        target: Annotated[
            int | None, typer.Option(help="Its target; -1 is the mean of all. The best one reported when left out.")
        ] = None,
        dry_run: DryRun = False,
        as_json: AsJson = False,
        yes: Yes = False,
    ) -> None:
        """Put the strongest interactions, or a set you name, to the test by a factorial retraining experiment.

        Says first what it costs; certified, refuted or undecided is written to certification.parquet.
        certify.kinds=[synergy,boundary_synergy] or certify.orders=[3] tries the strongest sets of a kind or an order
        instead; above the false discovery rate they are marked exploratory, and none counts for the top 20.
        """
        chosen = configuration(config, overrides)
        if members is None and target is not None:
            raise ConfigError("--target goes with --members. Name the set, e.g. --members 17,204 --target 33")
        if members is not None:
            update = {"members": _players(members), **({} if target is None else {"target": target})}
            chosen = chosen.model_copy(update={"certify": chosen.certify.model_copy(update=update)})
        ask_before_much("certify", chosen, yes or dry_run)
        run("certify", config, chosen, dry_run, as_json)

    @app.command()
    def curate(
        config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False, as_json: AsJson = False
    ) -> None:
        """Decide about every training example: keep, drop or review, each with its reason.

        Only what evidence speaks against is dropped: a label that is probably wrong, and all but one of what replaces
        one another. A budget is your wish: curate.keep_share=0.8 drops 20%, curate.keep_count=1000 keeps 1,000. It
        declines where the models are not above chance.
        """
        run("curate", config, configuration(config, overrides), dry_run, as_json)

    @app.command()
    def verify(
        config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False, as_json: AsJson = False,
        yes: Yes = False,
    ) -> None:  # fmt: skip
        """Retrain on what was decided and on other choices of the same size; compare on the audit examples."""
        chosen = configuration(config, overrides)
        ask_before_much("verify", chosen, yes or dry_run)
        run("verify", config, chosen, dry_run, as_json)

    @app.command()
    def brittleness(
        config: Name = "quickstart", overrides: Overrides = None, dry_run: DryRun = False, as_json: AsJson = False,
        yes: Yes = False,
    ) -> None:  # fmt: skip
        """The smallest removals that flip predictions, with and without interactions, confirmed by retraining."""
        chosen = configuration(config, overrides)
        ask_before_much("brittleness", chosen, yes or dry_run)
        run("brittleness", config, chosen, dry_run, as_json)

    @app.command()
    def export(
        campaign: Where = "quickstart",
        overrides: Overrides = None,
        to: Annotated[Path, typer.Option(help="The folder the files go into.")] = Path("curated"),
        formats: Annotated[
            str, typer.Option("--formats", help="Any of subset, parquet, csv and lists, separated by commas.")
        ] = "subset,parquet,csv,lists",
    ) -> None:
        """Write the decisions as an index file, a filtered Parquet data set, a CSV and lists of file names."""
        from flows.decisions.export import export as write

        found, _ = locate(campaign, overrides)
        written = write(found, to, tuple(part.strip() for part in formats.split(",") if part.strip()))
        for path in written.paths:
            print(path)
        print(f"{written.n_kept} training examples kept, {written.n_dropped} dropped")
        for note in written.notes:
            print(f"note: {note}", file=sys.stderr)

    @app.command()
    def score(
        campaign: Where = "quickstart",
        attributions: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="[ATTRIBUTIONS]...",
                help="npy, npz or Parquet, a row a player and a column a target; NAME=FILE names a method.",
            ),
        ] = None,
        baselines: Annotated[
            str,
            typer.Option(help="all, none, or any of random, class, datamodel, neighbours, knn_shapley, gradients."),
        ] = "all",
        removal: Annotated[
            int | None, typer.Option(min=1, help="Also train without this many players, those each method ranks first.")
        ] = None,
        removal_targets: Annotated[int, typer.Option(min=2, help="Targets to do this for.")] = 12,
        removal_seeds: Annotated[int, typer.Option(min=1, help="Models of each removal.")] = 2,
        removal_random: Annotated[int, typer.Option(min=4, help="Random removals beside them.")] = 24,
        max_models: Annotated[
            int | None, typer.Option(min=1, help="Models removals may train; by default the campaign's own number.")
        ] = None,
        planted: Annotated[
            str | None, typer.Option(help="Player numbers whose labels are known to be wrong, for the mislabel AUC.")
        ] = None,
        figure: Annotated[
            Path | None, typer.Option(help="Where the figure goes (png, svg, pdf); score.png in the folder.")
        ] = None,
        seed: Annotated[int, typer.Option(min=0, help="Of resamples and of the random baseline.")] = 0,
        settings: Annotated[
            list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Settings of the campaign to change.")
        ] = None,
        as_json: AsJson = False,
        yes: Yes = False,
    ) -> None:
        """Judge attributions of any method by what the campaign measured on masks that nothing was fitted on.

        LDS with intervals over masks and targets, beside what seed noise allows; paired differences between methods;
        with --removal, what an output loses without the players a method ranks first; AUC where wrong labels are known.
        """
        from flows.cli.score import run_score

        run_score(
            campaign, attributions or [], baselines=baselines, removal=removal, removal_targets=removal_targets,
            removal_seeds=removal_seeds, removal_random=removal_random, max_models=max_models, planted=planted,
            figure=figure, seed=seed, overrides=settings or [], as_json=as_json, agreed=yes,
        )  # fmt: skip


def ask_before_much(stage: str, config: CampaignConfig, agreed: bool) -> None:
    """Ask before an experiment may train over ten times the campaign's models.

    Parameters
    ----------
    stage : str
        A stage whose settings have max_models.
    config : CampaignConfig
    agreed : bool
        Do not ask.

    Raises
    ------
    ConfigError
        Without a yes, or where standard input is no terminal.
    """
    from flows.experiments.budget import ASK_ABOVE, own_models
    from flows.store.campaign import Campaign

    most = getattr(config, stage).max_models
    campaign = Campaign(config.campaign.folder)
    if agreed or most is None or not campaign.exists:
        return
    own = own_models(campaign)
    if most <= ASK_ABOVE * own:
        return
    question = f"{stage} may train {most} models, more than {ASK_ABOVE} times the campaign's {own} ({stage}.max_models)"
    if not sys.stdin.isatty() or not typer.confirm(f"{question}. Go on?"):
        raise ConfigError(f"{question}. Give --yes to go on, or lower {stage}.max_models")


def _players(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--members takes player numbers separated by commas, e.g. 17,204; got {text!r}") from error
