"""Compacted outputs hold what the fragments hold, are written once, and are never believed when they are stale."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from flows.compute.target_blocks import TargetBlocks
from flows.errors import StoreError
from flows.store import compaction
from flows.store.campaign import Campaign
from flows.store.compaction import compact, read_target
from tests.flows.small_campaign import small_config, train_missing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compaction") / "campaign"
    train_missing(small_config(folder))
    return folder


@pytest.fixture
def campaign(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Campaign:
    monkeypatch.setattr(compaction, "ROWS_PER_FILE", 16)
    return Campaign(shutil.copytree(finished, tmp_path / "campaign"))


def test_every_target_reads_the_same_with_and_without_compaction(campaign: Campaign) -> None:
    pairs = campaign.training_pairs()
    before = [read_target(campaign, target) for target in range(campaign.n_targets)]
    assert compact(campaign).written == 2 + 1 + 1
    for target, (ids, outputs) in enumerate(before):
        for found_ids, found in ((ids, outputs), read_target(campaign, target)):
            np.testing.assert_array_equal(found_ids, pairs.mask_ids)
            np.testing.assert_array_equal(found, pairs.outputs[:, target])


def test_compaction_is_incremental(campaign: Campaign) -> None:
    compact(campaign)
    assert compact(campaign) == compaction.CompactionSummary(written=0, current=4)
    more = train_missing(small_config(campaign.folder, "campaign.n_fit=36"))
    assert compact(more) == compaction.CompactionSummary(written=2, current=3)
    np.testing.assert_array_equal(read_target(more, 3)[1], more.training_pairs().outputs[:, 3])


@pytest.mark.parametrize("files", ["current", "partly stale"])
def test_the_attribute_stage_reads_the_same_blocks_from_compacted_files(
    campaign: Campaign, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "FEW", 1.0)  # the small campaign has one row group
    config = small_config(campaign.folder)
    before = list(TargetBlocks(campaign, config))
    compact(campaign)
    if files == "partly stale":
        campaign = train_missing(small_config(campaign.folder, "campaign.n_fit=36"))
        before = list(TargetBlocks(campaign, config))
    reads: list[str] = []
    whole = Campaign.read_outputs
    monkeypatch.setattr(Campaign, "read_outputs", lambda self, path: reads.append(path.name) or whole(self, path))
    data = TargetBlocks(campaign, config)
    looked_at = len(reads)
    for block, found in zip(before, data, strict=True):
        for name in ("target_ids", "target_classes", "fit_outputs", "holdout_outputs", "replicate_outputs"):
            np.testing.assert_array_equal(getattr(block, name), getattr(found, name))
    # The first pass reads every fragment once and checks it; after it, only those whose copy is not current.
    assert len(set(reads[:looked_at])) == looked_at == len(campaign.fragment_paths("outputs"))
    assert bool(reads[looked_at:]) == (files == "partly stale")


@pytest.mark.parametrize("damage", ["stale", "truncated"])
def test_a_stale_or_damaged_copy_is_not_believed(campaign: Campaign, damage: str) -> None:
    compact(campaign)
    if damage == "truncated":
        for path in (campaign.folder / "compact").glob("*.parquet"):
            path.write_bytes(path.read_bytes()[:200])
    else:
        campaign.fragment_paths("outputs")[0].unlink()
    np.testing.assert_array_equal(read_target(campaign, 0)[1], campaign.training_pairs().outputs[:, 0])
    assert compact(campaign).written == (4 if damage == "truncated" else 1)


def test_a_target_that_does_not_exist_is_refused(campaign: Campaign) -> None:
    with pytest.raises(StoreError, match=r"target must lie in \[0, 6\); got 6"):
        read_target(campaign, 6)
