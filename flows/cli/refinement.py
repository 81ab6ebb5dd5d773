"""The command that opens groups: `coterie refine`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from conf.schema import CampaignConfig
from flows.cli.arguments import DryRun, Name, Overrides
from flows.cli.configuration import configuration

Run = Callable[[str, CampaignConfig, bool], None]


def register(app: typer.Typer, run: Run) -> None:
    """Add the command to `app`; run starts a stage's flow."""

    @app.command()
    def refine(
        campaign: Name,
        overrides: Overrides = None,
        groups: Annotated[
            str | None, typer.Option(help="Groups to open, e.g. truck-03,cat-11; chosen by evidence when left out.")
        ] = None,
        to: Annotated[
            str | None, typer.Option(help="Folder of the new campaign; beside the parent's when left out.")
        ] = None,
        dry_run: DryRun = False,
    ) -> None:
        """Open groups of a campaign: their pictures become players of a campaign inside it.

        Opens the groups with the largest harm, with the most near-duplicates and in certified sets (refine.by,
        refine.top), as many as refine.max_models pays for. All other groups stay players, so that their effects are
        accounted for. The new campaign is one like any other: run, audit, top-up and refine take its folder.
        """
        from flows.refine import analysed_alike

        chosen = analysed_alike(configuration(campaign, overrides), overrides or ())
        if groups is not None:
            named = tuple(part.strip() for part in groups.split(",") if part.strip())
            chosen = chosen.model_copy(update={"refine": chosen.refine.model_copy(update={"groups": named})})
        open_groups(chosen, to, dry_run, run)


def open_groups(config: CampaignConfig, to: str | None, dry_run: bool, run: Run) -> None:
    """Choose groups, print what is opened and what it costs, and run the campaign inside them.

    Parameters
    ----------
    config : CampaignConfig
        Of the parent.
    to : str or None
        Folder of the child.
    dry_run : bool
        Only print.
    run : callable
        Runs a stage of a configuration.
    """
    from flows.games.table import games_kept
    from flows.refine import child_config, child_folder, make_child
    from flows.refinement.choose import choose_groups
    from flows.store.campaign import Campaign

    parent = Campaign(config.campaign.folder)
    opening = choose_groups(config, parent)
    folder = to or child_folder(config, opening)
    for name, reason in zip(opening.groups, opening.reasons, strict=True):
        print(f"open {name}: {reason}")
    for note in opening.notes:
        print(f"note: {note}")
    print(
        f"{opening.n_images} pictures of {len(opening.groups)} groups become players beside "
        f"{opening.n_players - opening.n_images} closed groups: {opening.n_fit} fit masks, {opening.n_models} models, "
        f"in {folder}"
    )
    if dry_run:
        return
    child = child_config(config, opening, folder)
    with games_kept():
        make_child(config, parent, child, opening)
        run("campaign", child, False)
