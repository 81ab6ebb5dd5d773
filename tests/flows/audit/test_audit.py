"""An audit finds what is wrong, lists it, leaves with an error; a repair loses nothing; the next run fills the gap."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.audit.fragments import audit, repair
from flows.errors import StoreError
from flows.storage.files import read_table, write_table
from flows.store.campaign import Campaign
from tests.flows.small_campaign import small_config, train_missing


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit") / "campaign"
    train_missing(small_config(folder))
    return folder


@pytest.fixture
def folder(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "campaign"))


def kinds(folder: Path) -> set[str]:
    return {finding.kind for finding in audit(Campaign(folder), small_config(folder)).findings}


def outputs(folder: Path) -> list[Path]:
    return Campaign(folder).fragment_paths("outputs")


def test_a_sound_campaign_passes_and_a_sample_trains_to_the_same_bits(folder: Path) -> None:
    report = audit(Campaign(folder), small_config(folder), sample=2)
    assert report.findings == [] and report.notes == []
    assert report.n_rows == 20 + 8 + 8 and report.n_retrained >= 8


@pytest.mark.parametrize("table", ["outputs", "masks"])
@pytest.mark.parametrize("damage", ["truncate", "empty", "flip"])
def test_a_damaged_fragment_is_found_set_aside_and_made_again(folder: Path, table: str, damage: str) -> None:
    campaign = Campaign(folder)
    before = campaign.training_pairs()
    path = campaign.fragment_paths(table)[1]
    data = bytearray(path.read_bytes())
    if damage == "flip":  # within the pages of the masks, or of the outputs
        chunk = pq.ParquetFile(path).metadata.row_group(0).column(4)
        data[chunk.data_page_offset + chunk.total_compressed_size // 2] ^= 0x10
    path.write_bytes({"truncate": data[: len(data) // 2], "empty": b"", "flip": data}[damage])
    report = audit(campaign, small_config(folder))
    assert any(finding.kind == "broken" and finding.path == path for finding in report.findings)
    aside = repair(campaign, report)
    assert aside is not None and (aside / table / path.name).is_file() and (aside / "reasons.json").is_file()
    after = train_missing(small_config(folder))
    assert audit(after, small_config(folder)).findings == []
    np.testing.assert_array_equal(after.training_pairs().masks, before.masks)
    np.testing.assert_array_equal(after.training_pairs().outputs, before.outputs)


def test_a_fragment_under_another_name_is_found(folder: Path) -> None:
    path = outputs(folder)[0]
    path.rename(path.with_name("fit-r0-000000100-000000108.parquet"))
    assert kinds(folder) >= {"rows", "missing"}


def test_rows_that_exist_twice_are_never_read_and_one_copy_is_set_aside(folder: Path) -> None:
    path = outputs(folder)[0]
    content = read_table(path, Campaign(folder).schema("outputs"))
    write_table(path.with_name("fit-r0-000000000-000000004.parquet"), content.slice(0, 4))
    with pytest.raises(StoreError, match="hold the same rows.*audit CAMPAIGN --repair"):
        Campaign(folder).training_pairs()
    report = audit(Campaign(folder), small_config(folder))
    assert [finding.kind for finding in report.findings] == ["twice"]
    repair(Campaign(folder), report)
    assert kinds(folder) == set()


def test_masks_that_the_seed_does_not_give_are_found_even_with_valid_checksums(folder: Path) -> None:
    campaign = Campaign(folder)
    path = campaign.fragment_paths("masks")[0]
    content = campaign.read_fragment("masks", path)
    two_swapped = content["mask"].combine_chunks().take(pa.array([1, 0, *range(2, len(content))]))
    swapped = content.set_column(4, "mask", two_swapped)
    write_table(path, swapped.cast(campaign.schema("masks")), campaign.meta["identity_hash"])
    assert kinds(folder) == {"masks"}


def test_outputs_that_a_new_training_does_not_give_are_found(folder: Path) -> None:
    campaign = Campaign(folder)
    for path in campaign.fragment_paths("outputs"):
        content = campaign.read_fragment("outputs", path)
        turned = content["outputs"].combine_chunks().take(np.roll(np.arange(len(content)), 1))
        write_table(path, content.set_column(4, "outputs", turned).cast(campaign.schema("outputs")))
    report = audit(campaign, small_config(folder), sample=1)
    assert [finding.kind for finding in report.findings] == ["retrained"]


def test_a_fragment_of_another_campaign_is_refused(folder: Path) -> None:
    path = outputs(folder)[0]
    content = read_table(path, Campaign(folder).schema("outputs"))
    write_table(path, content, identity="0" * 64)
    with pytest.raises(StoreError, match="written for another campaign"):
        Campaign(folder).training_pairs()


def test_missing_rows_are_listed(folder: Path) -> None:
    outputs(folder)[0].unlink()
    (finding,) = audit(Campaign(folder), small_config(folder)).findings
    assert str(finding) == "missing: outputs/fit-r0-000000000-000000008: 8 rows do not exist"


def test_a_repair_waits_for_nobody_while_a_driver_writes(folder: Path) -> None:
    outputs(folder)[0].write_bytes(b"PAR1")
    campaign = Campaign(folder)
    report = audit(campaign)
    from flows.errors import CampaignBusy

    with campaign.lock(), pytest.raises(CampaignBusy, match="is being written by process"):
        repair(Campaign(folder), report)
    assert outputs(folder)[0].read_bytes() == b"PAR1"


def test_the_command_lists_faults_and_leaves_with_code_9(folder: Path) -> None:
    outputs(folder)[0].write_bytes(b"")
    command = [str(Path(sys.executable).with_name("coterie")), "audit", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 9
    assert "broken: outputs/fit-r0-000000000-000000008.parquet" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
