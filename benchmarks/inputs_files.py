"""Do the names that a campaign exports select the intended pictures, whatever the pictures are and however they lie?

    python benchmarks/inputs_files.py --folder SCRATCH [--sets suffixes "two shards"]

Every set is drawn into SCRATCH: folders of pictures and Parquet files of the kinds that people hand in. Each is then
planned, retrained, attributed, curated to half and exported. Which picture a player is, its pixels decide, which this
script drew, and no name. Then the exports are used: keep.txt and delete.txt name files (or rows), the names of
subset.json choose in torchvision's ImageFolder and in the `imagefolder` of Hugging Face `datasets`, source_indices
choose in its `parquet`, and `datasets` reads the exported Parquet set. The selection is exact where it holds every
intended picture and no other. `datasets` is in the extra `interop`; without it those columns say so.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402

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
OVERRIDES = {"numbers": ["dataset.classes=[2,10]"], "a column target": ["dataset.label_column=target"]}
TINY = (
    f"dataset.image_size={SIDE}", "dataset.n_train=null", "dataset.n_targets=4", "dataset.n_audit=null",
    "recipe.epochs=2", "recipe.width=2", "campaign.n_fit=310", "campaign.n_holdout=8", "campaign.shard_size=160",
    "compute.mode=grouped", "compute.workers=1", "attribution.n_targets=2",
    "attribution.published_targets=0", "curate.keep_share=0.5", "curate.label_models=0",
    "curate.allow_unlearnable=true",
)  # fmt: skip


# ---- from nothing to the list


def decided(folder: Path, source: str, campaign: Path, more: list[str]) -> tuple[list[dict[str, Any]], Path]:
    """Run every stage; the training examples with their decisions, and the export's folder."""
    import importlib

    from conf.compose import compose
    from flows.decisions.export import export
    from flows.store.campaign import Campaign
    from flows.store.derived import read_derived

    given = [*TINY, f"dataset.source={source}", f"dataset.path='{folder}'", f"campaign.folder='{campaign}'", *more]
    config = compose("images", given)
    for stage in ("plan", "retrain", "attribute", "curate"):
        getattr(importlib.import_module(f"flows.{stage}"), stage).fn(config)
    made = Campaign(config.campaign.folder)
    export(made, campaign / "out")
    decisions = {row["player"]: row["decision"] for row in read_derived(made, "decisions").to_pylist()}
    rows = [row for row in made.read("examples").to_pylist() if row["split"] == "train"]
    return [{**row, "decision": decisions[row["player"]]} for row in rows], campaign / "out"


def which(shown: np.ndarray, drawn: Drawn) -> str:
    """The key of the picture that was drawn like this; two are never alike."""
    apart = {key: float(np.abs(shown.astype(float) - pixels).mean()) for key, pixels in drawn.items()}
    first, second = sorted(apart, key=apart.__getitem__)[:2]
    if apart[first] > 16 or apart[second] < 2 * apart[first] + 8:
        raise ValueError(f"no picture was drawn like this: nearest {first} ({apart[first]:.1f}, {apart[second]:.1f})")
    return first


def listed(out: Path, stem: str) -> list[str]:
    """The names of keep or delete, in whichever form they were written."""
    (file,) = out.glob(f"{stem}.*")
    return [os.fsdecode(name) for name in file.read_bytes().split(b"\n" if file.suffix == ".txt" else b"\0")[:-1]]


def compare(found: Any, wanted: set[str]) -> str:
    found = list(found)
    if len(set(found)) == len(found) and set(found) == wanted:
        return "exact"
    return f"WRONG: {len(set(found) - wanted)} others, {len(wanted - set(found))} missing, {len(found)} in all"


def check(name: str, scratch: Path) -> dict[str, str]:
    """One set: what every use of its export selects."""
    is_folder = name in FOLDERS
    folder = scratch / name.replace(",", "").replace("/", "")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(scratch / f"{folder.name} bee", ignore_errors=True)
    drawn = (FOLDERS if is_folder else PARQUET)[name](folder)
    campaign = scratch / "campaigns" / folder.name
    shutil.rmtree(campaign, ignore_errors=True)
    source = "image_folder" if is_folder else "parquet"
    try:
        rows, out = decided(folder, source, campaign, OVERRIDES.get(name, []))
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {' '.join(str(error).split())}"}
    keys = {row["position"]: which(as_shown(row["image"]), drawn) for row in rows}
    wanted = {keys[row["position"]] for row in rows if row["decision"] != "drop"}
    unwanted = {keys[row["position"]] for row in rows if row["decision"] == "drop"}
    if len(wanted) + len(unwanted) != len(rows) or not (wanted and unwanted):
        raise ValueError(f"{name}: {len(rows)} players, {len(wanted)} to keep and {len(unwanted)} to drop")
    subset = json.loads((out / "subset.json").read_text())
    result = {"players": str(len(rows)), "kept": str(len(wanted))}
    if is_folder:
        from training.data.names import original_name

        names = {original_name(one) for one in subset["names"]}
        result["lists"] = _both(compare(listed(out, "keep"), wanted), compare(listed(out, "delete"), unwanted))
        result["torchvision"] = _torchvision(folder, names, wanted)
        result["datasets"] = _imagefolder(folder, names, wanted)
    else:
        places = _places(folder, drawn)
        result["lists"] = _both(
            compare((places.get(one, one) for one in listed(out, "keep")), wanted),
            compare((places.get(one, one) for one in listed(out, "delete")), unwanted),
        )
        result["torchvision"] = "–"
        result["datasets"] = _parquet(folder, subset["source_indices"], drawn, wanted)
    result["exported"] = _exported(out, drawn, wanted)
    return result


