"""How one model is trained: architecture, optimiser, schedule, augmentation, recorded output."""

from __future__ import annotations

import math
from dataclasses import dataclass

from training.errors import TrainingInputError

ARCHITECTURES = ("resnet", "resnet9")
OUTPUTS = ("margin_lse", "margin_max")
BATCHINGS = ("packed", "slot_aligned")


@dataclass(frozen=True)
class Recipe:
    """One way of training. Everything here is part of a campaign's identity.

    - architecture: `resnet` (a stem and three stages of residual blocks) or `resnet9` (Datamodels').
    - width: channels of the first stage; each later stage doubles them. blocks: residual blocks per stage.
    - batch_size, epochs, nominal_alpha: together with the number of training examples they give the number of
      steps, which is the same for every member whatever the size of its own subset (`steps`).
    - learning_rate: the peak of the one-cycle schedule; warmup_fraction: the share of steps leading to it.
    - momentum, nesterov, weight_decay (on every parameter), label_smoothing.
    - flip: mirror training images at random. crop_padding: shift them by up to so many pixels. cutout: side
      of a square blanked out at a random place, 0 for none. flip_at_test: average logits over an image and
      its mirror.
    - average_last: share of the steps over whose end the weights are averaged (`training.engine.averaging`); 0: the
      last step's weights.
    - output: what is recorded of a target, see `training.engine.outputs`.
    - batching: how a masked order becomes batches. `packed`: absent examples are left out and later batches close up.
      `slot_aligned`: the full set's order is cut into slots, and absent examples weigh 0 (`training.engine.slots`).
    """

    architecture: str = "resnet"
    width: int = 8
    blocks: int = 1
    batch_size: int = 25
    epochs: float = 15.0
    nominal_alpha: float = 0.5
    learning_rate: float = 0.2
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    warmup_fraction: float = 0.2
    label_smoothing: float = 0.0
    flip: bool = False
    crop_padding: int = 0
    cutout: int = 0
    flip_at_test: bool = False
    average_last: float = 0.0
    output: str = "margin_lse"
    batching: str = "packed"

    def __post_init__(self) -> None:
        _one_of("architecture", self.architecture, ARCHITECTURES)
        _one_of("output", self.output, OUTPUTS)
        _one_of("batching", self.batching, BATCHINGS)
        _at_least("width", self.width, 1)
        _at_least("blocks", self.blocks, 1)
        _at_least("batch_size", self.batch_size, 2)
        _at_least("crop_padding", self.crop_padding, 0)
        _at_least("cutout", self.cutout, 0)
        _between("epochs", self.epochs, 0.0, math.inf, open_low=True)
        _between("nominal_alpha", self.nominal_alpha, 0.0, 1.0, open_low=True)
        _between("learning_rate", self.learning_rate, 0.0, math.inf, open_low=True)
        _between("momentum", self.momentum, 0.0, 1.0, open_high=True)
        _between("weight_decay", self.weight_decay, 0.0, math.inf)
        _between("warmup_fraction", self.warmup_fraction, 0.0, 1.0)
        _between("average_last", self.average_last, 0.0, 1.0)
        _between("label_smoothing", self.label_smoothing, 0.0, 1.0)

    def steps(self, n_examples: int) -> int:
        """Steps of every member: round(epochs * nominal_alpha * n_examples / batch_size), at least 1."""
        return max(1, round(self.epochs * self.nominal_alpha * n_examples / self.batch_size))

    def learning_rates(self, n_steps: int) -> list[float]:
        """One-cycle schedule: linear up to the peak over the warm-up, then linear down towards zero.

        Step t takes the value at t + 1/2, so that neither the first nor the last step is wasted on a rate of
        zero. The triangle is Datamodels' (Ilyas et al. 2022, appendix on training).
        """
        peak = self.warmup_fraction * n_steps
        rates = []
        for step in range(n_steps):
            at = step + 0.5
            share = at / peak if at < peak else (n_steps - at) / max(n_steps - peak, 0.5)
            rates.append(self.learning_rate * min(1.0, share))
        return rates


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise TrainingInputError(f"recipe.{name} must be one of {', '.join(choices)}; got {value!r}.")


def _at_least(name: str, value: int, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise TrainingInputError(f"recipe.{name} must be a whole number of at least {low}; got {value!r}.")


def _between(
    name: str, value: float, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not low <= value <= high or (open_low and value == low) or (open_high and value == high):
        brackets = ("(" if open_low else "[") + f"{low:g}, {high:g}" + (")" if open_high else "]")
        raise TrainingInputError(f"recipe.{name} must lie in {brackets}; got {value!r}.")


RECIPES: dict[str, Recipe] = {
    # 8x8 grey images, a few hundred of them: no augmentation. Against 15 epochs in batches of 25 (learning rate .2, the
    # last step's weights): the same accuracy (.87), a noise ceiling of .40 instead of .32 (median of 400 targets), two
    # thirds of the time, and a datamodel as good from a quarter of the masks (benchmarks/README.md).
    "digits": Recipe(epochs=6, batch_size=10, learning_rate=0.1, average_last=0.6),
    # Colour images of 16x16, two classes, a few hundred images. Shifts and decay raise the noise ceiling; twice the
    # width does too, at more than twice the cost. Small batches, a quarter of the epochs first used, averaged weights
    # and mirrored copies at test time together give a ceiling of .45 where that recipe had .43 (mean over 100 targets,
    # 96 masks) at the same accuracy, in a third of its time (benchmarks/README.md).
    "small16": Recipe(
        epochs=8,
        batch_size=10,
        learning_rate=0.1,
        average_last=0.5,
        flip=True,
        crop_padding=1,
        flip_at_test=True,
    ),
    # Colour images of 32x32, ten classes, about a thousand images.
    "small32": Recipe(width=16, batch_size=50, flip=True, crop_padding=4),
    # Datamodels' ResNet-9 for the full CIFAR-10 (MadryLab/datamodels, examples/cifar10/train_cifar.py). Theirs averages
    # logits over an image and its copy with channels reversed (`fliplr` on channels first); here over its mirror.
    "resnet9": Recipe(
        architecture="resnet9",
        width=64,
        batch_size=512,
        epochs=24,
        learning_rate=0.5,
        nesterov=False,
        warmup_fraction=5 / 24,
        label_smoothing=0.1,
        flip=True,
        crop_padding=2,
        cutout=4,
        flip_at_test=True,
        output="margin_max",
    ),
}
