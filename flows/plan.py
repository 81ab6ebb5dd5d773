"""Stage plan: draw the masks that a configuration asks for and that are not planned yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from logging import INFO, WARNING
from typing import Any

import numpy as np
import pyarrow as pa
from prefect import flow

from attribution.statistics.detectability import HOPELESS, smallest_detectable
from attribution.statistics.group_power import group_power
from conf.schema import CampaignConfig, identity_settings
from flows.games.base import Game, HasFindings
from flows.games.table import full_identity, make_game, refuse_without_audit, runs_unnamed_code
from flows.runtime.logs import stage_logger
from flows.runtime.wording import plural
from flows.storage.mask_column import mask_column
from flows.store.campaign import Campaign
from flows.store.configuration import keep_configuration
from flows.store.examples import INSPECTION, inspect_examples
from flows.store.roles import RowRange, count_rows, missing_shards
from flows.store.wanted import spex_design, wanted
from training import sample_masks
from training.data.inspection import KINDS, Finding, summarize
from training.masks import mask_alphas
from training.packed_masks import packed_width

SHOWN_OF_A_KIND = 5  # findings logged in full
GRAVE = ("leak", "two_labels", "no_audit", "small_audit", "class_missing")  # kinds logged as warnings
ENOUGH_TO_SEPARATE = 256  # masks; at alpha .05 some two of 50,000 players agree in all of them in 1 of 100 campaigns
FRAGMENT_BYTES = 2**24  # packed masks in one fragment: bounds the memory of planning and of reading
FEWER_PLAYERS = {
    "retraining": "; fewer players (dataset.n_train) or groups (dataset.group_by) help as well",
    "trainer": "; fewer rows of game.players or groups of them (game.group_by) help as well",
    "patches": "; fewer regions (game.regions) help as well",
    "components": "; fewer components (game.components, game.within) help as well",
}  # game.kind -> what to say where little can be seen
FEWER_GROUPS = "; fewer groups (players.count) help as well"


@dataclass(frozen=True)
class PlanSummary:
    """What the plan stage did.

    Attributes
    ----------
    new_masks : int
        Masks that were drawn.
    n_players : int
    n_targets : int
    smallest_detectable : float
        Smallest pair interaction detected, in standard deviations of a target's output.
    """

    new_masks: int
    n_players: int
    n_targets: int
    smallest_detectable: float


@flow(name="plan", flow_run_name="{config.name} plan", persist_result=False)
def plan(config: CampaignConfig) -> PlanSummary:
    """Create the campaign where there is none, and draw its missing masks.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    PlanSummary

    Raises
    ------
    CampaignMismatch
        If the folder belongs to another campaign.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    if runs_unnamed_code(config) and campaign.exists and not missing_shards(wanted(config), campaign.planned(), 1):
        campaign.check_identity(identity_settings(config))
        log.info("all masks are planned")
        smallest = announce_power(config, campaign.n_players, campaign.n_targets, log)
        return PlanSummary(0, campaign.n_players, campaign.n_targets, smallest)
    game = make_game(config)
    log.info(
        "data: %s, %s, %s, %s", game.name, plural(game.n_players, "player"), plural(game.n_targets, "target"),
        plural(game.n_audit, "audit example"),
    )  # fmt: skip
    if game.deterministic and config.campaign.n_replicates:
        log.info("%s is deterministic: replicates are equal. campaign.n_replicates=0 saves them", game.name)
    design = spex_design(config, game.n_players)
    if design is not None:
        log.info("%r: %d of the %d fit masks are a complete design", design, design.n_masks, config.campaign.n_fit)
    with campaign.lock():
        create(campaign, config, game)
        keep_configuration(campaign, config)
        if isinstance(game, HasFindings):
            announce_findings(*inspect_examples(campaign, game.findings), log)
        rows_at_once = max(1, FRAGMENT_BYTES // packed_width(game.n_players))
        missing = missing_shards(wanted(config), campaign.planned(), rows_at_once)
        for rows in missing:
            campaign.write_masks(rows, masks_table(config, rows, game.n_players))
    drawn, planned = count_rows(missing), count_rows(campaign.planned())
    log.info("%s drawn, %d planned before", plural(drawn, "mask"), planned - drawn)
    smallest = announce_power(config, game.n_players, game.n_targets, log, game.player_names)
    return PlanSummary(drawn, game.n_players, game.n_targets, smallest)


def create(campaign: Campaign, config: CampaignConfig, game: Game) -> None:
    """Make the folder this configuration's campaign, or check that it is.

    The examples are written before campaign.json, so that a folder with a campaign.json is complete.

    Parameters
    ----------
    campaign : Campaign
    config : CampaignConfig
    game : Game

    Raises
    ------
    CampaignMismatch
        For the folder of another campaign.
    """
    identity = full_identity(config, game)
    if campaign.exists:
        campaign.check_identity(identity)
        if not (campaign.folder / "examples.parquet").is_file():  # set aside by a repair
            campaign.write_examples(game.examples())
        return
    refuse_without_audit(config, game)
    examples = game.examples()
    campaign.write_examples(examples)
    campaign.create(
        identity,
        {
            "name": config.name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "n_players": game.n_players,
            "n_train": examples["split"].to_pylist().count("train"),
            "n_targets": game.n_targets,
            "n_audit": game.n_audit,
            "class_names": list(game.class_names),
            "player_names": list(game.player_names),
            "alpha": config.sampler.alpha,
            **({"alphas": list(config.sampler.alphas)} if config.sampler.other_alphas else {}),
            "sampler": config.sampler.kind,
            "output": getattr(game, "output", config.recipe.output),
            "shard_size": config.campaign.shard_size,
            **getattr(game, "facts", {}),
            **_typical(game),
        },
    )


def _typical(game: Game) -> dict[str, Any]:
    """The training example that shows each group best, where groups were found."""
    rows = getattr(getattr(game, "dataset", None), "typical", None)
    return {} if rows is None else {"typical": [int(row) for row in rows]}


def masks_table(config: CampaignConfig, rows: RowRange, n_players: int) -> pa.Table:
    """Draw rows of the masks table, from the campaign's seed and the mask ids alone.

    Parameters
    ----------
    config : CampaignConfig
    rows : RowRange
    n_players : int

    Returns
    -------
    pyarrow.Table
        One row a mask; a column "alpha" only where the campaign has several.
    """
    ids = np.arange(rows.mask_ids.start, rows.mask_ids.stop, dtype=np.int64)
    several = bool(config.sampler.other_alphas)
    alpha = config.sampler.alphas if several else config.sampler.alpha
    design = spex_design(config, n_players) if rows.role == "fit" else None
    if design is not None:
        masks = design.masks(ids)
    else:
        sampler = "bernoulli" if config.sampler.kind == "spex" else config.sampler.kind  # held-out masks are uniform
        masks = sample_masks(n_players, alpha=alpha, seed=config.campaign.seed, sampler=sampler, ids=ids)
    return pa.table(
        {
            "mask_id": ids,
            "replicate": np.full(len(ids), rows.replicate, np.int32),
            "role": pa.array([rows.role] * len(ids)),
            "seed_group": ids,  # every mask is its own seed group
            "mask": mask_column(masks),
            **({"alpha": mask_alphas(ids, config.sampler.alphas)} if several else {}),
        }
    )


def announce_findings(findings: tuple[Finding, ...], new: bool, log: Any) -> None:
    """Log what is wrong with the data, the gravest first: all of it when it is new, else the counts.

    Parameters
    ----------
    findings : tuple of Finding
    new : bool
        Whether to log the findings one by one.
    log : logger
    """
    if not findings:
        log.info("data inspected: no duplicates, leaks or contradicting labels found")
        return
    log.info("data inspected: %s (all in %s)", summarize(findings), INSPECTION)
    for kind in KINDS if new else ():
        found = [finding for finding in findings if finding.kind == kind]
        for finding in found[:SHOWN_OF_A_KIND]:
            log.log(WARNING if kind in GRAVE else INFO, "%s", finding.sentence)
        if len(found) > SHOWN_OF_A_KIND:
            log.info("and %d more of this kind", len(found) - SHOWN_OF_A_KIND)


def never_separated(config: CampaignConfig, n_players: int) -> list[tuple[int, int]]:
    """Find players that every fit mask includes or leaves out together, so that their effects are not identified.

    Parameters
    ----------
    config : CampaignConfig
    n_players : int

    Returns
    -------
    list of (int, int)
        Each such player with the first one of its kind.
    """
    n_masks = min(config.campaign.n_fit, ENOUGH_TO_SEPARATE)
    masks = sample_masks(
        n_players, n_masks, alpha=config.sampler.alpha, seed=config.campaign.seed, sampler=config.sampler.kind
    )
    first: dict[bytes, int] = {}
    found = []
    for player, column in enumerate(np.packbits(masks, axis=0).T):
        other = first.setdefault(column.tobytes(), player)
        if other != player:
            found.append((other, player))
    return found


def announce_power(
    config: CampaignConfig, n_players: int, n_targets: int, log: Any, names: Sequence[str] = ()
) -> float:
    """Log the smallest pair interaction that a campaign of this size detects, and warn when few effects are as large.

    Parameters
    ----------
    config : CampaignConfig
    n_players : int
    n_targets : int
        Used where attribution.n_targets is not set.
    log : logger
    names : sequence of str
        Of the players; their numbers stand in messages without them.

    Returns
    -------
    float
        The interaction, in standard deviations of a target's output.
    """
    n_explained = config.attribution.n_targets or n_targets
    smallest = smallest_detectable(config.campaign.n_fit, config.sampler.alphas, n_players, n_explained)
    each = config.campaign.n_fit / n_players
    text = (
        f"{config.campaign.n_fit:,} fit masks for {n_players:,} players "
        f"({each:{'.1f' if each >= 0.1 else '.1g'}} each): "
        f"the smallest detectable pair interaction is {smallest:.2f} standard deviations of a target's output"
    )
    if smallest > HOPELESS:
        enough = int(np.ceil(config.campaign.n_fit * (smallest / HOPELESS) ** 2))
        fewer = FEWER_PLAYERS.get(config.game.kind, "") if config.players.count is None else FEWER_GROUPS
        log.warning(
            "%s. Few interactions of real campaigns were that large: expect to see few or none. "
            "About %d fit masks (campaign.n_fit) would detect %.2f%s",
            text, enough, HOPELESS, fewer,
        )
    else:
        log.info(text)
    if config.players.by is not None:
        together = never_separated(config, n_players)
        if together:
            log.warning(
                "%s in the same fit masks as another throughout: no mask separates %s from %s, so that neither has an "
                "effect of its own. Raise campaign.n_fit",
                "1 player is" if len(together) == 1 else f"{len(together)} players are",
                *(repr(names[player]) if names else f"player {player}" for player in reversed(together[0])),
            )  # fmt: skip
        seen = group_power(n_players, config.campaign.n_fit, config.sampler.alpha, explained=0.5)
        log.info(
            "a group's main effect is detected from %.3f output standard deviations; where groups explain half of an "
            "output's variance the typical one has %.3f. `coterie plan … --estimate --core-hours H` recommends their "
            "number", seen.seen, seen.typical,
        )  # fmt: skip
    return smallest
