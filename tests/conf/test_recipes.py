"""Values that conf/ and the packages it may not import share are the same: recipes, the largest order."""

from __future__ import annotations

from dataclasses import asdict

import pytest

import conf.schema
from attribution.experiments import factorial
from attribution.interactions import setup
from conf.compose import compose
from training import RECIPES


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_of_the_configuration_is_the_library_s(name: str) -> None:
    configured = compose("quickstart", [f"recipe={name}"]).recipe.model_dump()
    offered = asdict(RECIPES[name])
    offered.pop("nominal_alpha")  # the sampler's alpha, filled in by the retrain stage
    assert configured == offered


def test_a_campaign_an_estimator_and_an_experiment_share_their_largest_order() -> None:
    """Every set that an attribution may report can then be certified."""
    assert conf.schema.MAX_ORDER == setup.MAX_ORDER == factorial.MAX_ORDER
