"""The commands that act on what was found of one fixed model: prune, flip."""

from __future__ import annotations

import typer

from flows.cli.arguments import AsJson, DryRun, Name, Overrides
from flows.cli.configuration import configuration
from flows.cli.decisions import Run


def register(app: typer.Typer, run: Run) -> None:
    """Add the commands to `app`; run starts a stage's flow."""

    @app.command()
    def prune(
        config: Name = "components", overrides: Overrides = None, dry_run: DryRun = False, as_json: AsJson = False
    ) -> None:
        """Choose parts of a network that can go by what they do together, and judge the choice on unseen images.

        For game.kind=components. Redundant parts go and synergistic ones stay, at every share in prune.shares, beside
        linear weights, single effects, gradients, weight magnitudes and chance. Nothing is trained unless
        prune.finetune_epochs says for how long: then every network is, the whole one too, on the same images.
        """
        run("prune", config, configuration(config, overrides), dry_run, as_json)

    @app.command()
    def flip(
        config: Name = "patches", overrides: Overrides = None, dry_run: DryRun = False, as_json: AsJson = False
    ) -> None:
        """The smallest sets whose removal turns a prediction of one fixed model over, with and without interactions.

        For game.kind=patches, components and value. Every removal is evaluated, and every order also as a deletion and
        an insertion curve, beside linear weights, occlusion, integrated gradients and chance. Nothing is trained.
        """
        run("flip", config, configuration(config, overrides), dry_run, as_json)
