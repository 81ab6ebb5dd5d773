"""Folders of pictures as a user has them, with faults planted and listed: PNG files of CIFAR-10, one subfolder a class.

    python benchmarks/decisions/folders.py PARQUET OUT [NAME ...]

Writes OUT/NAME/train/CLASS/*.png, OUT/NAME/test/CLASS/*.png and OUT/NAME.planted.txt, a line for each planted fault
(OUT outside the project: the pictures stay out of it). Not collected by pytest.

    planefrog   106 training and 104 test pictures: 3 airplanes copied into frog, 3 exact copies, 4 leaks into test
    catdog      120 training and 80 test pictures, nothing planted
    birdtruck   180 training and 160 test pictures: 4 exact copies, 4 wrong labels, 1 leak into test
"""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from PIL import Image


@dataclass(frozen=True)
class Folder:
    """What a folder holds; counts are files, faults included."""

    classes: tuple[str, str]
    n_train: int
    n_test: int
    conflicts: int = 0
    copies: int = 0
    wrong: int = 0
    leaks: int = 0


FOLDERS = {
    "planefrog": Folder(("airplane", "frog"), 106, 104, conflicts=3, copies=3, leaks=4),
    "catdog": Folder(("cat", "dog"), 120, 80),
    "birdtruck": Folder(("bird", "truck"), 180, 160, copies=4, wrong=4, leaks=1),
}


def pictures_of(parquet: Path, split: str) -> tuple[list[bytes], np.ndarray, list[str]]:
    """Encoded pictures of a split, their labels and the names of the classes."""
    table = pq.read_table(next(parquet.glob(f"{split}-*.parquet")))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    return [row["bytes"] for row in table["img"].to_pylist()], table["label"].to_numpy(), names


def write(parquet: Path, out: Path, name: str, seed: int = 0) -> None:
    """Write one folder and the list of what was planted."""
    wanted, generator = FOLDERS[name], np.random.default_rng(seed)
    planted, of_train = [], []
    place = out / name
    for split, n, fewer in (
        ("train", wanted.n_train, wanted.conflicts + wanted.copies), ("test", wanted.n_test, wanted.leaks),
    ):  # fmt: skip
        pictures, labels, names = pictures_of(parquet, split)
        for at, class_name in enumerate(wanted.classes):
            rows = np.flatnonzero(labels == names.index(class_name))
            for row in generator.permutation(rows)[: (n - fewer + 1 - at) // 2].tolist():
                path = place / split / class_name / f"{class_name}-{row:04d}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.open(io.BytesIO(pictures[row])).convert("RGB").save(path)
                if split == "train":
                    of_train.append(path)
    order = [of_train[at] for at in generator.permutation(len(of_train))]
    planes = [path for path in order if path.parent.name == wanted.classes[0]][: wanted.conflicts]
    chosen = iter([path for path in order if path not in planes])  # no picture takes two faults

    def put(source: Path, target: Path, what: str, move: bool = False) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes())
        if move:
            source.unlink()
        planted.append(f"{what}: {source.relative_to(place)} -> {target.relative_to(place)}")

    for source in planes:
        put(source, place / "train" / wanted.classes[1] / f"new-{source.name}", "under both labels")
    for _ in range(wanted.copies):
        source = next(chosen)
        put(source, source.with_name(f"{source.stem}-copy.png"), "copy")
    for _ in range(wanted.wrong):
        source = next(chosen)
        other = wanted.classes[1 - wanted.classes.index(source.parent.name)]
        put(source, place / "train" / other / f"{other}-x{source.stem[-4:]}.png", "wrong label", move=True)
    for _ in range(wanted.leaks):
        source = next(chosen)
        put(source, place / "test" / source.parent.name / f"{source.stem}-again.png", "leak into test")
    (out / f"{name}.planted.txt").write_text("".join(f"{line}\n" for line in planted))
    counts = [len(list((place / split).rglob("*.png"))) for split in ("train", "test")]
    print(f"{place}: {counts[0]} training and {counts[1]} test pictures, {len(planted)} faults planted")


if __name__ == "__main__":
    for chosen_name in sys.argv[3:] or FOLDERS:
        write(Path(sys.argv[1]), Path(sys.argv[2]), chosen_name)
