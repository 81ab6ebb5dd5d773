"""Do the names that a campaign exports select the intended pictures, whatever the pictures are and however they lie?

    python benchmarks/inputs/files.py --folder SCRATCH [--sets suffixes "two shards"]

Every set is drawn into SCRATCH: folders of pictures and Parquet files of the kinds that people hand in. Each is then
planned, retrained, attributed, curated to half and exported. Which picture a player is, its pixels decide, which this
script drew, and no name. Then the exports are used: keep.txt and delete.txt name files (or rows), the names of
subset.json choose in torchvision's ImageFolder and in the `imagefolder` of Hugging Face `datasets`, source_indices
choose in its `parquet`, and `datasets` reads the exported Parquet set. The selection is exact where it holds every
intended picture and no other. `datasets` is in the extra `interop`; without it those columns say so.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402

from benchmarks.inputs.drawn import FOLDERS, PARQUET, SIDE, Drawn, as_shown  # noqa: E402

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
