"""The campaign's folder: whole files or none, one campaign a folder, one writer, nothing invented."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import CampaignBusy, CampaignMismatch, IncompleteCampaign, StoreError
from flows.storage.files import read_json, write_json
from flows.storage.mask_column import mask_column, packed_column
from flows.store import schemas
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from tests.flows.toy import ROOT, wait_until
from training.packed_masks import PackedMasks

N_PLAYERS, N_TARGETS = 11, 3  # 11 players do not fill their last byte
IDENTITY = {"campaign.seed": 0, "sampler.alpha": 0.5, "recipe.width": 8}
FACTS = {"name": "toy", "n_players": N_PLAYERS, "n_targets": N_TARGETS, "shard_size": 4}


@pytest.fixture
def campaign(tmp_path: Path) -> Campaign:
    made = Campaign(tmp_path / "campaign")
    made.create(IDENTITY, FACTS)
    return made


def mask_of(mask_id: int) -> np.ndarray:
    return np.random.default_rng(mask_id).random(N_PLAYERS) < 0.5


def output_of(mask_id: int, replicate: int) -> list[float]:
    return [mask_id % 1000 + target / 8 + replicate / 64 for target in range(N_TARGETS)]


def write_masks(campaign: Campaign, rows: RowRange) -> None:
    masks = np.stack([mask_of(mask_id) for mask_id in rows.mask_ids])
    columns = {
        "mask_id": list(rows.mask_ids),
        "replicate": pa.array([rows.replicate] * len(rows), pa.int32()),
        "role": [rows.role] * len(rows),
        "seed_group": list(rows.mask_ids),
        "mask": mask_column(masks),
    }
    campaign.write_masks(rows, pa.table(columns))


def outputs(rows: RowRange, bad: dict[int, str] | None = None) -> pa.Table:
    """Rows of the outputs table; `bad` maps mask ids to another status than ok."""
    bad = bad or {}
    fields = {name: None for name in schemas.outputs_schema(N_TARGETS).names}
    rows_ = [
        fields
        | {"mask_id": mask_id, "replicate": rows.replicate, "status": bad.get(mask_id, "ok"), "reason": ""}
        | {"outputs": None if mask_id in bad else output_of(mask_id, rows.replicate)}
        for mask_id in rows.mask_ids
    ]
    return pa.Table.from_pylist(rows_, schema=schemas.outputs_schema(N_TARGETS))


# --- whole files or none -----------------------------------------------------------------------------------------


def test_a_row_exists_when_its_fragment_does(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    assert campaign.trained() == []
    campaign.write_outputs(rows, outputs(rows))
    assert campaign.trained() == [rows]


def test_what_a_crash_leaves_half_written_is_ignored(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    campaign.write_outputs(rows, outputs(rows))
    half = campaign.folder / "outputs" / ".fit-r0-000000004-000000008.parquet.99-abc"
    half.write_bytes(b"PAR1 and no more")
    (half.parent / ".fit-r0-000000008-000000012.parquet").write_bytes(b"")
    assert campaign.trained() == [rows]
    assert campaign.read("outputs").num_rows == 4


def test_a_write_that_fails_leaves_neither_a_fragment_nor_a_temporary_file(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    with pytest.raises((ValueError, KeyError, pa.ArrowException)):
        campaign.write_outputs(rows, outputs(rows).select(["mask_id"]))
    assert list(campaign.folder.rglob("*fit*")) == []


def fill(folder: Path) -> int:
    """Write fragments until the store refuses; how many were written."""
    campaign = Campaign(folder)
    written = 0
    while written < 10_000:
        rows = RowRange("fit", 0, 4 * written, 4 * written + 4)
        campaign.write_outputs(rows, outputs(rows))
        written += 1
    return written


def test_on_a_full_disk_everything_before_is_kept_and_the_message_says_so(small_disk: Path) -> None:
    campaign = Campaign(small_disk / "campaign")
    campaign.create(IDENTITY, FACTS)
    clear = "the disk is full: .*Everything written before is kept.*free some space"
    with pytest.raises(StoreError, match=clear) as caught:
        fill(campaign.folder)
    assert len(str(caught.value).splitlines()) == 1
    kept = campaign.trained()
    assert kept and campaign.read("outputs").num_rows == 4 * len(kept)
    assert [path.name for path in (campaign.folder / "outputs").iterdir() if path.name.startswith(".")] == []
    # With room again, the same fragment is written.
    (small_disk / "ballast").unlink()
    rows = RowRange("fit", 0, kept[-1].last, kept[-1].last + 4)
    campaign.write_outputs(rows, outputs(rows))
    assert campaign.trained() == [*kept, rows]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 256 kB; skipped where none may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount: {mounted.stderr.strip()}")
    (place / "ballast").write_bytes(bytes(64 * 1024))
    try:
        yield place
    finally:
        # lazily: the error under test still holds the file that could not be finished
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="could not be written"), Campaign(place).lock():
            raise AssertionError("the lock cannot be held")
        with pytest.raises(StoreError, match="could not be written"):
            Campaign(place).create(IDENTITY, FACTS)


@pytest.mark.parametrize("size", [0, 1, 100, -1], ids=["empty", "one byte", "100 bytes", "one byte short"])
def test_a_truncated_fragment_is_one_error_that_names_the_file(campaign: Campaign, size: int) -> None:
    rows = RowRange("fit", 0, 0, 4)
    campaign.write_outputs(rows, outputs(rows))
    path = campaign.folder / "outputs" / f"{rows.name}.parquet"
    path.write_bytes(path.read_bytes()[:size])
    for read in (lambda: campaign.read("outputs"), lambda: campaign.training_pairs("fit")):
        with pytest.raises(StoreError, match=rows.name) as caught:
            read()
        assert len(str(caught.value).splitlines()) == 1


def test_a_fragment_of_another_shape_is_refused(campaign: Campaign) -> None:
    import pyarrow.parquet as pq

    path = campaign.folder / "outputs" / "fit-r0-000000000-000000004.parquet"
    path.parent.mkdir()
    pq.write_table(pa.table({"mask_id": [0, 1, 2, 3]}), path)
    with pytest.raises(StoreError, match=f"{path.name} .*columns"):
        campaign.read("outputs")


def test_a_file_without_checksums_is_refused(campaign: Campaign) -> None:
    import pyarrow.parquet as pq

    rows = RowRange("fit", 0, 0, 4)
    path = campaign.folder / "outputs" / f"{rows.name}.parquet"
    path.parent.mkdir()
    pq.write_table(outputs(rows).cast(campaign.schema("outputs")), path)
    with pytest.raises(StoreError, match=f"{path.name} .*carries no checksums.*audit CAMPAIGN --repair"):
        campaign.read("outputs")


def test_a_file_that_is_no_fragment_is_pointed_out(campaign: Campaign) -> None:
    (campaign.folder / "outputs").mkdir()
    (campaign.folder / "outputs" / "notes.parquet").write_bytes(b"")
    with pytest.raises(StoreError, match="notes.parquet is no fragment"):
        campaign.trained()


@pytest.mark.parametrize("content", ["", "{", '{"format": 99}', "[1]"])
def test_a_damaged_campaign_json_is_one_clear_error(campaign: Campaign, content: str) -> None:
    (campaign.folder / "campaign.json").write_text(content)
    with pytest.raises(StoreError, match="campaign.json"):
        Campaign(campaign.folder).n_players  # noqa: B018


# --- one campaign a folder ---------------------------------------------------------------------------------------


def test_another_campaigns_folder_is_refused_naming_what_differs(campaign: Campaign) -> None:
    before = (campaign.folder / "campaign.json").read_bytes()
    with pytest.raises(CampaignMismatch, match=r"recipe.width: the folder has 8, the configuration 16") as caught:
        campaign.create(IDENTITY | {"recipe.width": 16}, FACTS)
    assert "sampler.alpha" not in str(caught.value)
    assert (campaign.folder / "campaign.json").read_bytes() == before


def test_the_same_campaign_is_welcomed_and_written_once(campaign: Campaign) -> None:
    before = (campaign.folder / "campaign.json").stat().st_mtime_ns
    Campaign(campaign.folder).create(dict(reversed(IDENTITY.items())), FACTS)
    assert (campaign.folder / "campaign.json").stat().st_mtime_ns == before


def test_a_folder_with_other_peoples_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CampaignMismatch, match="thesis.tex"):
        Campaign(tmp_path).create(IDENTITY, FACTS)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_without_a_campaign_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(IncompleteCampaign, match="coterie plan"):
        Campaign(tmp_path).read("outputs")


def test_an_unknown_table_is_met_with_the_known_ones(campaign: Campaign) -> None:
    with pytest.raises(StoreError, match="'output'.*outputs.*interactions"):
        campaign.read("output")


# --- nothing invented --------------------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=9))
def test_masks_survive_packing(included: list[bool]) -> None:
    masks = np.array([included, [not one for one in included]])
    column = pa.chunked_array([mask_column(masks)])
    packed = packed_column(column, len(included))
    assert packed == PackedMasks.pack(masks) and (packed.unpack() == masks).all()
    # A slice of a column starts in the middle of its buffer.
    assert (packed_column(column.slice(1), len(included)).unpack() == masks[1:]).all()


def test_a_model_without_a_number_stays_without_one(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    campaign.write_outputs(rows, outputs(rows, {1: "diverged", 3: "failed"}))
    read = campaign.read("outputs")
    assert read.schema.equals(campaign.schema("outputs"))
    assert read["outputs"].is_null().to_pylist() == [False, True, False, True]
    assert read["outputs"].to_pylist() == [output_of(0, 0), None, output_of(2, 0), None]
    assert read["target_accuracy"].null_count == 4


def test_training_pairs_are_aligned_and_failures_are_left_out_and_counted(campaign: Campaign) -> None:
    for first in (8, 0, 4):  # written in another order than they are numbered
        rows = RowRange("fit", 0, first, first + 4)
        write_masks(campaign, rows)
        campaign.write_outputs(rows, outputs(rows, {5: "diverged", 8: "failed"}))
    pairs = campaign.training_pairs("fit")
    assert pairs.mask_ids.tolist() == [0, 1, 2, 3, 4, 6, 7, 9, 10, 11]
    assert pairs.n_left_out == 2
    assert (pairs.masks == np.stack([mask_of(mask_id) for mask_id in pairs.mask_ids])).all()
    assert pairs.outputs.tolist() == [output_of(mask_id, 0) for mask_id in pairs.mask_ids]
    masks, values, mask_ids = pairs
    assert masks.shape == (10, N_PLAYERS) and values.dtype == np.float32 and len(mask_ids) == 10


def test_training_pairs_read_chosen_targets_of_one_role_and_replicate(campaign: Campaign) -> None:
    for rows in (RowRange("fit", 0, 0, 4), *(RowRange("holdout", replicate, 0, 4) for replicate in (0, 1))):
        write_masks(campaign, rows)
        campaign.write_outputs(rows, outputs(rows))
    again = campaign.training_pairs("holdout", replicate=1, targets=[2, 0])
    wanted = RowRange("holdout", 1, 0, 4)
    assert again.mask_ids.tolist() == list(wanted.mask_ids)
    assert again.outputs.tolist() == [[output_of(i, 1)[2], output_of(i, 1)[0]] for i in wanted.mask_ids]


def test_a_role_that_has_no_models_says_what_to_run(campaign: Campaign) -> None:
    with pytest.raises(IncompleteCampaign, match="'holdout'.*coterie retrain"):
        campaign.training_pairs("holdout")


def test_outputs_without_planned_masks_are_not_paired_with_anything(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    campaign.write_outputs(rows, outputs(rows))
    with pytest.raises(IncompleteCampaign, match="4 masks .*coterie plan"):
        campaign.training_pairs("fit")


def test_a_failed_shard_is_listed_until_a_later_try_succeeds(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    campaign.write_outputs(rows, outputs(rows, dict.fromkeys(range(4), "failed")), failed=True)
    assert (campaign.trained(), campaign.failed()) == ([], [rows])
    assert campaign.read("outputs")["status"].to_pylist() == ["failed"] * 4
    campaign.write_outputs(rows, outputs(rows))
    assert (campaign.trained(), campaign.failed()) == ([rows], [])
    assert campaign.read("outputs")["status"].to_pylist() == ["ok"] * 4


def test_an_analysis_is_replaced_by_one_rename(campaign: Campaign) -> None:
    def tables(q_value: float) -> dict[str, pa.Table]:
        effects = {name: [0.0] for name in schemas.EFFECTS.names} | {"target": [1], "player": [2], "q_value": [q_value]}
        empty = {"interactions": schemas.INTERACTIONS, "faithfulness": schemas.FAITHFULNESS, "sets": schemas.SETS}
        return {"effects": pa.table(effects)} | {name: schema.empty_table() for name, schema in empty.items()}

    with pytest.raises(IncompleteCampaign, match="coterie attribute"):
        campaign.read("effects")
    campaign.publish_analysis("first", tables(0.25), {})
    campaign.publish_analysis("second", tables(0.5), {})
    assert campaign.analysis == {"key": "second"}
    assert campaign.read("effects")["q_value"].to_pylist() == [0.5]


def test_json_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "about.json"
    write_json(path, {"n": 1})
    with pytest.raises(TypeError):
        write_json(path, {"n": object()})
    assert read_json(path) == {"n": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["about.json"]


# --- one writer --------------------------------------------------------------------------------------------------

HOLD = """
import sys
from flows.store import Campaign
with Campaign(sys.argv[1]).lock():
    print("held", flush=True)
    input()
"""


def test_a_second_writer_is_refused_and_a_killed_one_lets_go(campaign: Campaign) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(campaign.folder)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            with pytest.raises(CampaignBusy, match=f"process {holder.pid}"), campaign.lock():
                raise AssertionError("two writers")
            os.kill(holder.pid, signal.SIGKILL)
            wait_until(lambda: holder.poll() is not None, "the killed writer")
        finally:
            holder.kill()
    with campaign.lock():
        pass
    with campaign.lock():  # and again, after an orderly release
        pass


def test_reading_needs_no_lock(campaign: Campaign) -> None:
    rows = RowRange("fit", 0, 0, 4)
    with campaign.lock():
        campaign.write_outputs(rows, outputs(rows))
        assert Campaign(campaign.folder).read("outputs").num_rows == 4
