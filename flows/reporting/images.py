"""Pictures of players and targets. Each image is inlined once, as an SVG symbol, and used by reference."""

from __future__ import annotations

import base64
import io
from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from flows.errors import StoreError

MAX_SIDE = 96  # pixels; larger images are reduced, thumbnails are never shown larger than twice this
SMOOTH_FROM = 48  # pixels; below, the pixels themselves are the picture and are kept sharp
MEMBERS_SHOWN = 4  # images of a group that stand for it


@dataclass(frozen=True)
class Picture:
    """What stands for a player or a target: up to four images, and how many more there are."""

    symbols: tuple[str, ...]
    more: int
    name: str
    class_name: str
    alt: str


class Gallery:
    """Images of a campaign's `examples` table by player and by target; remembers which were asked for."""

    def __init__(self, examples: pa.Table, class_names: list[str], player_names: list[str]) -> None:
        columns = {name: examples[name].to_pylist() for name in ("split", "position", "label", "player")}
        self._images = examples["image"]
        self._labels = columns["label"]
        self._class_names, self._player_names = class_names, player_names
        self._players: dict[int, list[int]] = {}
        self._targets: dict[int, int] = {}
        for row, (split, position, player) in enumerate(
            zip(columns["split"], columns["position"], columns["player"], strict=True)
        ):
            if split == "train" and player is not None and player >= 0:
                self._players.setdefault(player, []).append(row)
            elif split == "target":
                self._targets[position] = row
        self.has_groups = any(len(rows) > 1 for rows in self._players.values())
        self._symbols: dict[str, Markup] = {}

    def class_name(self, label: int) -> str:
        """The name of a class; its number when it has none."""
        return str(self._class_names[label]) if 0 <= label < len(self._class_names) else str(label)

    def player(self, player: int) -> Picture:
        """A player: its image, or a mosaic of the first four of a group."""
        rows = self._players.get(player, [])
        classes = sorted({self._labels[row] for row in rows})
        class_name = (
            self.class_name(classes[0]) if len(classes) == 1 else f"{len(classes)} classes" if classes else ""
        )
        given = str(self._player_names[player]) if player < len(self._player_names) else str(player)
        name = f"#{player}" if given == str(player) or not self.has_groups else given
        kind = (
            f"{given}, a group of {len(rows)} training examples"
            if self.has_groups
            else f"training example {player}"
        )
        return Picture(
            tuple(self._symbol(row) for row in rows[:MEMBERS_SHOWN]),
            max(0, len(rows) - MEMBERS_SHOWN),
            name,
            class_name,
            f"{kind}, class {class_name}",
        )

    def target(self, target: int) -> Picture:
        """A test example, or for an average over targets (negative ids) a mosaic of examples it averages."""
        if target >= 0:
            row = self._targets.get(target)
            name = self.class_name(self._labels[row]) if row is not None else ""
            symbols = () if row is None else (self._symbol(row),)
            return Picture(symbols, 0, f"Target {target}", name, f"test example {target}, class {name}")
        if target == -1:
            rows = self._round_of_classes()
            return Picture(
                tuple(self._symbol(row) for row in rows[:MEMBERS_SHOWN]),
                0,
                "Mean of all targets",
                "all classes",
                "test examples of different classes, standing for the mean of all targets",
            )
        name = self.class_name(-target - 2)
        rows = [row for _, row in sorted(self._targets.items()) if self._labels[row] == -target - 2]
        return Picture(
            tuple(self._symbol(row) for row in rows[:MEMBERS_SHOWN]),
            0,
            "Mean of a class",
            name,
            f"test examples of class {name}, standing for the mean of the class",
        )

    def _round_of_classes(self) -> list[int]:
        """Targets that stand for all: one of each class, then a second of each, and so on."""
        seen: Counter[int] = Counter()
        ranked = []
        for _, row in sorted(self._targets.items()):
            ranked.append((seen[self._labels[row]], self._labels[row], row))
            seen[self._labels[row]] += 1
        return [row for _, _, row in sorted(ranked)]

    def _symbol(self, row: int) -> str:
        name = f"x{row}"
        if name not in self._symbols:
            uri, width, height, smooth = _encode(self._images[row].as_py(), row)
            self._symbols[name] = Markup(
                '<symbol id="{}" viewBox="0 0 {} {}"><image width="{}" height="{}"{} href="{}"/></symbol>'
            ).format(name, width, height, width, height, Markup(' class="smooth"') if smooth else "", uri)
        return name

    @property
    def symbols(self) -> list[Markup]:
        """One symbol for each image that was asked for."""
        return list(self._symbols.values())


def _encode(content: Any, row: int) -> tuple[str, int, int, bool]:
    """(data URI, width, height, smooth) of an image, reduced to MAX_SIDE. Raises StoreError if broken."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content or b"")) as opened:
            image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
            image.load()
    except (OSError, ValueError) as error:
        raise StoreError(
            f"row {row} of examples.parquet holds no readable image ({error}). Running `coterie plan` with "
            "a new campaign.folder writes the images again"
        ) from error
    if max(image.size) > MAX_SIDE:
        image = image.copy()
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    uri = "data:image/png;base64," + base64.b64encode(packed.getvalue()).decode("ascii")
    return uri, image.width, image.height, max(image.size) >= SMOOTH_FROM
