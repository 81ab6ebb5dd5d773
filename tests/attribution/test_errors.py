"""Every error of the package is one that the command line catches."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import attribution
from attribution.errors import AttributionError, SpectrumError
from attribution.fourier.indices import interaction_index
from attribution.fourier.spectrum import Spectrum


def test_every_exception_of_the_package_is_an_attribution_error() -> None:
    found = set()
    for module in pkgutil.walk_packages(attribution.__path__, "attribution."):
        classes = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        found |= {own for _, own in classes if issubclass(own, Exception) and own.__module__.startswith("attribution.")}
    assert {AttributionError, SpectrumError} <= found
    assert {own.__name__ for own in found if not issubclass(own, (AttributionError, Warning))} == set()


def test_the_command_line_prints_a_spectrum_error_and_leaves_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli import commands

    monkeypatch.setattr(commands, "app", lambda: interaction_index(Spectrum({}, 2, 0.5), "nucleolus", 2))
    with pytest.raises(SystemExit) as left:
        commands.main()
    assert left.value.code == 8
    assert "nucleolus" in capsys.readouterr().err
