"""Stage attribute: from masks and outputs to effects, interactions and faithfulness, block of targets by block."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
from prefect import flow

from attribution.analysis.block_tables import BlockAnalysis, assign_q_values
from attribution.analysis.pooled_table import pool_sets
from attribution.errors import AttributionError
from conf.schema import AttributionConfig, CampaignConfig
from flows.compute.ray_cluster import session
from flows.compute.streaming_map import Resources
from flows.compute.target_blocks import TargetBlocks
from flows.compute.work import analyse_block
from flows.errors import IncompleteCampaign
from flows.reporting.prefect_artifacts import publish_faithfulness
from flows.runtime.logs import stage_logger
from flows.runtime.progress import Progress
from flows.runtime.wording import plural
from flows.store.campaign import ANALYSIS_TABLES, Campaign, digest
from flows.store.wanted import analysis_key


@dataclass(frozen=True)
class AttributeSummary:
    """What the attribute stage found.

    Attributes
    ----------
    n_targets : int
        Targets that were explained, pooled ones included.
    n_open : int
        Of these, targets with an open gate.
    n_interactions : int
        Rows of the table of interactions.
    """

    n_targets: int
    n_open: int
    n_interactions: int


@flow(name="attribute", flow_run_name="{config.name} attribute", persist_result=False)
def attribute(config: CampaignConfig) -> AttributeSummary:
    """Explain the targets of highest variance; a no-op when nothing it depends on has changed.

    Parameters
    ----------
    config : CampaignConfig

    Returns
    -------
    AttributeSummary

    Raises
    ------
    IncompleteCampaign
        If a block of targets could not be analysed.
    """
    log = stage_logger()
    campaign = Campaign(config.campaign.folder)
    key = analysis_key(config, campaign)
    current = campaign.analysis
    if current is not None and current["key"] == key:
        log.info("the analysis is up to date")
        return AttributeSummary(current["n_explained"], current["n_open"], current["n_interactions"])
    began = time.monotonic()
    with campaign.lock():
        data = TargetBlocks(campaign, config)
        log.info(
            "explaining %s (%d of them pooled) from %s%s",
            plural(data.n_targets, "target"), len(data.pooled_ids), plural(len(data.fit_ids), "fit mask"),
            f"; {plural(data.n_left_out, 'row')} without a number left out" if data.n_left_out else "",
        )
        if data.left_out_by:
            log.warning(
                "which models have no number depends on the players: among the masks that are left, %s. Effects of "
                "such players, and interactions among them, describe these masks only", data.left_out_by,
            )  # fmt: skip
        blocks = _analyse(config, data)
        blocks = assign_q_values(blocks, method=config.attribution.fdr_method)
        tables = _tables(blocks) | {"sets": _sets(blocks, config, data)}
        n_open = sum(int(block.scores["spectrum", "gate_open"].value.sum()) for block in blocks)
        about = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - began, 1),
            "settings": config.attribution.model_dump(mode="json"),
            "snapshot_hash": digest(campaign.snapshot()),
            "n_fit": len(data.fit_ids),
            "n_holdout": len(data.holdout_ids),
            "n_left_out": data.n_left_out,
            "left_out_by": data.left_out_by,
            "n_explained": data.n_targets,
            "n_open": n_open,
            "n_interactions": tables["interactions"].num_rows,
            "n_sets": int((tables["sets"]["specific_q_value"].to_numpy() <= config.attribution.fdr_level).sum()),
            "fdr_method": config.attribution.fdr_method,
            "fixed_size": any(block.fixed_size for block in blocks),
            "family_size": sum(_sets_considered(block) for block in blocks),
            "n_untestable": blocks[0].n_untestable,
        }
        campaign.publish_analysis(key, tables, about)
    log.info(
        "%d of %s with interactions; %s reported, %d found over all targets together; %.0f s",
        about["n_open"], plural(about["n_explained"], "target"), plural(about["n_interactions"], "member set"),
        about["n_sets"], about["seconds"],
    )
    if about["n_untestable"]:
        log.warning(
            "%s cannot be tested on any target: some combination of their members is in too few masks "
            "(docs/concepts/rare-cells.md)", plural(about["n_untestable"], "set"),
        )  # fmt: skip
    publish_faithfulness(campaign)
    return AttributeSummary(about["n_explained"], about["n_open"], about["n_interactions"])


def resources(settings: AttributionConfig) -> Resources:
    """Choose what one block of targets asks of Ray: a core, and part of a GPU where the large products run on one.

    Parameters
    ----------
    settings : AttributionConfig

    Returns
    -------
    Resources
        No GPU unless the device is "cuda".
    """
    return Resources(gpus=settings.gpus_per_block if settings.device == "cuda" else 0.0)


def _analyse(config: CampaignConfig, data: TargetBlocks) -> list[BlockAnalysis]:
    done: dict[int, BlockAnalysis] = {}
    try:
        job = data.job(config)
    except AttributionError as error:  # what every block would refuse, before Ray starts
        raise IncompleteCampaign(f"the outputs could not be analysed: {error}") from error
    with session(config.compute.ray_address, config.compute.workers) as cluster:
        cluster.start()
        with Progress(data.n_targets, "targets") as progress:
            wanted = resources(config.attribution)
            for outcome in cluster.map(analyse_block, job, data, wanted, on_start=progress.show):
                if outcome.error is not None:
                    raise IncompleteCampaign(f"a block of targets could not be analysed: {outcome.error}")
                done[outcome.index] = outcome.value
                progress.advance(len(outcome.value.targets))
    return [done[index] for index in sorted(done)]


def _tables(blocks: list[BlockAnalysis]) -> dict[str, pa.Table]:
    """The tables that blocks of targets make, rows of all blocks in one."""
    return {
        name: pa.concat_tables(pa.table(getattr(block, name), schema=schema) for block in blocks)
        for name, schema in ANALYSIS_TABLES.items()
        if name != "sets"  # made of all blocks together
    }


def _sets(blocks: list[BlockAnalysis], config: CampaignConfig, data: TargetBlocks) -> pa.Table:
    """The table of member sets tested over all targets together."""
    columns = pool_sets(
        blocks,
        data.fit_masks,
        alpha=data.campaign.alphas_of(data.fit_ids),
        groups=data.groups,
        method=config.attribution.fdr_method,
    )
    return pa.table(columns, schema=ANALYSIS_TABLES["sets"])


def _sets_considered(block: BlockAnalysis) -> int:
    """(set, target) combinations of two or more members that a block looked at."""
    return sum(block.z_histograms.n_tests(stratum) for stratum in block.z_histograms.counts if stratum.order > 1)
