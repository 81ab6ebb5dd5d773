"""What an export selects in the loaders that people use: torchvision's ImageFolder and Hugging Face datasets."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from flows.decisions.export import export
from flows.store.campaign import Campaign
from tests.flows.decisions.test_export_pictures import decided
from tests.training.conftest import random_pictures
from training.data.names import original_name

SIDE = 8
FILES = {"a b.png": "PNG", "b.webp": "WEBP", "c.jpeg": "JPEG", "deep/a b.png": "PNG", "two\nlines.bmp": "BMP",
         "e\u0301.tiff": "TIFF", "=1.gif": "GIF", "k.jfif": "JPEG"}  # fmt: skip


def shade(number: int) -> np.ndarray:
    """A picture of one colour, which survives every format: by it a picture is known, and not by its name."""
    return np.full((SIDE, SIDE, 3), (number * 5 % 256, 255 - number * 5 % 256, 128), np.uint8)


def encoded(number: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(shade(number)).save(stream, kind, **({"lossless": True} if kind == "WEBP" else {}))
    return stream.getvalue()


def number_of(picture: Any) -> int:
    """The number whose colour a picture has."""
    colour = np.asarray(picture.convert("RGB"), float).mean(axis=(0, 1))
    return int(round(colour[0] / 5))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = [f"{label}/{file}" for label in ("ant", "bee") for file in FILES]
    for half, content in (
        ("train", [encoded(at, FILES[name.partition("/")[2]]) for at, name in enumerate(files)]),
        ("test", random_pictures(len(files), SIDE)),
    ):
        for name, picture in zip(files, content, strict=True):
            file = tmp_path / "pictures" / half / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture)
    return tmp_path / "pictures"


def kept_numbers(campaign: Campaign) -> set[int]:
    """The colours of the players that `decided` keeps: two of three."""
    rows = [row for row in campaign.read("examples").to_pylist() if row["split"] == "train"]
    return {number_of(Image.open(io.BytesIO(row["image"]))) for row in rows if row["player"] % 3}


def test_names_are_exactly_what_image_folder_then_reads(folder: Path, tmp_path: Path) -> None:
    from torchvision.datasets import ImageFolder

    campaign = decided(folder, tmp_path, f"dataset.image_size={SIDE}")
    export(campaign, tmp_path / "out", ("subset", "lists"))
    names = {original_name(name) for name in json.loads((tmp_path / "out" / "subset.json").read_text())["names"]}
    loader = ImageFolder(str(folder / "train"), is_valid_file=lambda path: os.path.relpath(path, folder) in names)
    found = [number_of(picture) for picture, _ in loader]
    assert len(found) == len(set(found)) and set(found) == kept_numbers(campaign)
    (keep,) = (tmp_path / "out").glob("keep.*")
    assert {os.fsdecode(name) for name in keep.read_bytes().split(b"\0" if keep.suffix == ".nul" else b"\n")} - {
        ""
    } == names


def test_names_and_the_exported_set_are_what_datasets_then_reads(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed (coterie[interop])")
    campaign = decided(folder, tmp_path, f"dataset.image_size={SIDE}")
    export(campaign, tmp_path / "out", ("subset", "parquet"))
    names = {original_name(name) for name in json.loads((tmp_path / "out" / "subset.json").read_text())["names"]}
    cache = str(tmp_path / "cache")
    read = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train", cache_dir=cache)
    paths = read.cast_column("image", datasets.Image(decode=False))["image"]
    rows = [at for at, row in enumerate(paths) if os.path.relpath(row["path"], folder) in names]
    assert {number_of(picture) for picture in read.select(rows)["image"]} == kept_numbers(campaign)
    assert len(rows) == len(names)
    exported = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=cache)
    assert sorted(map(number_of, exported["image"])) == sorted(kept_numbers(campaign))


@pytest.mark.parametrize("kind", ["numbers of its own", "text and folders of the Hub", "repeated paths"])
def test_positions_are_what_datasets_then_selects(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed (coterie[interop])")
    data = tmp_path / "data"
    hub = kind == "text and folders of the Hub"
    files = [data / (f"default/train/000{shard}.parquet" if hub else f"train-{shard}.parquet") for shard in range(2)]
    for number, file in enumerate([*files, data / ("default/test/0000.parquet" if hub else "test.parquet")]):
        content = [encoded(10 * number + row) for row in range(10)]
        image = pa.array(content) if hub else pa.array([{"bytes": one, "path": f"{row}.png"} for row, one in
                                                        enumerate(content)])  # fmt: skip
        columns: dict[str, Any] = {"image": image, "label": ["ant", "bee"] * 5 if hub else [0, 1] * 5}
        if kind == "numbers of its own":
            columns["index"] = list(range(500 - 100 * number, 510 - 100 * number))
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(columns), file)
    campaign = decided(data, tmp_path, "dataset.source=parquet", f"dataset.image_size={SIDE}")
    export(campaign, tmp_path / "out", ("subset",))
    subset = json.loads((tmp_path / "out" / "subset.json").read_text())
    read = datasets.load_dataset(
        "parquet", data_files={"train": list(map(str, files))}, split="train", cache_dir=str(tmp_path / "cache")
    )
    chosen = read.cast_column("image", datasets.Image()).select(subset["source_indices"])
    assert {number_of(picture) for picture in chosen["image"]} == kept_numbers(campaign)
    assert len(chosen) == len(kept_numbers(campaign))
    if kind == "numbers of its own":
        assert chosen["index"][:] == subset["source_ids"]
