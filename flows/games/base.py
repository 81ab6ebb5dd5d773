"""The contract between a campaign and what it evaluates: players, targets, and outputs of masks.

plan, retrain, attribute and audit know a game by `Game` alone. A game travels to the nodes once, by pickling, and
evaluates a shard of masks at a time there; this module and every game import neither Ray nor Prefect.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import pyarrow as pa

from training.data.inspection import Finding


@dataclass(frozen=True)
class Evaluation:
    """Outputs of a few masks, in the order of the masks.

    Parameters
    ----------
    outputs
        (n_masks, n_targets) float32; rows that are not ok are not read.
    status
        (n_masks,) `ok`; `diverged` where an evaluation has no number; `failed` where it raised: the next run tries it
        again.
    train_seconds
        (n_masks,) float32, wall time of one evaluation in seconds.
    mode, device
        How and where the masks were evaluated, recorded with every row.
    ensemble_size
        Masks evaluated together, one number or (n_masks,) int32.
    train_accuracy, target_accuracy, audit_accuracy
        (n_masks,) float32 in [0, 1], NaN where unknown; None for a game without classes to be right about.
        audit_accuracy of a trainer of the user's own is its score on audit rows.
    reasons
        (n_masks,) why a row is not ok, in one line; None where `diverged` says it all.
    logs
        (n_masks,) traceback of a failed row, else empty; None for a game whose evaluations fail only together.
    """

    outputs: np.ndarray
    status: Sequence[str]
    train_seconds: np.ndarray
    mode: str
    device: str
    ensemble_size: int | np.ndarray = 1
    train_accuracy: np.ndarray | None = None
    target_accuracy: np.ndarray | None = None
    audit_accuracy: np.ndarray | None = None
    reasons: Sequence[str] | None = None
    logs: Sequence[str] | None = None

    def columns(self) -> dict[str, Any]:
        """Return the columns of `flows.store.outputs_table`, with this machine's name."""
        unknown = np.full(len(self.outputs), np.nan, np.float32)
        accuracies = {
            "train_accuracy": self.train_accuracy,
            "target_accuracy": self.target_accuracy,
            "audit_accuracy": self.audit_accuracy,
        }
        return {
            "status": list(self.status),
            "outputs": self.outputs,
            **{name: unknown if value is None else value for name, value in accuracies.items()},
            "train_seconds": self.train_seconds,
            "ensemble_size": self.ensemble_size,
            "mode": self.mode,
            "device": self.device,
            "host": socket.gethostname(),
            **({} if self.reasons is None else {"reasons": list(self.reasons)}),
            **({} if self.logs is None else {"logs": list(self.logs)}),
        }


class Game(Protocol):
    """Players that a mask includes or leaves out, and targets whose outputs are recorded."""

    @property
    def name(self) -> str:
        """What a person calls it, for log lines."""
        ...

    @property
    def deterministic(self) -> bool:
        """True when a mask's outputs are a function of the mask alone, so that replicates are equal."""
        ...

    @property
    def player_names(self) -> tuple[str, ...]:
        """One name per player; a mask has as many columns."""
        ...

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes that labels of `examples` count in; one name where there are no classes."""
        ...

    @property
    def n_players(self) -> int:
        """Number of players."""
        ...

    @property
    def n_targets(self) -> int:
        """Number of targets: columns of the outputs."""
        ...

    @property
    def n_audit(self) -> int:
        """Number of audit examples, which no fit, choice or decision uses."""
        ...

    def identity(self) -> dict[str, Any]:
        """Return what makes two runs the same campaign, beside the configuration: plain JSON values by dotted key."""
        ...

    def examples(self) -> pa.Table:
        """Return the `examples` table: class, group and a picture for people, of every player and target."""
        ...

    def evaluate(self, masks: np.ndarray, seeds: Sequence[int]) -> Evaluation:
        """Evaluate masks on a node, as one task.

        Parameters
        ----------
        masks
            (n_masks, n_players) bool, True where a player is included.
        seeds
            (n_masks,) one seed per mask. Masks with one seed share all randomness.
        """
        ...


@runtime_checkable
class HasModes(Protocol):
    """A game with several execution modes of different speed. A campaign chooses one and keeps to it."""

    def network(self) -> str:
        """Name what the speed depends on: a campaign keeps one choice per name."""
        ...

    def calibrate(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Measure, on the node this runs on, which mode is the fastest."""
        ...

    def with_mode(self, mode: str, ensemble_size: int, threads: int) -> Self:
        """Return the same game with its execution mode set."""
        ...


@runtime_checkable
class HasFindings(Protocol):
    """A game on data of people, which can be inspected before anything is evaluated."""

    def findings(self) -> tuple[Finding, ...]:
        """Return what is wrong with the data, the gravest first."""
        ...


def text_picture(text: str) -> bytes:
    """Draw a text as a small grey PNG: the picture of a player or target that has none of its own."""
    import io

    from PIL import Image, ImageDraw

    left, top, right, bottom = ImageDraw.Draw(Image.new("L", (1, 1))).textbbox((0, 0), text)
    picture = Image.new("L", (int(right - left) + 4, int(bottom - top) + 4), 255)
    ImageDraw.Draw(picture).text((2 - left, 2 - top), text, fill=0)
    packed = io.BytesIO()
    picture.save(packed, format="PNG")
    return packed.getvalue()
