"""The recipes in conf/ and the ones the training package offers are the same."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from conf.compose import compose
from training import RECIPES


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_of_the_configuration_is_the_library_s(name: str) -> None:
    configured = compose("quickstart", [f"recipe={name}"]).recipe.model_dump()
    offered = asdict(RECIPES[name])
    offered.pop("nominal_alpha")  # the sampler's alpha, filled in by the retrain stage
    assert configured == offered
