"""The campaign's images in its folder: the examples table, what was found in the data, and names and classes."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from flows.errors import StoreError
from flows.storage.files import read_json, write_json
from flows.store import schemas
from flows.store.campaign import Campaign
from training import Dataset
from training.data.inspection import Finding

INSPECTION = "inspection.json"


def inspect_examples(campaign: Campaign, find: Callable[[], tuple[Finding, ...]]) -> tuple[tuple[Finding, ...], bool]:
    """Inspect a campaign's data, once: `inspection.json` keeps the findings.

    Parameters
    ----------
    campaign : Campaign
        It exists, and this process holds its lock.
    find : callable
        Inspects the data (`training.data.inspection.inspect_dataset`).

    Returns
    -------
    findings : tuple of Finding
        The gravest first.
    new : bool
        Whether they were not there before.
    """
    kept = inspection(campaign)
    if kept is not None:
        return kept, False
    findings = find()
    write_json(campaign.folder / INSPECTION, {"findings": [asdict(finding) for finding in findings]})
    return findings, True


def inspection(campaign: Campaign) -> tuple[Finding, ...] | None:
    """Return what plan found out about the data, the gravest first (`training.data.inspection`).

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    tuple of Finding, or None
        None where the data have not been inspected: campaigns of earlier versions, until they are planned again.

    Raises
    ------
    StoreError
        For a file that cannot be read.
    """
    path = campaign.folder / INSPECTION
    if not path.is_file():
        return None
    try:
        found = [_finding(content) for content in read_json(path)["findings"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path} holds no findings ({error}). Remove it: planning again writes it") from error
    return tuple(found)


def leaked_positions(campaign: Campaign, split: str, also_in: str | None = None) -> set[int]:
    """Return the rows of a split whose pictures are in another split as well, by what plan found in the data.

    Parameters
    ----------
    campaign : Campaign
        Its `inspection.json` is what counts.
    split : {"train", "target", "audit"}
    also_in : {"train", "target", "audit"}, optional
        Only leaks that this split is part of; any other split by default.

    Returns
    -------
    set of int
    """
    return {
        position
        for finding in inspection(campaign) or ()
        if finding.kind == "leak" and (also_in is None or also_in in finding.splits)
        for found_in, position in zip(finding.splits, finding.positions, strict=True)
        if found_in == split
    }


def leaked_audit_sentence(campaign: Campaign) -> str:
    """Report how many audit examples are in training or among the targets as well; empty where none is known to be.

    Parameters
    ----------
    campaign : Campaign
        Its `inspection.json` is what counts.

    Returns
    -------
    str
    """
    leaked = leaked_positions(campaign, "audit")
    if not leaked:
        return ""
    verb = "is" if len(leaked) == 1 else "are"
    return (
        f"{len(leaked)} of the {campaign.meta.n_audit} audit examples {verb} also in training or among the targets "
        f"({INSPECTION} names them), so every accuracy on audit examples counts pictures that were not held back."
    )


def _finding(content: dict[str, Any]) -> Finding:
    """A finding out of JSON, which has lists for tuples."""
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in content.items()}
    return Finding(**values)


def examples_table(dataset: Dataset) -> pa.Table:
    """Make the `examples` table: every image once, as PNG, with its name, its label and its player.

    Parameters
    ----------
    dataset : Dataset

    Returns
    -------
    pyarrow.Table
        Rows of the splits train, target and audit, in this order.
    """
    parts = []
    for split, images in (("train", dataset.train), ("target", dataset.targets), ("audit", dataset.audit)):
        n_images = len(images)
        player = dataset.players if split == "train" else np.full(n_images, -1)
        names = images.names.tolist()
        owners = [dataset.player_names[number] for number in dataset.players] if split == "train" else names
        parts.append(
            pa.table(
                {
                    "split": [split] * n_images,
                    "position": np.arange(n_images, dtype=np.int32),
                    "name": names,
                    "group": [None if owner == name else owner for owner, name in zip(owners, names, strict=True)],
                    "source_index": images.source_index,
                    "source_id": pa.nulls(n_images, pa.int64()) if images.source_ids is None else images.source_ids,
                    "label": images.labels.astype(np.int32),
                    "class_name": [dataset.class_names[label] for label in images.labels],
                    "player": player.astype(np.int32),
                    "image": [png(image) for image in images.images],
                    "text": pa.nulls(n_images, pa.string()),
                },
                schema=schemas.EXAMPLES,
            )
        )
    return pa.concat_tables(parts)


def png(image: np.ndarray) -> bytes:
    """Encode an image as PNG.

    Parameters
    ----------
    image : (h, w, c) uint8
        c is 1 or 3.

    Returns
    -------
    bytes
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(buffer, format="PNG")
    return buffer.getvalue()


