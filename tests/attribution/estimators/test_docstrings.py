"""Docstrings of estimators list every parameter, every fitted attribute, when to use them, and an example."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pandas as pd
import pytest

from attribution import SPEX, SpexDesign, estimators
from tests.attribution.estimators.test_bad_input import campaign

CLASSES = [getattr(estimators, name) for name in estimators.__all__]


def documented(estimator: type, section: str) -> set[str]:
    """Names listed in a numpydoc section of the class: `name : type`, several of one type separated by commas."""
    text = inspect.getdoc(estimator) or ""
    found = re.search(rf"^{section}\n-+\n(.*?)(?=^\w[\w ]*\n---|\Z)", text, flags=re.MULTILINE | re.DOTALL)
    assert found, f"{estimator.__name__} has no section {section}"
    names = re.findall(r"^(\w+(?:, \w+)*) :", found[1], flags=re.MULTILINE)
    return {name for listed in names for name in listed.split(", ")}


@pytest.mark.parametrize("estimator", CLASSES)
def test_every_parameter_is_documented(estimator: type) -> None:
    assert documented(estimator, "Parameters") == set(inspect.signature(estimator).parameters)


@pytest.mark.parametrize("estimator", CLASSES)
def test_every_fitted_attribute_is_documented(estimator: type) -> None:
    masks, outputs = campaign()
    if estimator is SPEX:
        design = SpexDesign(12, n_bits=3, max_order=2)
        fitted = vars(SPEX(design).fit(design.masks(), np.arange(design.n_masks) % 7.0))
    else:
        fitted = vars(estimator().fit(pd.DataFrame(masks).add_prefix("player "), outputs))
    assert documented(estimator, "Attributes") == {name for name in fitted if re.fullmatch(r"[^_]\w*_", name)}


@pytest.mark.parametrize("estimator", CLASSES)
def test_a_docstring_has_an_example_and_says_when_not_to_use_the_class(estimator: type) -> None:
    text = inspect.getdoc(estimator) or ""
    assert ">>> " in text
    assert "**When not to use it.**" in text
