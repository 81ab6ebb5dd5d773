"""Folders of pictures and Parquet files of the kinds that people hand in, drawn into a folder.

Every function takes the folder and returns the pixels of what it drew there, by file below the folder or by place
among the training rows.
"""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageOps

SIDE, PER_CLASS, N_TEST = 8, 12, 6
Drawn = dict[str, np.ndarray]  # (8, 8, 3) uint8 by file below the folder, or by place among the training rows


# ---- pictures


def draw(seed: int) -> np.ndarray:
    """A picture of its own: 8 x 8 colours, each two pixels wide in the file."""
    return np.random.default_rng(seed).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def encode(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    stream = io.BytesIO()
    large = np.kron(pixels, np.ones((2, 2, 1), np.uint8))
    picture = options.pop("change", lambda given: given)(Image.fromarray(large))
    if kind == "JPEG":
        options = {"quality": 98, "subsampling": 0, **options}
    picture.save(stream, format=kind, **options)
    return stream.getvalue()


def as_shown(content: bytes | Image.Image) -> np.ndarray:
    """What a viewer shows, in 8 x 8 pixels: upright and in front of white."""
    picture = content if isinstance(content, Image.Image) else Image.open(io.BytesIO(content))
    picture.load()
    picture = ImageOps.exif_transpose(picture).convert("RGBA")
    shown = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
    return np.asarray(shown.resize((SIDE, SIDE), Image.Resampling.BOX))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[..., :1], 3, axis=2)


def turned(orientation: int, kind: str = "JPEG") -> Callable[[np.ndarray], tuple[np.ndarray, bytes]]:
    """A picture whose pixels are stored so that its EXIF orientation turns them upright."""
    def make(pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
        exif = Image.Exif()
        exif[0x0112] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encode(pixels, kind, exif=exif, **options)
        picture = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(encode(pixels, "PNG", exif=exif)))))
        return picture[::2, ::2], content

    return make


def plain(kind: str, drawn: Callable[[np.ndarray], np.ndarray] = lambda pixels: pixels, **options: Any) -> Any:
    return lambda pixels: (drawn(pixels), encode(drawn(pixels), kind, **options))