def player_names(campaign: Campaign) -> list[str]:
    """Return what the owner calls each player: the name of its group, or of its one example.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    list of str
        (n_players,), by player number.
    """
    table = campaign.read("examples", ["player", "name", "group"])
    names = [""] * campaign.n_players
    columns = (table[column].to_pylist() for column in ("player", "name", "group"))
    for player, name, group in zip(*columns, strict=True):
        if player >= 0:
            names[player] = name if group is None else group
    return names


def player_sizes(campaign: Campaign) -> np.ndarray:
    """Count the training examples of each player.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    (n_players,) int64
    """
    players = campaign.read("examples", ["player"])["player"].to_numpy()
    return np.bincount(players[players >= 0], minlength=campaign.n_players)


def target_names(campaign: Campaign) -> list[str]:
    """Return what the owner calls each target.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    list of str
        (n_targets,), by target number.
    """
    return example_names(campaign, "target")


def example_names(campaign: Campaign, split: str) -> list[str]:
    """Return what the owner calls each example of a split.

    Parameters
    ----------
    campaign : Campaign
    split : {"train", "target", "audit"}

    Returns
    -------
    list of str
        By position within the split.
    """
    table = campaign.read("examples", ["split", "position", "name"])
    columns = (table[column].to_pylist() for column in ("split", "position", "name"))
    named = {position: name for part, position, name in zip(*columns, strict=True) if part == split}
    return [named[position] for position in range(len(named))]


def example_texts(campaign: Campaign) -> dict[tuple[str, int], str]:
    """Return the texts that stand for examples without a picture.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    dict
        Text by ("train", player) where the player is one example, and by (split, position) of the other splits.
    """
    table = campaign.read("examples", ["split", "position", "player", "group", "text"]).to_pylist()
    return {
        (row["split"], row["player"] if row["split"] == "train" else row["position"]): " ".join(row["text"].split())
        for row in table
        if row["text"] and row["group"] is None
    }


def split_labels(campaign: Campaign, split: str) -> np.ndarray:
    """Return the class of each example of a split.

    Parameters
    ----------
    campaign : Campaign
    split : {"train", "target", "audit"}

    Returns
    -------
    (n,) int64
        Labels, by position within the split.
    """
    table = campaign.read("examples", ["split", "label"])
    wanted = np.asarray(table["split"].to_numpy(zero_copy_only=False) == split)
    return table["label"].to_numpy()[wanted].astype(np.int64)


def target_classes(campaign: Campaign) -> np.ndarray:
    """Return the class of each target.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    (n_targets,) int64
        Labels, by target number.
    """
    return split_labels(campaign, "target")


def player_classes(campaign: Campaign) -> np.ndarray:
    """Return the class of each player.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    (n_players,) int64
        By player number; -1 for a group of several classes.
    """
    table = campaign.read("examples", ["player", "label"])
    players, labels = table["player"].to_numpy(), table["label"].to_numpy()
    classes = np.full(campaign.n_players, -2, np.int64)
    for player, label in zip(players, labels, strict=True):
        if player >= 0:
            classes[player] = label if classes[player] in (-2, label) else -1
    return classes
