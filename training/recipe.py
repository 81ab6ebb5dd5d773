"""How one model is trained: architecture, optimiser, schedule, augmentation, recorded output.

`Recipe` is the only definition of these settings. The recipe section of a configuration (`conf.schema.RecipeConfig`)
is made from its fields, so a new setting is one line here.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Any

from training.architectures import ARCHITECTURES
from training.errors import TrainingInputError

OUTPUTS = ("margin_lse", "margin_max")
BATCHINGS = ("packed", "slot_aligned")


@dataclass(frozen=True)
class Bounds:
    """An interval of numbers; `open_low` and `open_high` exclude its ends."""

    low: float
    high: float = math.inf
    open_low: bool = False
    open_high: bool = False

    def hold(self, value: float) -> bool:
        """Return whether the interval contains `value`."""
        above = value > self.low if self.open_low else value >= self.low
        below = value < self.high if self.open_high else value <= self.high
        return above and below

    def __str__(self) -> str:
        return ("(" if self.open_low else "[") + f"{self.low:g}, {self.high:g}" + (")" if self.open_high else "]")


@dataclass(frozen=True)
class Setting:
    """What is known of one field of `Recipe` beside its type and default.

    Parameters
    ----------
    description : str
        One sentence, shown by the configuration's forms and reference.
    choices : collection of str
        The values a text may have.
    bounds : Bounds, optional
        The values a number may have.
    configured : Bounds, optional
        The narrower interval that a configuration accepts, where it guards against slips; `bounds` otherwise.
    """

    description: str
    choices: Collection[str] = ()
    bounds: Bounds | None = None
    configured: Bounds | None = None

    @property
    def configured_bounds(self) -> Bounds | None:
        """The interval that a configuration accepts."""
        return self.configured or self.bounds


def _setting(
    default: Any,
    description: str,
    *,
    choices: Collection[str] = (),
    bounds: Bounds | None = None,
    configured: Bounds | None = None,
) -> Any:
    return field(default=default, metadata={"setting": Setting(description, choices, bounds, configured)})


SHARE = Bounds(0, 1)
BELOW_ONE = Bounds(0, 1, open_high=True)
POSITIVE = Bounds(0, open_low=True)


@dataclass(frozen=True)
class Recipe:
    """The settings of one training run. All of them are part of a campaign's identity.

    Parameters
    ----------
    architecture : str
        Network, by its name in `training.architectures.ARCHITECTURES`.
    width : int
        Channels of the first stage.
    blocks : int
        Residual blocks in each of the three stages.
    batch_size : int
        Examples in one optimiser step.
    epochs : float
        Passes over a training set of the expected size.
    nominal_alpha : float
        Share of the examples that a training set is expected to hold.
    learning_rate : float
        Peak of the one-cycle schedule.
    momentum : float
        Momentum of stochastic gradient descent.
    nesterov : bool
        Whether the momentum is Nesterov's.
    weight_decay : float
        L2 penalty on every parameter.
    warmup_fraction : float
        Share of the steps before the peak.
    label_smoothing : float
        Probability spread evenly over the classes in the loss.
    flip : bool
        Mirror training images at random.
    crop_padding : int
        Pixels of padding before a random crop.
    cutout : int
        Side of a square blanked out at random; 0 for none.
    flip_at_test : bool
        Average the logits over an image and its mirror.
    average_last : float
        Share of the steps at the end over which the weights are averaged.
    output : str
        What is recorded for each target: correct logit minus logsumexp, or max.
    batching : str
        Absent examples are left out and batches close up, or keep a slot of weight 0.

    Raises
    ------
    TrainingInputError
        For a value outside its bounds or choices; the message names the field, the value and what is allowed.

    Notes
    -----
    The number of steps follows from `batch_size`, `epochs`, `nominal_alpha` and the number of examples (`steps`). It
    does not depend on the size of a model's own subset. `training.engine.outputs`, `training.engine.averaging` and
    `training.engine.slots` define `output`, `average_last` and `batching`.

    Examples
    --------
    >>> recipe = Recipe(epochs=6, batch_size=10, learning_rate=0.1)
    >>> recipe.steps(n_examples=200)
    60
    >>> Recipe(momentum=1.0)
    Traceback (most recent call last):
    ...
    training.errors.TrainingInputError: recipe.momentum must lie in [0, 1); got 1.0.
    """

    architecture: str = _setting(
        "resnet", "Network, by its name in `training.architectures.ARCHITECTURES`.", choices=ARCHITECTURES
    )
    width: int = _setting(8, "Channels of the first stage.", bounds=Bounds(1), configured=Bounds(1, 1024))
    blocks: int = _setting(
        1, "Residual blocks in each of the three stages.", bounds=Bounds(1), configured=Bounds(1, 100)
    )
    batch_size: int = _setting(25, "Examples in one optimiser step.", bounds=Bounds(2))
    epochs: float = _setting(15.0, "Passes over a training set of the expected size.", bounds=POSITIVE)
    nominal_alpha: float = _setting(
        0.5, "Share of the examples that a training set is expected to hold.", bounds=Bounds(0, 1, open_low=True)
    )
    learning_rate: float = _setting(0.2, "Peak of the one-cycle schedule.", bounds=POSITIVE)
    momentum: float = _setting(0.9, "Momentum of stochastic gradient descent.", bounds=BELOW_ONE)
    nesterov: bool = _setting(True, "Whether the momentum is Nesterov's.")
    weight_decay: float = _setting(5e-4, "L2 penalty on every parameter.", bounds=Bounds(0))
    warmup_fraction: float = _setting(
        0.2, "Share of the steps before the peak.", bounds=SHARE, configured=BELOW_ONE
    )
    label_smoothing: float = _setting(
        0.0, "Probability spread evenly over the classes in the loss.", bounds=SHARE, configured=BELOW_ONE
    )
    flip: bool = _setting(False, "Mirror training images at random.")
    crop_padding: int = _setting(
        0, "Pixels of padding before a random crop.", bounds=Bounds(0), configured=Bounds(0, 64)
    )
    cutout: int = _setting(
        0, "Side of a square blanked out at random; 0 for none.", bounds=Bounds(0), configured=Bounds(0, 64)
    )
    flip_at_test: bool = _setting(False, "Average the logits over an image and its mirror.")
    average_last: float = _setting(
        0.0, "Share of the steps at the end over which the weights are averaged.", bounds=SHARE
    )
    output: str = _setting(
        "margin_lse",
        "What is recorded for each target: correct logit minus logsumexp, or max.",
        choices=OUTPUTS,
    )
    batching: str = _setting(
        "packed",
        "Absent examples are left out and batches close up, or keep a slot of weight 0.",
        choices=BATCHINGS,
    )

    def __post_init__(self) -> None:
        for found in fields(self):
            _check(found.name, getattr(self, found.name), found.metadata["setting"], whole=type(found.default) is int)

    def steps(self, n_examples: int) -> int:
        """Return the number of optimiser steps of every model, at least 1.

        Parameters
        ----------
        n_examples : int
            Examples of the full training set.

        Returns
        -------
        int
            round(epochs * nominal_alpha * n_examples / batch_size).
        """
        return max(1, round(self.epochs * self.nominal_alpha * n_examples / self.batch_size))

    def learning_rates(self, n_steps: int) -> list[float]:
        """Return the one-cycle schedule: linear up to the peak over the warm-up, then linear down towards zero.

        Parameters
        ----------
        n_steps : int
            Length of the schedule.

        Returns
        -------
        list of float
            One learning rate a step.

        Notes
        -----
        Step t takes the value at t + 1/2, so that neither the first nor the last step is wasted on a rate of
        zero. The triangle is Datamodels' (Ilyas et al. 2022, appendix on training).

        Examples
        --------
        >>> [round(rate, 3) for rate in Recipe(learning_rate=1.0, warmup_fraction=0.4).learning_rates(5)]
        [0.25, 0.75, 0.833, 0.5, 0.167]
        """
        peak = self.warmup_fraction * n_steps
        rates = []
        for step in range(n_steps):
            at = step + 0.5
            share = at / peak if at < peak else (n_steps - at) / max(n_steps - peak, 0.5)
            rates.append(self.learning_rate * min(1.0, share))
        return rates


def recipe_settings() -> dict[str, Setting]:
    """Return what is known of every field of `Recipe`, by name, in the order of the fields.

    Examples
    --------
    >>> recipe_settings()["momentum"].description
    'Momentum of stochastic gradient descent.'
    """
    return {found.name: found.metadata["setting"] for found in fields(Recipe)}


def _check(name: str, value: Any, setting: Setting, whole: bool) -> None:
    """Raise TrainingInputError for a value that the setting does not allow."""
    if setting.choices and value not in tuple(setting.choices):
        raise TrainingInputError(f"recipe.{name} must be one of {', '.join(setting.choices)}; got {value!r}.")
    if setting.bounds is None:
        return
    if whole:
        if isinstance(value, bool) or not isinstance(value, int) or not setting.bounds.hold(value):
            raise TrainingInputError(
                f"recipe.{name} must be a whole number of at least {setting.bounds.low:g}; got {value!r}."
            )
        return
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not setting.bounds.hold(value):
        raise TrainingInputError(f"recipe.{name} must lie in {setting.bounds}; got {value!r}.")


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