def half_transparent(mode: str) -> Callable[[np.ndarray], tuple[np.ndarray, bytes]]:
    """Black, and its shape in the transparency alone."""

    def make(pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
        shape = pixels[..., 0] > 127
        shown = np.repeat(np.where(shape, 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        large = np.kron(shape, np.ones((2, 2), bool))
        stream = io.BytesIO()
        if mode == "P":
            picture = Image.fromarray(large.astype(np.uint8))
            picture.putpalette([0, 0, 0] * 2)
            picture.save(stream, format="PNG", transparency=0)
        else:
            picture = Image.new(mode, (2 * SIDE, 2 * SIDE))
            picture.putalpha(Image.fromarray(large.astype(np.uint8) * 255))
            picture.save(stream, format="PNG")
        return shown, stream.getvalue()

    return make


def two_frames(pixels: np.ndarray) -> tuple[np.ndarray, bytes]:
    """An animated GIF, whose first frame counts."""
    stream = io.BytesIO()
    first, second = (Image.fromarray(np.kron(one, np.ones((2, 2, 1), np.uint8))).quantize(64) for one in
                     (pixels, pixels[::-1]))  # fmt: skip
    first.save(stream, format="GIF", save_all=True, append_images=[second], duration=100)
    return pixels, stream.getvalue()


SUFFIXES = {
    "a.png": "PNG", "b.jpg": "JPEG", "c.JPEG": "JPEG", "d.jfif": "JPEG", "e.jpe": "JPEG", "f.bmp": "BMP",
    "g.gif": "GIF", "h.webp": "WEBP", "i.tif": "TIFF", "j.ppm": "PPM", "k": "PNG", "l.TIFF": "TIFF",
}  # fmt: skip
CMYK = plain("JPEG", change=lambda picture: picture.convert("CMYK"))
HARD_NAMES = ("a b.png", " lead.png", "=1+1.png", "-rf.png", "it's \"q\".png", "back\\slash.png", "two\nlines.png",
              "tab\t.png", "comma,.png", "percent%20.png", "hash#1.png", "star[1]*.png")  # fmt: skip


# ---- folders of pictures


def folder_of(folder: Path, train: dict[str, Any], classes: tuple[str, ...] = ("ant", "bee")) -> Drawn:
    """Write train/<class>/<name> as `train` says and plain pictures into test/; what was drawn, by file."""
    drawn: Drawn = {}
    seed = 0
    for label in classes:
        for name, make in train.items():
            seed += 1
            file = folder / "train" / label / name
            file.parent.mkdir(parents=True, exist_ok=True)
            drawn[f"train/{label}/{name}"], content = make(draw(seed))
            file.write_bytes(content)
        for at in range(N_TEST):
            seed += 1
            (folder / "test" / label).mkdir(parents=True, exist_ok=True)
            (folder / "test" / label / f"{at}.png").write_bytes(encode(draw(seed), "PNG"))
    return drawn


def suffixes(folder: Path) -> Drawn:
    options = {"WEBP": {"lossless": True}, "GIF": {"change": lambda picture: picture.quantize(256)}}
    return folder_of(folder, {name: plain(kind, **options.get(kind, {})) for name, kind in SUFFIXES.items()})


def orientations(folder: Path) -> Drawn:
    made = {f"{orientation}.jpg": turned(orientation) for orientation in range(1, 9)}
    made |= {f"{orientation}.{kind.lower()}": turned(orientation, kind) for orientation in (3, 6)
             for kind in ("WEBP", "TIFF")}  # fmt: skip
    return folder_of(folder, made)


def transparency(folder: Path) -> Drawn:
    return folder_of(folder, {f"{mode}{at}.png": half_transparent(mode) for mode in ("RGBA", "LA", "P")
                              for at in range(4)})  # fmt: skip


def modes(folder: Path) -> Drawn:
    made = {"grey": plain("PNG", grey, change=lambda picture: picture.convert("L")),
            "cmyk": CMYK, "progressive": plain("JPEG", progressive=True),
            "palette": plain("PNG", change=lambda picture: picture.quantize(256)), "gif": two_frames,
            "lzw": plain("TIFF", compression="tiff_lzw")}  # fmt: skip
    ends = {"gif": "gif", "cmyk": "jpg", "progressive": "jpg", "lzw": "tif"}
    return folder_of(folder, {f"{name}{at}.{ends.get(name, 'png')}": make for name, make in made.items()
                              for at in range(2)})  # fmt: skip


def hard_names(folder: Path) -> Drawn:
    return folder_of(folder, {name: plain("PNG") for name in HARD_NAMES})


def accents(folder: Path) -> Drawn:
    """Class names decomposed in train/ and composed in test/; names of files in both forms."""
    drawn = folder_of(folder, {f"{at} {name}.png": plain("PNG") for at in range(6) for name in ("é", "e\u0301")},
                      tuple(unicodedata.normalize("NFD", name) for name in ("café", "Ångström")))  # fmt: skip
    for half in (folder / "test").iterdir():
        half.rename(half.with_name(unicodedata.normalize("NFC", half.name)))
    return drawn


def numbers(folder: Path) -> Drawn:
    return folder_of(folder, {f"{at}.png": plain("PNG") for at in range(PER_CLASS)}, tuple(map(str, range(12))))


def nested(folder: Path) -> Drawn:
    """Sub-folders, and a class that is a link to a folder elsewhere."""
    names = [f"{at}.png" for at in range(4)] + [f"deep/{at}.png" for at in range(4)]
    names += [f"deep/er/{at} x.png" for at in range(4)]
    drawn = folder_of(folder, {name: plain("PNG") for name in names})
    (folder / "train" / "bee").rename(folder.parent / f"{folder.name} bee")
    (folder / "train" / "bee").symlink_to(folder.parent / f"{folder.name} bee", target_is_directory=True)
    return drawn


# ---- Parquet files


def parquet_of(
    folder: Path, files: tuple[str, ...], columns: Callable[[int, int], dict[str, Any]], test: str = "test.parquet",
    image: Callable[[list[bytes]], pa.Array] = lambda content: pa.array(content, pa.binary()),
    features: dict[str, Any] | None = None,
) -> Drawn:  # fmt: skip
    """Write the training rows evenly into `files`; `columns` takes the first row and the number of rows."""
    drawn: Drawn = {}
    n = 2 * PER_CLASS // len(files)
    for number, file in enumerate((*files, test)):
        pictures = [draw(1000 * (file == test) + number * n + row + 1) for row in range(n)]
        table = pa.table({"image": image([encode(picture, "PNG") for picture in pictures]), **columns(number * n, n)})
        if features is not None:
            table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, folder / file)
        drawn |= {} if file == test else {str(number * n + row): picture for row, picture in enumerate(pictures)}
    return drawn


def labels(n: int) -> list[int]:
    return [row % 2 for row in range(n)]


def struct(content: list[bytes], path: Callable[[int], str | None] = lambda row: None) -> pa.Array:
    rows = [{"bytes": one, "path": path(row)} for row, one in enumerate(content)]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))


