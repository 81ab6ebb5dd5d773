"""One fixed model as a game: players are regions of its images, or its components; an evaluation is inference.

Both are deterministic: a mask has one output, there are no replicates and no noise ceiling, and seeds are not used.
Intervals and tests then speak of the masks that were drawn, and of nothing else.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ablation import AblationError, ComponentGame, PatchGame
from conf.schema import CampaignConfig
from flows.errors import CoterieError
from flows.games.base import Evaluation, text_picture
from flows.games.retraining import resolve_device
from flows.games.trainer import own_code
from flows.store import schemas
from flows.store.examples import png

# What is explained where no model is named.
MODELS = {
    "patches": "flows.lenses.digits:resnet",
    "channels": "flows.lenses.digits:resnet",
    "blocks": "flows.lenses.digits:resnet",
    "heads": "flows.lenses.digits:transformer",
}
# What the report calls players and targets.
WORDS = {
    "patches": {
        "training picture": "region",
        "training example": "region",
        "test picture": "image",
        "audit picture": "unseen image",
    },
    "components": {
        "training picture": "component",
        "training example": "component",
        "test picture": "image",
        "audit picture": "unseen image",
    },
}
IMAGE_NAMES = {"target": "image", "audit": "unseen image"}
PICTURE = 64  # pixels of the longer side of a player's picture


class LensError(CoterieError):
    """A model, an image or a setting that the lens cannot use.

    Attributes
    ----------
    exit_code : int
        2.
    """

    exit_code = 2


@dataclass(frozen=True)
class Lens:
    """Regions of images or components of a network as players; targets are the images.

    Parameters
    ----------
    kind
        `patches` or `components`.
    game
        Evaluates masks; it holds the model and the targets' images.
    model
        What made them, package.module:function.
    output
        What is read off the logits.
    labels, audit_images, audit_labels
        Classes of the targets; images that no fit and no decision uses.
    settings
        The part of the configuration that shapes the game, for the identity.
    """

    kind: str
    game: PatchGame | ComponentGame
    model: str
    output: str
    labels: np.ndarray
    audit_images: np.ndarray
    audit_labels: np.ndarray
    settings: dict[str, Any] = field(default_factory=dict)

    deterministic = True

    @property
    def name(self) -> str:
        return f"{self.kind} of {self.model}"

    @property
    def player_names(self) -> tuple[str, ...]:
        if isinstance(self.game, ComponentGame):
            return tuple(player.name for player in self.game.players)
        return tuple(f"region {number}" for number in range(self.game.n_players))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The model's classes by number, then the name of none, which players have."""
        return (*map(str, range(self._n_classes)), "")

    @property
    def _n_classes(self) -> int:
        return int(self.game.fixed.logits.shape[1])

    @property
    def n_players(self) -> int:
        return self.game.n_players

    @property
    def n_targets(self) -> int:
        return self.game.n_images

    @property
    def n_audit(self) -> int:
        return len(self.audit_labels)

    @property
    def facts(self) -> dict[str, Any]:
        """What campaign.json keeps for the report: the game, that outputs are exact, regions or layers."""
        shown: dict[str, Any] = {"game": self.kind, "deterministic": True, "words": WORDS[self.kind]}
        if isinstance(self.game, PatchGame):
            shown["region_maps"] = self.game.maps.tolist()
        else:
            shown["layers"] = [
                {"layer": player.layer, "index": player.index, "depth": player.depth} for player in self.game.players
            ]
            shown["refused"] = self.game.refused
        return shown

    @cached_property
    def _identity(self) -> dict[str, Any]:
        digest = hashlib.sha256()
        for name, value in sorted(self.game.fixed.model.state_dict().items()):
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        digest.update(self.game.fixed.images.cpu().numpy().tobytes() + self.labels.tobytes())
        digest.update(self.audit_images.tobytes() + self.audit_labels.tobytes())
        return {"game": self.kind, "game.model": self.model, "game.weights_and_images": digest.hexdigest()[:32]} | {
            f"game.{key}": value for key, value in self.settings.items()
        }

    def identity(self) -> dict[str, Any]:
        """Return the model's name, a digest of its weights and images, and the settings of the lens."""
        return self._identity

    def examples(self) -> pa.Table:
        """Return a row for every player, target and audit image, with its picture."""
        images = self.game.fixed.images.cpu().numpy()
        low, high = float(images.min()), float(images.max())
        names = self.class_names
        rows: list[dict[str, Any]] = []
        for number, name in enumerate(self.player_names):
            row = {"split": "train", "position": number, "name": name, "player": number}
            row["label"] = self._n_classes
            rows.append({**row, "class_name": names[-1], "image": self._picture(number)})
        parts = (("target", images, self.labels), ("audit", self.audit_images, self.audit_labels))
        for split, pictures, labels in parts:
            for number, (image, label) in enumerate(zip(pictures, labels.tolist(), strict=True)):
                row = {"split": split, "position": number, "label": label, "player": -1}
                row["name"] = f"{IMAGE_NAMES[split]} {number}"
                rows.append({**row, "class_name": names[label], "image": png(_shown(image, low, high))})
        columns = {name: [row.get(name) for row in rows] for name in schemas.EXAMPLES.names}
        columns["source_index"] = [row["position"] for row in rows]
        return pa.table(columns, schema=schemas.EXAMPLES)

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        """Run the model on every image under every mask; seeds have no effect."""
        import torch

        torch.set_num_threads(1)
        began = time.perf_counter()
        outputs = self.game.evaluate(masks)
        seconds = (time.perf_counter() - began) / max(1, len(masks))
        device = self.game.fixed.device.type
        return Evaluation(
            outputs=outputs,
            status=["ok"] * len(masks),
            train_seconds=np.full(len(masks), seconds, np.float32),
            mode="inference",
            device=device,
            target_accuracy=(outputs > 0).mean(axis=1).astype(np.float32) if self.output == "margin_max" else None,
        )

    def _picture(self, number: int) -> bytes:
        """A region white on grey; of a component its name."""
        if isinstance(self.game, ComponentGame):
            player = self.game.players[number]
            before, _, last = player.layer.rpartition(".")
            index = "" if player.name == player.layer else f"[{player.index}]"
            return text_picture("\n".join(filter(None, (before, last, index))))
        here = self.game.maps[0] == number
        scale = max(1, PICTURE // max(here.shape))
        shown = np.where(here, 255, 90).astype(np.uint8).repeat(scale, axis=0).repeat(scale, axis=1)
        return png(shown[..., None])


def from_config(config: CampaignConfig) -> Lens:
    """Make the game of a configuration.

    Parameters
    ----------
    config
        Its section `game`; the device comes from `compute`.

    Returns
    -------
    Lens

    Raises
    ------
    LensError
        For a model, images or settings that cannot be used.
    OwnCodeError
        When the model's function cannot be found, imported or called.
    NotNamed
        When only a campaign's folder names it.
    """
    settings = config.game
    reference = model_of(config)
    make = own_code.load(reference, "game.model", own_code.search_folders([reference]))
    own_code.check_arguments(make, "game.model", reference, ())
    made = make()
    if not isinstance(made, tuple) or len(made) != 3:
        raise LensError(f"{reference} must return (module, images, labels); it returned {type(made).__name__}")
    model, images, labels = made
    images, labels = np.asarray(images, dtype=np.float32), np.asarray(labels, dtype=np.int64)
    n_images = min(settings.n_images, len(images))
    audit = slice(n_images, min(len(images), n_images + settings.n_unseen))
    common: dict[str, Any] = {
        "output": settings.margin,
        "batch_size": settings.batch_size,
        "device": resolve_device(config.compute.device),
        "dtype": config.compute.arithmetic,
    }
    shaping: dict[str, Any]
    game: PatchGame | ComponentGame
    try:
        if settings.kind == "patches":
            shaping = {"regions": settings.regions, "fill": settings.fill}
            game = PatchGame(
                model, images[:n_images], labels[:n_images], regions=regions_of(settings.regions), fill=settings.fill,
                **common,
            )  # fmt: skip
        else:
            shaping = {
                "components": settings.components, "within": settings.within, "ablation": settings.ablation
            }  # fmt: skip
            given = settings.components
            game = ComponentGame(
                model, images[:n_images], labels[:n_images],
                components=given if isinstance(given, str) else list(given), within=settings.within,
                ablation=settings.ablation, **common,
            )  # fmt: skip
    except AblationError as error:
        raise LensError(f"game.model={reference}: {error}") from error
    return Lens(
        kind=settings.kind,
        game=game,
        model=reference,
        output=settings.margin,
        labels=labels[:n_images],
        audit_images=images[audit],
        audit_labels=labels[audit],
        settings={
            **{key: list(value) if isinstance(value, tuple) else value for key, value in shaping.items()},
            "margin": settings.margin,
        },
    )


def model_of(config: CampaignConfig) -> str:
    """Return the function that makes the model: the user's own, or the small one that ships for this kind of lens."""
    if config.game.model is not None:
        return config.game.model
    kind = config.game.components if config.game.kind == "components" else "patches"
    return MODELS.get(kind, MODELS["channels"]) if isinstance(kind, str) else MODELS["channels"]


def regions_of(text: str) -> Any:
    """Read game.regions: `4x4` for a grid, `16` for superpixels, the path of a .npy file for a map."""
    rows, cross, columns = text.partition("x")
    if cross and rows.isdigit() and columns.isdigit():
        return int(rows), int(columns)
    if text.isdigit():
        return int(text)
    if text.endswith(".npy") and Path(text).is_file():
        return np.load(text, allow_pickle=False)
    raise LensError(
        f"game.regions={text!r} is no grid (4x4), no number of superpixels (16) and no .npy file of a region map"
    )


def _shown(image: np.ndarray, low: float, high: float) -> np.ndarray:
    """An image (channels, h, w) as uint8 (h, w, 1 or 3), its values stretched over the range of all."""
    stretched = (image - low) / max(high - low, 1e-12) * 255
    shown = np.moveaxis(stretched.clip(0, 255).astype(np.uint8), 0, -1)
    shown = shown if shown.shape[-1] in (1, 3) else shown[..., :1]
    scale = max(1, PICTURE // max(shown.shape[:2]))
    return shown.repeat(scale, axis=0).repeat(scale, axis=1)
