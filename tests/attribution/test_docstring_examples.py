"""The examples in the package's docstrings are run, and give what they print."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import attribution

MODULES = sorted(module.name for module in pkgutil.walk_packages(attribution.__path__, "attribution."))
# Public classes that a reader meets first; each has an example.
WITH_EXAMPLE = {
    "attribution.fourier.spectrum": "Spectrum",
    "attribution.proxy.boosted_trees": "BoosterSettings",
    "attribution.proxy.forest": "Forest",
    "attribution.proxy.fit": "Proxy",
    "attribution.statistics.empirical_bayes": "EffectPrior",
    "attribution.statistics.false_discovery": "QValues",
    "attribution.statistics.variance_by_order": "OrderWeights",
    "attribution.masks.running_variance": "RunningVariance",
    "attribution.masks.row_groups": "RowGroups",
}


@pytest.mark.parametrize("name", ["attribution", *MODULES])
def test_examples_give_what_they_print(name: str) -> None:
    tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried.failed == 0


@pytest.mark.parametrize(("module", "name"), WITH_EXAMPLE.items())
def test_public_classes_show_an_example(module: str, name: str) -> None:
    documented = getattr(importlib.import_module(module), name)
    examples = doctest.DocTestFinder(recurse=False).find(documented, name)
    assert sum(len(example.examples) for example in examples) > 0