def _both(first: str, second: str) -> str:
    return first if first == second else f"keep: {first}; delete: {second}"


def _torchvision(folder: Path, names: set[str], wanted: set[str]) -> str:
    """ImageFolder by its own list of suffixes, and with the names as the files to take."""
    from torchvision.datasets import ImageFolder

    def relative(path: str) -> str:
        return os.path.relpath(path, folder)

    plainly = {relative(path) for path, _ in ImageFolder(str(folder / "train")).samples}
    chosen = ImageFolder(str(folder / "train"), is_valid_file=lambda path: relative(path) in names, allow_empty=True)
    unseen = len(wanted - plainly)
    by_names = compare((relative(path) for path, _ in chosen.samples), wanted)
    own = compare(plainly & names, wanted & plainly)
    return _both(by_names, own) + (f" ({unseen} files it does not list itself)" if unseen else "")


def _imagefolder(folder: Path, names: set[str], wanted: set[str]) -> str:
    """The `imagefolder` of datasets; files whose names its patterns cannot hold are counted."""
    datasets = _datasets()
    if datasets is None:
        return "not installed"
    try:
        read = datasets.load_dataset("imagefolder", data_dir=str(folder), split="train",
                                     cache_dir=str(folder.parent / "hf"))  # fmt: skip
    except Exception as error:
        return f"cannot read the folder: {type(error).__name__}"
    paths = [row["path"] for row in read.cast_column("image", datasets.Image(decode=False))["image"]]
    seen = {os.path.relpath(path, folder) for path in paths}
    said = compare((path for path in (os.path.relpath(one, folder) for one in paths) if path in names), wanted & seen)
    unseen = len(wanted - seen)
    return said + (f" ({unseen} files it does not list itself)" if unseen else "")


def _places(folder: Path, drawn: Drawn) -> dict[str, str]:
    """The row of every name that a list may hold: `file:row`, perhaps with the path behind it."""
    from training.data.parquet_files import split_files

    places, row = {}, 0
    for file in split_files(folder, "train")[0]:
        column = pq.read_table(file, columns=["image"], partitioning=None)["image"].to_pylist()
        for at, entry in enumerate(column):
            place = f"{file.relative_to(folder).as_posix()}:{at}"
            path = entry.get("path") if isinstance(entry, dict) else None
            key = which(as_shown(entry["bytes"] if isinstance(entry, dict) else entry), drawn)
            places |= {place: key} if path is None else {f"{place} ({path})": key}
            row += 1
    return places


def _parquet(folder: Path, indices: list[int], drawn: Drawn, wanted: set[str]) -> str:
    datasets = _datasets()
    if datasets is None:
        return "not installed"
    from training.data.parquet_files import split_files

    files = [str(file) for file in split_files(folder, "train")[0]]
    try:
        read = datasets.load_dataset("parquet", data_files={"train": files}, split="train",
                                     cache_dir=str(folder.parent / "hf"))  # fmt: skip
        chosen = read.select(indices)
        if not isinstance(chosen.features["image"], datasets.Image):
            chosen = chosen.cast_column("image", datasets.Image())
    except Exception as error:
        rows = [entry for file in files for entry in pq.read_table(file, partitioning=None)["image"].to_pylist()]
        chosen = compare((which(as_shown(rows[at]), drawn) for at in indices), wanted)
        return f"{chosen} by pyarrow; datasets cannot read such files ({type(error).__name__})"
    return compare((which(as_shown(picture), drawn) for picture in chosen["image"]), wanted)


def _exported(out: Path, drawn: Drawn, wanted: set[str]) -> str:
    """The exported Parquet set as datasets reads it."""
    datasets = _datasets()
    if datasets is None:
        return "not installed"
    read = datasets.load_dataset(str(out), split="train", cache_dir=str(out.parent / "hf"))
    return compare((which(as_shown(picture), drawn) for picture in read["image"]), wanted)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError:
        return None
    datasets.disable_progress_bars()
    return datasets


def rows_of(results: dict[str, dict[str, str]]) -> Iterator[str]:
    yield "| set | players, kept | keep and delete | torchvision | datasets, the source | datasets, the export |"
    yield "|---|---|---|---|---|---|"
    for name, result in results.items():
        if "refused" in result:
            yield f"| {name} | refused | {result['refused']} | | | |"
        else:
            columns = [result[key] for key in ("lists", "torchvision", "datasets", "exported")]
            yield f"| {name} | {result['players']}, {result['kept']} | {' | '.join(columns)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, required=True, help="scratch; its sets and campaigns are replaced")
    parser.add_argument("--sets", nargs="*", default=[*FOLDERS, *PARQUET])
    arguments = parser.parse_args()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from flows.compute import ray_cluster

    arguments.folder.mkdir(parents=True, exist_ok=True)
    ray_cluster.start_session_in_background(None, 1)
    results = {}
    try:
        for name in arguments.sets:
            results[name] = check(name, arguments.folder.resolve())
            print(name, results[name], file=sys.stderr, flush=True)
    finally:
        ray_cluster.stop_session()
    print("\n".join(rows_of(results)))


if __name__ == "__main__":
    main()
