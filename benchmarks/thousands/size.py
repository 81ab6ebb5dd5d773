"""A campaign's start at tens of thousands of pictures: 4,900 shifted and mirrored (for size only), and a stub engine.

Called by `figures.py start N FOLDER SOURCE`. `figures.py train N MODELS SOURCE` trains real models in one process as a
worker does, for its time and memory.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from attribution.analysis.target_ids import MEAN_OF_ALL
from conf.compose import compose
from flows.cli.status import print_status
from flows.games.table import games_kept, make_game
from flows.plan import masks_table, plan
from flows.report import report
from flows.store.campaign import ANALYSIS_TABLES, Campaign
from flows.store.faithfulness import Score, TargetScores, faithfulness_table
from flows.store.outputs_table import outputs_table
from flows.store.roles import RowRange, missing_shards
from flows.store.wanted import missing_models
from training import RECIPES, retrain, sample_masks
from training.data.dataset import Dataset, ImageSet, RawImages, SourceOptions, text_array
from training.data.parquet_source import read_parquet_folder

N_MODELS, N_GROUPS = 64, 2000
DRY_SHARD = 256
SHIFTS = [(rows, columns, mirrored) for mirrored in (False, True) for rows in (0, 2, -2) for columns in (0, 2, -2)]


def pictures(options: SourceOptions) -> RawImages:
    """Read Parquet pictures and fill up with shifted and mirrored ones to ten times as many."""
    raw = read_parquet_folder(options)
    parts = []
    for rows, columns, mirrored in SHIFTS[:10]:
        moved = np.roll(raw.train.images, (rows, columns), axis=(1, 2))
        parts.append(moved[:, :, ::-1] if mirrored else moved)
    images = np.ascontiguousarray(np.concatenate(parts))
    n = len(images)
    names = text_array(f"picture-{at}" for at in range(n))
    train = ImageSet(images, np.tile(raw.train.labels, 10), np.arange(n), names)
    return replace(raw, train=train)


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print what a step took: wall time, processor time of this process, and its peak memory so far."""
    began, used = time.perf_counter(), time.process_time()
    yield
    wall, own = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"| {name} | {wall:.1f} | {own:.1f} | {peak:.2f} |", flush=True)


def run_start(n_images: int, folder: str, source: str) -> None:
    """Plan, 64 rows of outputs, an analysis of stub numbers, status and report."""
    config = compose(
        "cifar10",
        [
            "dataset=cifar10_parquet", "dataset.source=benchmarks.thousands.size:pictures", f"dataset.path={source}",
            f"dataset.n_train={n_images}", "dataset.n_targets=500", "dataset.image_size=16", "recipe=small16",
            "compute=local", "players.by=random", f"players.count={N_GROUPS}", f"campaign.folder={folder}",
            f"campaign.n_fit={N_MODELS}", "campaign.n_holdout=0", "campaign.shard_size=16",
        ],
    )  # fmt: skip
    print("| step | seconds | of a core | peak memory GB |\n|---|---|---|---|")
    with games_kept():
        with step(f"read {n_images:,} pictures and find {N_GROUPS:,} groups"):
            make_game(config)
        with step("plan (inspection of all pictures included)"):
            plan.fn(config)
    campaign = Campaign(folder)
    with step(f"{N_MODELS} models of a stub"):
        generator = np.random.default_rng(0)
        for rows in missing_models(config, campaign):
            m, share = len(rows), np.full(len(rows), 0.5)
            columns = {
                "status": ["ok"] * m, "outputs": generator.normal(size=(m, 500)).astype(np.float32), "mode": "stub",
                "train_accuracy": share, "target_accuracy": share, "audit_accuracy": share, "device": "cpu",
                "train_seconds": np.full(m, 0.01), "ensemble_size": 16, "host": "here",
            }  # fmt: skip
            campaign.write_outputs(rows, outputs_table(campaign, rows, columns))
    publish_stub(campaign)
    with step("status"):
        print_status(folder, [])
    with step("report"):
        report.fn(config)
    print(f"the report has {(Path(folder) / 'report.html').stat().st_size / 2**20:.1f} MB")