def class_label(*names: str) -> dict[str, Any]:
    return {"_type": "ClassLabel", "names": list(names)}


def named(n: int) -> list[str]:
    return ["bee" if row % 2 else "ant" for row in range(n)]


TWO = ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet")
ONE = ("train.parquet",)
FOLDERS: dict[str, Callable[[Path], Drawn]] = {
    "suffixes": suffixes, "orientations": orientations, "transparency": transparency, "modes": modes,
    "hard names": hard_names, "accents": accents, "numbers": numbers, "nested and a link": nested,
}  # fmt: skip
PARQUET: dict[str, Callable[[Path], Drawn]] = {
    "two shards, column index": lambda folder: parquet_of(
        folder, TWO, lambda first, n: {"label": labels(n), "index": [900 - first + row for row in range(n)]},
        image=struct, features={"image": {"_type": "Image"}, "label": class_label("ant", "bee")}),
    "index begins again in each": lambda folder: parquet_of(
        folder, TWO, lambda first, n: {"label": labels(n), "index": list(range(n))}, image=struct),
    "paths that repeat": lambda folder: parquet_of(
        folder, TWO, lambda first, n: {"label": labels(n)},
        image=lambda content: struct(content, lambda row: f"{row}.png")),
    "text, binary_view": lambda folder: parquet_of(
        folder, ONE, lambda first, n: {"label": named(n)}, image=lambda content: pa.array(content, pa.binary_view())),
    "category, large_binary": lambda folder: parquet_of(
        folder, TWO, lambda first, n: {"label": pa.array(named(n)).dictionary_encode()},
        image=lambda content: pa.array(content, pa.large_binary())),
    "whole floats, folders of the Hub": lambda folder: parquet_of(
        folder, ("default/train/0000.parquet", "default/train/0001.parquet"),
        lambda first, n: {"label": [float(one) for one in labels(n)]}, "default/test/0000.parquet"),
    "true and false": lambda folder: parquet_of(
        folder, ONE, lambda first, n: {"label": [bool(one) for one in labels(n)]}),
    "split=train/ folders": lambda folder: parquet_of(
        folder, ("split=train/0.parquet", "split=train/1.parquet"), lambda first, n: {"label": labels(n)},
        "split=test/0.parquet"),
    "two ClassLabels": lambda folder: parquet_of(
        folder, ONE, lambda first, n: {"species": labels(n)[::-1], "label": labels(n)},
        features={"species": class_label("x", "y"), "label": class_label("ant", "bee")}),
    "a column target": lambda folder: parquet_of(folder, ONE, lambda first, n: {"target": labels(n)}),
    "two configurations": lambda folder: parquet_of(
        folder, ("small/train-0.parquet", "large/train-0.parquet"), lambda first, n: {"label": labels(n)}),
}  # fmt: skip
