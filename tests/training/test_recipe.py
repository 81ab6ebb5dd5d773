"""A recipe says how many steps there are, at which rates, and refuses what cannot be trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from training import RECIPES, Recipe, TrainingInputError
from training.recipe import recipe_settings


def test_steps_are_those_of_a_training_set_of_the_nominal_size():
    recipe = Recipe(batch_size=25, epochs=15, nominal_alpha=0.5)
    assert recipe.steps(200) == 60
    assert recipe.steps(1) == 1


@pytest.mark.parametrize("n_steps", [1, 2, 7, 60, 1_171])
@pytest.mark.parametrize("warmup_fraction", [0.0, 0.2, 1.0])
def test_the_rate_rises_to_its_peak_once_and_falls_towards_zero(n_steps, warmup_fraction):
    recipe = Recipe(learning_rate=0.4, warmup_fraction=warmup_fraction)
    rates = np.array(recipe.learning_rates(n_steps))
    assert len(rates) == n_steps
    assert (rates > 0).all() and rates.max() <= 0.4
    top = rates.argmax()
    assert (np.diff(rates[: top + 1]) >= 0).all() and (np.diff(rates[top:]) <= 0).all()
    if n_steps >= 60:
        assert rates.max() > 0.98 * 0.4
        assert abs(top / n_steps - warmup_fraction) < 0.02
        assert abs(rates.mean() - 0.2) < 0.01


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("architecture", "vit", "recipe.architecture must be one of resnet, resnet9; got 'vit'"),
        ("output", "margin", "recipe.output must be one of margin_lse, margin_max"),
        ("width", 0, "recipe.width must be a whole number of at least 1; got 0"),
        ("batch_size", 1, "recipe.batch_size must be a whole number of at least 2"),
        ("epochs", 0, "recipe.epochs must lie in (0, inf]; got 0"),
        ("learning_rate", float("nan"), "recipe.learning_rate"),
        ("momentum", 1.0, "recipe.momentum must lie in [0, 1); got 1.0"),
        ("label_smoothing", -0.1, "recipe.label_smoothing must lie in [0, 1]; got -0.1"),
        ("nominal_alpha", 0.0, "recipe.nominal_alpha must lie in (0, 1]"),
        ("crop_padding", -1, "recipe.crop_padding"),
    ],
)
def test_values_out_of_range_are_named(field, value, said):
    with pytest.raises(TrainingInputError) as raised:
        Recipe(**{field: value})
    assert said in str(raised.value)


def test_the_docstring_has_every_setting_with_its_description():
    written = " ".join(Recipe.__doc__.split())
    for field in dataclasses.fields(Recipe):
        assert f"{field.name} : {field.type} {recipe_settings()[field.name].description}" in written


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_survives_the_way_through_a_configuration_file(name):
    assert Recipe(**dataclasses.asdict(RECIPES[name])) == RECIPES[name]


def test_resnet9_carries_the_numbers_of_datamodels():
    """MadryLab/datamodels, examples/cifar10/train_cifar.py."""
    recipe = RECIPES["resnet9"]
    assert (recipe.architecture, recipe.width, recipe.batch_size, recipe.epochs) == ("resnet9", 64, 512, 24)
    assert (recipe.learning_rate, recipe.momentum, recipe.nesterov) == (0.5, 0.9, False)
    assert (recipe.weight_decay, recipe.label_smoothing) == (5e-4, 0.1)
    assert recipe.warmup_fraction == pytest.approx(5 / 24)
    assert (recipe.flip, recipe.crop_padding, recipe.cutout, recipe.flip_at_test) == (True, 2, 4, True)
    assert recipe.output == "margin_max"
