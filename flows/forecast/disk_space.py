"""How many bytes a campaign will take: fragments of its own shapes, filled with noise, written by the real writer.

Nothing here repeats what a Parquet file weighs: sample fragments of two lengths give the bytes of a file and of a row,
so a change of schema, compression or checksums changes the forecast with it. Trained outputs and packed masks hardly
compress, which is why noise stands in for them.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from conf.schema import CampaignConfig
from flows.storage.files import write_table
from flows.store import schemas
from flows.store.roles import missing_shards
from flows.store.wanted import wanted
from training import Dataset

IDENTITY = "0" * 64
# What campaigns wrote: 21 and 11 member sets for every target explained (quickstart, cifar2), and a report of 250 and
# 190 KB for a dozen targets.
SETS_PER_TARGET = 20
SCORES_PER_TARGET = 12  # two of each estimator, six of the target and its gate (attribution/analysis/scores.py)
REPORT_BYTES_PER_TARGET = 20_000
IMAGES_WEIGHED = 500


@dataclass(frozen=True)
class DiskSpace:
    """Bytes of the whole campaign as configured.

    Attributes
    ----------
    by_table : dict of str to int
        Bytes by table.
    per_model : float
        Bytes of masks and outputs, for one model more.
    """

    by_table: dict[str, int]
    per_model: float

    @property
    def total(self) -> int:
        """Bytes of all tables together.

        Returns
        -------
        int
        """
        return sum(self.by_table.values())


@dataclass(frozen=True)
class _Weight:
    """Bytes of a fragment: of the file, and of each row."""

    file: float
    row: float

    def of(self, n_rows: int, n_files: int = 1) -> int:
        return round(self.file * n_files + self.row * n_rows)


def disk_space(config: CampaignConfig, dataset: Dataset) -> DiskSpace:
    """Forecast the bytes of the campaign's folder; writes a few small files to a temporary folder.

    Parameters
    ----------
    config : CampaignConfig
    dataset : Dataset

    Returns
    -------
    DiskSpace
    """
    ranges = wanted(config)
    n_models = sum(map(len, ranges))
    shards = missing_shards(ranges, [], config.campaign.shard_size)
    n_explained = min(config.attribution.n_targets or len(dataset.targets), len(dataset.targets))
    if config.attribution.pooled_targets:
        n_explained += 1 + len(dataset.class_names)
    with tempfile.TemporaryDirectory(prefix="coterie-weigh-") as folder:
        scale = _Scale(Path(folder))
        masks = scale.weigh(schemas.masks_schema(dataset.n_players), 512)
        outputs = scale.weigh(schemas.outputs_schema(len(dataset.targets)), min(config.campaign.shard_size, 256))
        effects = scale.weigh(schemas.EFFECTS, 4096)
        interactions = scale.weigh(schemas.INTERACTIONS, 512)
        faithfulness = scale.weigh(schemas.FAITHFULNESS, 64)
        examples = _examples_bytes(scale, dataset)
    tables = {
        "masks": masks.of(n_models, len(ranges)),
        "outputs": outputs.of(n_models, len(shards)),
        "examples": examples,
        "effects": effects.of(n_explained * dataset.n_players),
        "interactions": interactions.of(n_explained * SETS_PER_TARGET),
        "faithfulness": faithfulness.of(n_explained * SCORES_PER_TARGET),
        "report": REPORT_BYTES_PER_TARGET * min(config.report.n_targets, n_explained),
    }
    return DiskSpace(tables, masks.row + outputs.row + outputs.file / config.campaign.shard_size)


class _Scale:
    """Writes samples and weighs them."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._rng = folder, np.random.default_rng(0)

    def weigh(self, schema: pa.Schema, n_rows: int) -> _Weight:
        """Bytes of a file of this table and of one row, from files of n_rows and of half of that."""
        few = max(1, n_rows // 2)
        light, heavy = (self.size(self.sample(schema, count)) for count in (few, max(n_rows, few + 1)))
        row = max(0.0, (heavy - light) / (max(n_rows, few + 1) - few))
        return _Weight(max(0.0, light - few * row), row)

    def size(self, table: pa.Table) -> int:
        path = self._folder / "sample.parquet"
        write_table(path, table, identity=IDENTITY)
        return path.stat().st_size

    def sample(self, schema: pa.Schema, n_rows: int) -> pa.Table:
        return pa.table([self._column(field, n_rows) for field in schema], schema=schema)

    def _column(self, field: pa.Field, n_rows: int) -> pa.Array:
        kind = field.type
        if field.name in CONSTANT and not pa.types.is_list(kind):
            return pa.array(np.zeros(n_rows), kind)
        if pa.types.is_floating(kind):
            return self._numbers(n_rows, kind)
        if pa.types.is_fixed_size_list(kind):
            return pa.FixedSizeListArray.from_arrays(self._numbers(n_rows * kind.list_size, kind.value_type), type=kind)
        if pa.types.is_list(kind):  # members of a set, and their effects: pairs
            values = self._numbers(2 * n_rows, kind.value_type)
            return pa.ListArray.from_arrays(pa.array(np.arange(0, 2 * n_rows + 1, 2), pa.int32()), values, type=kind)
        if pa.types.is_fixed_size_binary(kind):
            packed = pa.py_buffer(self._rng.bytes(n_rows * kind.byte_width))
            return pa.FixedSizeBinaryArray.from_buffers(kind, n_rows, [None, packed])
        if pa.types.is_integer(kind):
            return pa.array(np.arange(n_rows) % 100 if kind != pa.int64() else np.arange(n_rows), kind)
        if pa.types.is_boolean(kind):
            return pa.array(np.arange(n_rows) % 2 == 0)
        return pa.array(["a word or two"] * n_rows, kind)

    def _numbers(self, count: int, kind: Any) -> pa.Array:
        if pa.types.is_integer(kind):
            return pa.array(self._rng.integers(200, size=count), kind)
        if pa.types.is_string(kind):
            return pa.array(["a word"] * count, kind)
        return pa.array(self._rng.standard_normal(count), kind)


# Columns that hold one value over long stretches, or few different ones.
CONSTANT = frozenset({"replicate", "shard", "members", "order", "train_seconds", "target_class", "q_value"})


def _examples_bytes(scale: _Scale, dataset: Dataset) -> int:
    """The examples table: weighed whole where it is small, else by some of its images."""
    from flows.store.examples import examples_table

    counts = [len(part) for part in (dataset.train, dataset.targets, dataset.audit)]
    if sum(counts) <= 2 * IMAGES_WEIGHED:
        return scale.size(examples_table(dataset))
    few = min(IMAGES_WEIGHED, counts[0])
    shown = _first(dataset, few)
    return round(scale.size(examples_table(shown)) * sum(counts) / few)


def _first(dataset: Dataset, count: int) -> Dataset:
    """The first training images alone."""
    from dataclasses import replace

    train = dataset.train.take(np.arange(count))
    return replace(
        dataset,
        train=train,
        targets=train.take(np.arange(0)),
        audit=train.take(np.arange(0)),
        players=np.arange(count),
        player_names=tuple(train.names),
    )


def as_bytes(count: float) -> str:
    """Write a number of bytes as people read it.

    Parameters
    ----------
    count : float
        Bytes.

    Returns
    -------
    str
        In B, KB, MB, GB or TB, each 1,000 of the one before.
    """
    for unit in ("B", "KB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
