"""Small real data for the tests of training: digits, and pictures written to disk as users have them."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

for _threads in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")

import numpy as np  # noqa: E402  (thread limits have to be set before NumPy and torch are loaded)
import pytest  # noqa: E402

from training import Dataset, load_dataset  # noqa: E402

SHARED = Path(__file__).parents[2] / ".." / "shared"


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits")


@pytest.fixture(scope="session")
def small_digits() -> Dataset:
    """40 training images, 30 targets, 20 audit examples of digits."""
    return load_dataset("digits", n_train=40, n_targets=30, n_audit=20)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real CIFAR-10 images and a recorded digits campaign, where there is one."""
    if not (SHARED / "cifar10").is_dir():
        pytest.skip("needs ../shared beside the repository (real CIFAR-10 images, a recorded campaign)")
    return SHARED


def png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def random_pictures(count: int, size: int = 8, seed: int = 0) -> list[bytes]:
    pixels = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return [png(picture) for picture in pixels]


def write_parquet(
    file: Path, pictures: list[bytes], labels: list[int], *, names: list[str] | None = None, **columns: list
) -> None:
    """A file in Hugging Face's layout: `img` a struct of bytes and path, `label`, further columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    images = pa.array(
        [{"bytes": picture, "path": None} for picture in pictures],
        type=pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
    )
    table = pa.table({"img": images, "label": pa.array(labels, type=pa.int64()), **columns})
    if names is not None:
        features = {"img": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, file)


@pytest.fixture
def parquet_folder(tmp_path: Path) -> Path:
    """24 training and 12 test pictures of cats, dogs and cows; a column `farm` puts the training pictures in
    5 groups."""
    names = ["cat", "dog", "cow"]
    farm = [f"farm{row % 5}" for row in range(24)]
    index = list(range(100, 124))
    write_parquet(
        tmp_path / "data" / "train-00000-of-00001.parquet",
        random_pictures(24),
        [row % 3 for row in range(24)],
        names=names,
        farm=farm,
        index=index,
    )
    write_parquet(
        tmp_path / "data" / "test-00000-of-00001.parquet",
        random_pictures(12, seed=1),
        [row % 3 for row in range(12)],
        names=names,
    )
    return tmp_path


@pytest.fixture
def picture_folder(tmp_path: Path) -> Path:
    """train/<class>/ with 4 and test/<class>/ with 3 pictures of 8x8 for each of `bee` and `ant`."""
    for half, count, seed in (("train", 4, 0), ("test", 3, 1)):
        pictures = random_pictures(2 * count, seed=seed)
        for row, picture in enumerate(pictures):
            folder = tmp_path / half / ("bee", "ant")[row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row:03d}.png").write_bytes(picture)
    return tmp_path