def run_training(n_images: int, n_models: int, source: str) -> None:
    """Train models on half of 2,000 groups of the pictures, as a worker of the campaign does."""
    print("| step | seconds | of a core | peak memory GB |\n|---|---|---|---|")
    with step(f"read {n_images:,} pictures"):
        raw = pictures(SourceOptions(path=Path(source), image_size=16))
        players = np.random.default_rng(0).permutation(n_images) % N_GROUPS
        train, targets = raw.train.take(np.arange(n_images)), raw.test.take(np.arange(500))
        names = tuple(map(str, range(N_GROUPS)))
        dataset = Dataset("many", raw.class_names, train, targets, raw.test.take(np.arange(500, 1000)), players, names)
    masks = sample_masks(N_GROUPS, n_models, alpha=0.5, seed=0)
    with step(f"{n_models} models, native, accuracy on everything included"):
        seeds, recipe = list(range(n_models)), RECIPES["small16"]
        found = retrain(dataset, masks, seeds, recipe, ensemble_size=n_models, mode="native")
    print(f"accuracy on 500 targets {found.target_accuracy.mean():.3f}")


def run_dry(n_players: int, n_masks: int, n_targets: int, folder: str) -> None:
    """Plan masks of many players and write a stub's outputs of many targets, shard by shard, as the driver does."""
    print("| step | seconds | of a core | peak memory GB |\n|---|---|---|---|")
    config = compose("quickstart", [f"campaign.n_fit={n_masks}", "campaign.n_holdout=0", f"campaign.folder={folder}"])
    campaign = Campaign(folder)
    about = {"name": "dry", "n_players": n_players, "n_targets": n_targets, "shard_size": DRY_SHARD}
    campaign.create({"simulated": True}, about)
    everything = [RowRange("fit", 0, 0, n_masks)]
    with step(f"draw and write {n_masks:,} masks of {n_players:,} players"):
        for rows in missing_shards(everything, [], 2**24 // ((n_players + 7) // 8)):
            campaign.write_masks(rows, masks_table(config, rows, n_players))
    generator, shards = np.random.default_rng(0), missing_shards(everything, [], DRY_SHARD)
    with step(f"read masks for {len(shards)} shards"):
        for rows in shards:
            campaign.masks(rows)
    outputs = generator.standard_normal((DRY_SHARD, n_targets), np.float32)  # of every shard: the stub
    with step(f"write {n_masks:,} outputs of {n_targets:,} targets"):
        for rows in shards:
            m, share = len(rows), np.full(len(rows), 0.5)
            columns = {
                "status": ["ok"] * m, "outputs": outputs[:m], "mode": "stub", "train_accuracy": share,
                "target_accuracy": share, "audit_accuracy": share, "device": "cpu",
                "train_seconds": np.full(m, 0.01), "ensemble_size": 16, "host": "here",
            }  # fmt: skip
            campaign.write_outputs(rows, outputs_table(campaign, rows, columns))
    with step("list what is missing"):
        assert not missing_shards(everything, campaign.trained(), DRY_SHARD)
    for table in ("masks", "outputs"):
        size = sum(path.stat().st_size for path in campaign.fragment_paths(table))
        print(f"{table}: {size / 1e6:.0f} MB, {size / n_masks:,.0f} bytes a mask")


def publish_stub(campaign: Campaign) -> None:
    """An analysis without findings: effects of every group on the mean, and one target's scores."""
    n = campaign.n_players
    value = np.random.default_rng(1).normal(size=n)
    effects = {
        "target": np.zeros(n), "player": np.arange(n), "effect": value, "shrunken": value, "stderr": np.ones(n),
        "p_value": np.ones(n), "q_value": np.ones(n),
    }  # fmt: skip
    tables = {name: schema.empty_table() for name, schema in ANALYSIS_TABLES.items()}
    both = [{**effects, "target": np.full(n, target)} for target in (0, MEAN_OF_ALL)]
    tables["effects"] = pa.concat_tables([pa.table(one).cast(ANALYSIS_TABLES["effects"]) for one in both])
    half, names = Score(0.5, 0.5, 0.5), ("datamodel", "proxy", "spectrum")
    scores = {
        ("none", "noise_ceiling"): half,
        **{(name, metric): half for name in names for metric in ("r2", "lds")},
        ("none", "output_sd"): Score(1.0),
        ("spectrum", "n_interactions"): Score(0.0),
        ("spectrum", "gate_p"): Score(0.5),
        ("spectrum", "gate_q"): Score(0.5),
        ("spectrum", "gate_open"): Score(0.0),
    }
    tables["faithfulness"] = faithfulness_table([TargetScores(target, scores) for target in (0, MEAN_OF_ALL)])
    campaign.publish_analysis("stub", tables, {"created": "2026-01-01T00:00:00+00:00", "n_open": 0, "n_explained": 1})
