"""The examples in the package's docstrings are run, and give what they print."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest

import attribution

MODULES = sorted(module.name for module in pkgutil.walk_packages(attribution.__path__, "attribution."))
FOLDERS = ("fourier", "linear", "masks", "proxy", "screening", "statistics")


@pytest.mark.parametrize("name", ["attribution", *MODULES])
def test_examples_give_what_they_print(name: str) -> None:
    tried = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert tried.failed == 0


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_public_class_shows_an_example(folder: str) -> None:
    silent = []
    for name in MODULES:
        if not name.startswith(f"attribution.{folder}."):
            continue
        for own, documented in inspect.getmembers(importlib.import_module(name), inspect.isclass):
            is_public = documented.__module__ == name and not own.startswith("_")
            if is_public and not getattr(documented, "_is_protocol", False) and ">>>" not in (documented.__doc__ or ""):
                silent.append(f"{name}.{own}")
    assert silent == []
