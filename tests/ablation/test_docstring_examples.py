"""The examples in the docstrings of ablation run and print what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import ablation

MODULES = sorted(found.name for found in pkgutil.walk_packages(ablation.__path__, "ablation."))


@pytest.mark.parametrize("name", ["ablation", *MODULES])
def test_the_examples_of_a_module_print_what_they_show(name: str) -> None:
    failed, _ = doctest.testmod(importlib.import_module(name))
    assert failed == 0
