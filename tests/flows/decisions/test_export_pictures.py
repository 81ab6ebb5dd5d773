"""Exports hold the source's pictures, not what the campaign reduced them to; names select the same files anywhere."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.decisions.export import Exported, export
from flows.games.table import make_game
from flows.plan import create
from flows.store.campaign import Campaign
from flows.store.configuration import keep_configuration
from flows.store.derived import columns, publish
from flows.store.schemas import DECISIONS
from tests.flows.toy import toy
from tests.training.conftest import write_parquet
from training.data.names import original_name

ABOUT = {"key": "a key", "analysis": None, "settings": {"allow_unlearnable": True}}


def encoded(seed: int, kind: str) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (16, 20, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, format=kind)
    return stream.getvalue()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Two classes of JPEG, GIF and PNG files in folders, one of them in a sub-folder."""
    files = ["a.jpg", "b.gif", "c.png", "deep/d.jpg"]
    for half, count in (("train", 0), ("test", 50)):
        for at, name in enumerate(f"{label}/{file}" for label in ("ant", "bee") for file in files):
            file = tmp_path / "pictures" / half / name
            file.parent.mkdir(parents=True, exist_ok=True)
            kind = {".jpg": "JPEG", ".gif": "GIF", ".png": "PNG"}[file.suffix]
            file.write_bytes(encoded(count + at, kind))
    return tmp_path / "pictures"


def decided(folder: Path, tmp_path: Path, *overrides: str) -> Campaign:
    """A campaign on the folder, every third of whose players is dropped."""
    config = toy(
        tmp_path / "campaign", f"dataset.path={folder}", "dataset.n_train=null", "dataset.n_targets=4",
        "dataset.n_audit=2", *overrides, name="images",
    )  # fmt: skip
    made = Campaign(config.campaign.folder)
    create(made, config, make_game(config))
    keep_configuration(made, config)
    rows = [{"player": at, "decision": "keep" if at % 3 else "drop"} for at in range(made.n_players)]
    publish(made, "decisions", columns(rows, DECISIONS), ABOUT)
    return made


def exported(campaign: Campaign, to: Path) -> tuple[Exported, list[dict], str]:
    written = export(campaign, to, ("subset", "parquet"))
    rows = pq.read_table(to / "data" / "train-00000-of-00001.parquet").to_pylist()
    return written, rows, (to / "README.md").read_text()


def test_files_are_exported_byte_for_byte(pictures: Path, tmp_path: Path) -> None:
    written, rows, card = exported(decided(pictures, tmp_path, "dataset.image_size=8"), tmp_path / "out")
    assert len(rows) == 5 and written.notes == () and "pixels" not in card
    for row in rows:
        file = pictures / original_name(row["name"])
        assert row["image"]["bytes"] == file.read_bytes() and row["image"]["path"].endswith(file.suffix)


def test_rows_of_parquet_files_are_exported_byte_for_byte(tmp_path: Path) -> None:
    content = [encoded(at, "JPEG") for at in range(12)]
    for shard in range(2):
        part = slice(6 * shard, 6 * shard + 6)
        ids = list(range(100 * (2 - shard), 100 * (2 - shard) + 6))
        write_parquet(tmp_path / "data" / f"train-{shard}.parquet", content[part], [0, 1] * 3, index=ids)
    write_parquet(tmp_path / "data" / "test.parquet", [encoded(50 + at, "JPEG") for at in range(8)], [0, 1] * 4)
    campaign = decided(tmp_path / "data", tmp_path, "dataset.image_size=8", "dataset.source=parquet")
    written, rows, _ = exported(campaign, tmp_path / "out")
    assert len(rows) == 8 and written.notes == ()
    assert [row["image"]["bytes"] for row in rows] == [content[row["source_index"]] for row in rows]
    subset = json.loads((tmp_path / "out" / "subset.json").read_text())
    assert subset["source_indices"] == [at for at in range(12) if at % 3]
    assert subset["source_indices_count"].startswith("the rows of the training files")
    own = [*range(200, 206), *range(100, 106)]  # the numbers in the files' column index, which begin anywhere
    assert subset["source_ids"] == [row["source_id"] for row in rows] == [own[at] for at in subset["source_indices"]]


def test_reduced_pictures_are_said_to_be_reduced(pictures: Path, tmp_path: Path) -> None:
    campaign = decided(pictures, tmp_path, "dataset.image_size=8")
    shutil.copyfile(pictures / "train" / "ant" / "c.png", pictures / "train" / "ant" / "b.gif")  # another picture
    written, rows, card = exported(campaign, tmp_path / "one")
    (note,) = written.notes
    assert note.startswith("1 of 5 pictures are 8 x 8 pixels") and note in card and "curated, 8 x 8 pixels" in card
    assert sum(row["image"]["bytes"][:4] == b"\x89PNG" for row in rows) == 2  # c.png of bee, and the reduced one
    shutil.rmtree(pictures)
    written, rows, card = exported(campaign, tmp_path / "all")
    (note,) = written.notes
    assert note.startswith("The pictures are 8 x 8 pixels") and "does not exist" in note and note in card
    assert {Image.open(io.BytesIO(row["image"]["bytes"])).size for row in rows} == {(8, 8)}


def test_names_select_the_kept_files_in_torchvision(pictures: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    export(decided(pictures, tmp_path, "dataset.image_size=8"), tmp_path / "out", ("subset",))
    subset = json.loads((tmp_path / "out" / "subset.json").read_text())
    loader = ImageFolder(str(pictures / "train"))
    chosen = [path for path, _ in loader.samples if os.path.relpath(path, pictures) in set(subset["names"])]
    kept = sorted(name for name in subset["names"] if not name.endswith(".gif"))
    assert sorted(os.path.relpath(path, pictures) for path in chosen) == kept != []
    assert "os.path.relpath" in subset["source_indices_count"]
