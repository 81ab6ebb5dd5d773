"""The pictures of an export: as their owner keeps them where the source can be read, else as the campaign has them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from flows.errors import IncompleteCampaign
from flows.store.campaign import Campaign
from flows.store.configuration import kept_configuration
from training.data.dataset import SourceOptions
from training.data.pictures import decode
from training.data.sources import read_originals
from training.errors import TrainingInputError

# How an encoded picture begins, and the suffix of its file.
_SUFFIXES = ((b"\x89PNG", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"), (b"RIFF", ".webp"))
_COUNTED = {
    "image_folder": "the pictures of the training folder, from 0, class by class in text order of the paths below it, "
    "without hidden files and files that are no pictures. Other loaders count other files (torchvision's ImageFolder "
    "no .gif, .jfif or files without a suffix): select by `names` there, which are paths below dataset.path: "
    "[at for at, (path, _) in enumerate(folder.samples) if os.path.relpath(path, PATH) in set(names)]",
    "parquet": "the rows of the training files, from 0, one file after the other in order of their paths",
    "none": "the rows of the table of players, from 0",
}
_OTHERS = "the rows of the source's training images, from 0"


@dataclass(frozen=True)
class Pictures:
    """Encoded pictures.

    Attributes
    ----------
    content : tuple of bytes
    suffixes : tuple of str
        File suffix of each picture.
    size : (int, int) or None
    sentence : str or None
        About their size, where it is not the source's.
    """

    content: tuple[bytes, ...]
    suffixes: tuple[str, ...]
    size: tuple[int, int] | None
    sentence: str | None


def what_is_counted(campaign: Campaign) -> str:
    """Write in words what the campaign's source_index counts.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    str
    """
    source = _dataset(campaign).get("source")
    return _COUNTED.get(str(source), _OTHERS)


def pictures_of(campaign: Campaign, examples: Sequence[dict[str, Any]]) -> Pictures:
    """Find the pictures of training examples in the source, and the campaign's own where they are not there.

    Parameters
    ----------
    campaign : Campaign
    examples : sequence of dict
        Rows of the `examples` table.

    Returns
    -------
    Pictures
        An original is taken where reducing it gives exactly the picture that the campaign trained on. `size` and
        `sentence` are None where all pictures are originals, or the campaign reduced none.
    """
    chosen = _dataset(campaign)
    stored = [row["image"] for row in examples]
    reason = "the source keeps no files of single pictures"
    originals: list[bytes | None] = [None] * len(stored)
    image_size = chosen.get("image_size")
    if chosen.get("path") is not None:
        options = SourceOptions(
            path=Path(chosen["path"]), image_size=image_size, label_column=chosen.get("label_column")
        )
        rows, names = [row["source_index"] for row in examples], [row["name"] for row in examples]
        try:
            originals = read_originals(chosen["source"], options, rows, names)
        except (TrainingInputError, OSError, pa.ArrowException) as error:
            reason = str(error).rstrip(".")
        else:
            reason = "the source does not hold them (they were planted, moved or changed)" if any(originals) else reason
    taken = [
        original if original is not None and _reduces_to(original, own, image_size) else None
        for original, own in zip(originals, stored, strict=True)
    ]
    content = tuple(own if one is None else one for one, own in zip(taken, stored, strict=True))
    reduced = [own for one, own in zip(taken, stored, strict=True) if one is None]
    if not reduced or image_size is None:
        return Pictures(content, tuple(map(_suffix, content)), None, None)
    height, width = decode(reduced[0], "a picture of the campaign").shape[:2]
    how_many = "The pictures are" if len(reduced) == len(stored) else f"{len(reduced)} of {len(stored)} pictures are"
    sentence = (
        f"{how_many} {height} x {width} pixels, reduced for the campaign (dataset.image_size), and not the originals: "
        f"{reason}."
    )
    return Pictures(content, tuple(map(_suffix, content)), (height, width), sentence)


def _dataset(campaign: Campaign) -> dict[str, Any]:
    """The data set section of the campaign's configuration; empty where the folder holds none."""
    try:
        return dict(kept_configuration(campaign, str(campaign.folder)).get("dataset") or {})
    except IncompleteCampaign:
        return {key.removeprefix("dataset."): value for key, value in campaign.meta.identity.items()}


def _reduces_to(original: bytes, stored: bytes, image_size: int | None) -> bool:
    """Whether a picture is the one that the campaign has, once it is reduced."""
    try:
        found = decode(original, "the original", image_size)
    except TrainingInputError:
        return False  # another file stands in its place: the campaign's picture is used, and its size reported
    own = decode(stored, "the campaign's picture")
    return found.shape[:2] == own.shape[:2] and bool((found == own).all())


def _suffix(content: bytes | None) -> str:
    """A file suffix by how the content begins; empty where a row has no picture."""
    return next((suffix for beginning, suffix in _SUFFIXES if (content or b"").startswith(beginning)), "")
