"""Pictures of players and targets, with the names their owner knows them by.

Each image is inlined once: as an SVG symbol where the page draws it itself, else in the data of the page's script.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from attribution.analysis.target_ids import class_of_mean, is_single
from flows.errors import StoreError
from flows.reporting.wording import Wording

MAX_SIDE = 96  # pixels; larger images are reduced, thumbnails are never shown larger than twice this
MANY, SIDE_OF_MANY = 1500, 64  # of more images than this, thumbnails are smaller: 6,000 of them take about 10 MB
LOSSLESS_UP_TO = 24  # pixels; WebP's header outweighs what it saves on smaller images
SMOOTH_FROM = 48  # pixels; below, the pixels themselves are the picture and are kept sharp
MEMBERS_SHOWN = 4  # images of a group that are drawn
SHEET_SHOWN = 24  # images of a group on its contact sheet


@dataclass(frozen=True)
class Picture:
    """A player or a target as it is drawn: up to four images, and how many more there are."""

    symbols: tuple[str, ...]
    more: int
    name: str  # the file's name where the data set has one
    class_name: str
    alt: str
    rows: tuple[int, ...] = ()  # of the examples table, of the images shown
    text: str = ""  # what stands where a picture would be
    sheet: tuple[int, ...] = ()  # of the examples table, of a group's contact sheet
    size: int = 1  # images of a player

    @property
    def short(self) -> str:
        """The last part of a path, for captions."""
        return self.name.rstrip("/").rpartition("/")[2] or self.name


class Gallery:
    """Images of a campaign's `examples` table by player and by target; remembers which were asked for."""

    def __init__(
        self,
        examples: pa.Table,
        class_names: Sequence[str],
        words: Wording = Wording(),
        typical: Sequence[int] = (),
    ) -> None:
        self._words = words
        self._fallback = "example" if words.words else "image"  # of what has no name
        self._has_image = examples["image"].is_valid().to_pylist()
        self._texts = examples["text"].to_pylist() if "text" in examples.column_names else [None] * len(examples)
        columns = {name: examples[name].to_pylist() for name in ("split", "position", "label", "player")}
        self._images = examples["image"]
        self._labels = columns["label"]
        self._splits = columns["split"]
        self._names, self._groups = examples["name"].to_pylist(), examples["group"].to_pylist()
        self._side = MAX_SIDE if examples.num_rows <= MANY else SIDE_OF_MANY
        # The one class of a game without classes has no name that a reader would want.
        self._class_names = [""] if list(class_names) == ["all"] else list(class_names)
        self._players: dict[int, list[int]] = {}
        self._targets: dict[int, int] = {}
        for row, (split, position, player) in enumerate(
            zip(columns["split"], columns["position"], columns["player"], strict=True)
        ):
            if split == "train" and player is not None and player >= 0:
                self._players.setdefault(player, []).append(row)
            elif split == "target":
                self._targets[position] = row
        typical_rows = set(typical)
        first = {player: row for player, rows in self._players.items() for row in rows if row in typical_rows}
        for player, row in first.items():  # a group is shown by its medoid
            self._players[player] = [row, *(other for other in self._players[player] if other != row)]
        self.has_groups = any(len(rows) > 1 for rows in self._players.values())
        self._symbols: dict[str, Markup] = {}

    def class_name(self, label: int) -> str:
        """The name of a class; its number when it has none."""
        return str(self._class_names[label]) if 0 <= label < len(self._class_names) else str(label)

    def player(self, player: int, drawn: bool = True) -> Picture:
        """A player: its image, or a mosaic of the first four of a group. drawn: inline its images as symbols."""
        rows = self._players.get(player, [])
        classes = sorted({self._labels[row] for row in rows})
        class_name = (
            self.class_name(classes[0]) if len(classes) == 1 else f"{len(classes)} classes" if classes else ""
        )
        named = self._groups[rows[0]] or self._names[rows[0]] if rows else None
        name = str(named or f"{self._fallback} {player}")
        noun = self._words("training picture")
        is_group = len(rows) > 1 or (self.has_groups and not rows)
        kind = f"{name}, a group of {len(rows)} {noun}s" if is_group else f"{noun} {name}"
        shown = tuple(row for row in rows if self._has_image[row])[:MEMBERS_SHOWN]
        return Picture(
            tuple(map(self._symbol, shown)) if drawn else (),
            max(0, len(rows) - MEMBERS_SHOWN) if shown else 0,
            name,
            class_name,
            f"{kind}, class {class_name}" if class_name else kind,
            shown,
            "" if shown else self._text(rows),
            tuple(row for row in rows if self._has_image[row])[:SHEET_SHOWN] if len(rows) > MEMBERS_SHOWN else (),
            len(rows),
        )

    def _text(self, rows: Sequence[int]) -> str:
        """What stands where a picture would be: a row's text, or the names of the first rows of several."""
        if len(rows) == 1:
            return str(self._texts[rows[0]] or self._names[rows[0]])
        named = [str(self._names[row]) for row in rows[:MEMBERS_SHOWN]]
        return ", ".join(named + ([f"and {len(rows) - MEMBERS_SHOWN} more"] if len(rows) > MEMBERS_SHOWN else []))

    def target(self, target: int, drawn: bool = True) -> Picture:
        """A test picture, or for a mean target (negative ids) a mosaic of pictures that enter the mean."""
        if is_single(target):
            row = self._targets.get(target)
            meant = [] if row is None else [row]
            class_name = "" if row is None else self.class_name(self._labels[row])
            noun = self._words("test picture")
            name = str((None if row is None else self._names[row]) or f"test {self._fallback} {target}")
            alt = f"{noun} {name}, class {class_name}" if class_name else f"{noun} {name}"
        elif (label := class_of_mean(target)) is None:
            meant = self._round_of_classes()
            name, class_name = self._words("Mean of all test pictures"), "all classes"
            alt = self._words("four of the test pictures, of different classes")
        else:
            class_name = self.class_name(label)
            meant = [row for _, row in sorted(self._targets.items()) if self._labels[row] == label]
            name, alt = "Mean of a class", f"{self._words('test pictures')} of class {class_name}"
        shown = tuple(row for row in meant if self._has_image[row])[:MEMBERS_SHOWN]
        text = "" if shown else self._text(meant)
        return Picture(tuple(map(self._symbol, shown)) if drawn else (), 0, name, class_name, alt, shown, text)

    def uri(self, row: int) -> str:
        """The image of a row of the examples table, as a data URI."""
        return _encode(self._images[row].as_py(), row, self._side)[0]

    def is_drawn(self, row: int) -> bool:
        """Whether the page holds this image as a symbol."""
        return f"x{row}" in self._symbols

    def _round_of_classes(self) -> list[int]:
        """Targets by turns: one of each class, then a second of each, and so on."""
        seen: Counter[int] = Counter()
        ranked = []
        for _, row in sorted(self._targets.items()):
            ranked.append((seen[self._labels[row]], self._labels[row], row))
            seen[self._labels[row]] += 1
        return [row for _, _, row in sorted(ranked)]

    def _symbol(self, row: int) -> str:
        name = f"x{row}"
        if name not in self._symbols:
            uri, width, height, smooth = _encode(self._images[row].as_py(), row, self._side)
            self._symbols[name] = Markup(
                '<symbol id="{}" viewBox="0 0 {} {}"><image width="{}" height="{}"{} href="{}"/></symbol>'
            ).format(name, width, height, width, height, Markup(' class="smooth"') if smooth else "", uri)
        return name

    @property
    def symbols(self) -> list[Markup]:
        """One symbol for each image that was asked for."""
        return list(self._symbols.values())


def _encode(content: Any, row: int, side: int = MAX_SIDE) -> tuple[str, int, int, bool]:
    """(data URI, width, height, smooth) of an image, reduced to `side`. Raises StoreError if broken."""
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
    if max(image.size) > side:
        image = image.copy()
        image.thumbnail((side, side))
    packed = io.BytesIO()
    kind = "PNG" if max(image.size) <= LOSSLESS_UP_TO else "WebP"
    image.save(packed, kind, **({"optimize": True} if kind == "PNG" else {"quality": 82, "method": 3}))
    uri = f"data:image/{kind.lower()};base64," + base64.b64encode(packed.getvalue()).decode("ascii")
    return uri, image.width, image.height, max(image.size) >= SMOOTH_FROM
