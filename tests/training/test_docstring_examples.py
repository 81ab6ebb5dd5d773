"""The examples in the docstrings of training run and print what they show."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from types import ModuleType

import pytest

import training

MODULES = sorted(found.name for found in pkgutil.walk_packages(training.__path__, "training."))


@pytest.mark.parametrize("name", ["training", *MODULES])
def test_the_examples_of_a_module_print_what_they_show(name: str) -> None:
    module = importlib.import_module(name)
    failed, _ = doctest.testmod(module)
    assert failed == 0


def sections(written: str) -> set[str]:
    lines = written.splitlines()
    return {a.strip() for a, b in zip(lines, lines[1:], strict=False) if b.strip() and set(b.strip()) == {"-"}}


@pytest.mark.parametrize("name", [name for name in training.__all__ if callable(getattr(training, name))])
def test_every_public_function_and_class_has_sections_and_an_example(name: str) -> None:
    found = getattr(training, name)
    written = inspect.getdoc(found) or ""
    if inspect.isclass(found) and issubclass(found, Exception):
        return
    assert "Parameters" in sections(written) and ">>> " in written
    names = {line.split(" : ")[0] for line in written.splitlines() if " : " in line and not line.startswith(" ")}
    documented = {one.strip() for listed in names for one in listed.split(",")}
    assert set(inspect.signature(found).parameters) <= documented


def test_every_module_with_public_names_was_imported() -> None:
    assert len(MODULES) > 25 and isinstance(importlib.import_module(MODULES[0]), ModuleType)
