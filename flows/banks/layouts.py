"""Banks as other projects write them: which file holds the masks, which the outputs, and which rows are finished.

Each layout is recognised by its name alone, which the user gives; what it assumes is written in its notes.

datamodels  MadryLab/datamodels: a folder with masks.npy, margins.npy and _completed.npy, a row for each model.
coar        MadryLab/modelcomponents: the same store with test_margins.npy or val_margins.npy; a mask is True for the
            components that are kept (the script zeroes those whose mask is False).
dattri      TRAIS-Lab/dattri, `retrain_lds`: metadata.yml and a folder for each subset with indices.txt. It keeps
            weights and no outputs: those are what `calculate_lds_ground_truth` returned, saved by the user.
bergson     EleutherAI/bergson, `validate` with saved models: subsets.json lists the documents that are *left out*;
            query_loss_cache/losses_*.pt holds a loss for each subset and query.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flows.banks.arrays import IndexLists, NpyRows, Rows, index_lists, open_rows
from flows.banks.errors import BankError
from flows.storage.files import read_json

MASK_NAMES = ("masks", "mask", "train_masks")
OUTPUT_NAMES = ("outputs", "margins", "test_margins", "val_margins", "output")


@dataclass(frozen=True)
class BankFiles:
    """Where a bank's arrays are.

    Parameters
    ----------
    masks, outputs
        The two files.
    completed
        (n_masks,) bool, False for rows that were never written; None where the layout has no such list.
    inverted
        Whether the masks mark players that are left out.
    sign
        -1 where a lower output is better: minus the output is then what is stored and explained.
    outputs_per_mask
        Consecutive rows of the outputs that belong to one mask.
    notes
        What the layout was taken to mean.
    """

    masks: Rows
    outputs: Rows
    completed: np.ndarray | None = None
    inverted: bool = False
    sign: int = 1
    outputs_per_mask: int = 1
    notes: tuple[str, ...] = ()


def open_bank(
    folder: str | Path | None = None,
    *,
    layout: str | None = None,
    masks: str | Path | None = None,
    outputs: str | Path | None = None,
) -> BankFiles:
    """Find the arrays of a bank.

    Parameters
    ----------
    folder
        Of a layout.
    layout
        One of `LAYOUTS`; None for two files of the user's own.
    masks, outputs
        The files; they replace what the layout names.

    Returns
    -------
    BankFiles

    Raises
    ------
    BankError
        For a layout that does not exist, or a folder without its files.
    """
    if layout is None:
        if masks is None or outputs is None:
            raise BankError(
                f"a bank has masks and outputs. Give --masks and --outputs, or --layout {' or '.join(LAYOUTS)} with "
                "its folder"
            )
        return BankFiles(open_rows(masks, MASK_NAMES), open_rows(outputs, OUTPUT_NAMES))
    if layout not in LAYOUTS:
        raise BankError(f"unknown layout {layout!r}; known are {', '.join(LAYOUTS)}, or give --masks and --outputs")
    if folder is None or not Path(folder).expanduser().is_dir():
        raise BankError(f"--layout {layout} reads a folder, and {str(folder)!r} is none. Give it with --bank")
    return LAYOUTS[layout](Path(folder).expanduser(), masks, outputs)


def _datamodels(folder: Path, masks: Any, outputs: Any) -> BankFiles:
    return BankFiles(
        open_rows(masks or _one_of(folder, ("masks.npy",)), MASK_NAMES),
        open_rows(outputs or _one_of(folder, ("margins.npy",)), OUTPUT_NAMES),
        _completed(folder),
    )


def _coar(folder: Path, masks: Any, outputs: Any) -> BankFiles:
    return BankFiles(
        open_rows(masks or _one_of(folder, ("masks.npy",)), MASK_NAMES),
        open_rows(outputs or _one_of(folder, ("test_margins.npy", "val_margins.npy", "margins.npy")), OUTPUT_NAMES),
        _completed(folder),
        notes=("layout coar: a mask is True for the components that are kept",),
    )


def _dattri(folder: Path, masks: Any, outputs: Any) -> BankFiles:
    metadata = _read_yaml(_one_of(folder, ("metadata.yml",)))
    if metadata.get("mode") != "lds":
        raise BankError(
            f"{folder / 'metadata.yml'} is of mode {metadata.get('mode')!r}: models that each lack one example do not "
            "show "
            "what examples do together. Give a folder of retrain_lds"
        )
    if outputs is None:
        raise BankError(
            f"{folder} holds weights and subsets, no outputs. Save the first array that dattri's "
            "calculate_lds_ground_truth "
            "returns with numpy.save, and give it with --outputs"
        )
    n_subsets, n_runs = int(metadata["num_subsets"]), int(metadata.get("num_runs_per_subset", 1))
    places = metadata.get("subset_dir_map") or {}
    lists = []
    for number in range(n_subsets):
        # The recorded paths are those of the machine that trained; the folder may have moved since.
        place = next(
            (
                path
                for path in (folder / str(number), Path(str(places.get(number, ""))))
                if (path / "indices.txt").is_file()
            ),
            None,
        )
        if place is None:
            raise BankError(f"{folder} lacks {number}/indices.txt, and its metadata.yml promises {n_subsets} subsets")
        lists.append((place / "indices.txt").read_text(encoding="utf-8").split())
    subsets = IndexLists(str(folder / "*/indices.txt"), index_lists(lists, str(folder)))
    values = open_rows(outputs, OUTPUT_NAMES)
    notes: tuple[str, ...] = (
        "layout dattri: calculate_lds_ground_truth turns the sign of its target function; outputs are taken as given",
    )
    each = n_runs if values.shape[0] == n_subsets * n_runs else 1
    if each == 1 and n_runs > 1:
        notes += (
            f"the outputs are means over {n_runs} runs of a subset, so they say nothing about a single run's noise",
        )
    return BankFiles(open_rows(masks, MASK_NAMES) if masks else subsets, values, outputs_per_mask=each, notes=notes)


def _bergson(folder: Path, masks: Any, outputs: Any) -> BankFiles:
    removed = IndexLists(
        str(folder / "subsets.json"),
        index_lists(read_json(_one_of(folder, ("subsets.json",))), str(folder / "subsets.json")),
    )
    notes = (
        "layout bergson: subsets.json lists what is left out, and the outputs are losses: minus the loss is stored",
        "documents that no subset leaves out are players that are always included; give --n-players if there are more",
    )
    if outputs is None:
        caches = sorted((folder / "query_loss_cache").glob("losses_*.pt"))
        if len(caches) != 1:
            raise BankError(
                f"{folder / 'query_loss_cache'} holds {len(caches)} files losses_*.pt, and one is needed. Run bergson "
                "validate "
                "on the bank, or give --outputs"
            )
        import torch

        losses = torch.load(caches[0], map_location="cpu", weights_only=True)["per_subset"]
        return BankFiles(removed, MemoryRows(str(caches[0]), losses.numpy()), inverted=True, sign=-1, notes=notes)
    return BankFiles(removed, open_rows(outputs, OUTPUT_NAMES), inverted=True, sign=-1, notes=notes)


@dataclass(frozen=True)
class MemoryRows:
    """An array that is small enough to be in memory already."""

    label: str
    values: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        table = self.values.reshape(len(self.values), -1)
        return table.shape[0], table.shape[1]

    def blocks(self, n_rows: int) -> Any:
        """Yield every row once, in blocks."""
        table = self.values.reshape(len(self.values), -1)
        return (table[start : start + n_rows] for start in range(0, len(table), n_rows))


# A further layout is one function and one line here.
LAYOUTS: dict[str, Callable[[Path, Any, Any], BankFiles]] = {
    "datamodels": _datamodels,
    "coar": _coar,
    "dattri": _dattri,
    "bergson": _bergson,
}


def _one_of(folder: Path, names: tuple[str, ...]) -> Path:
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise BankError(f"{folder} has no {' or '.join(names)}. Give --masks and --outputs, or another folder")
    return found[0]


def _completed(folder: Path) -> np.ndarray | None:
    path = folder / "_completed.npy"
    if not path.is_file():
        return None
    rows = open_rows(path, ())
    if not isinstance(rows, NpyRows) or rows.shape[1] != 1:
        raise BankError(f"{path} has shape {rows.shape}; it holds one mark for each model")
    return np.concatenate([block.ravel() for block in rows.blocks(2**20)]).astype(bool)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BankError(f"{path} cannot be read as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(found, dict) or "num_subsets" not in found and found.get("mode") == "lds":
        raise BankError(f"{path} is no metadata of dattri: it lacks num_subsets")
    return found
