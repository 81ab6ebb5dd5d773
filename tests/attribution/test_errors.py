"""Every error of the package is one that the command line catches."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
from pathlib import Path

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


def last_words(message: ast.expr) -> str | None:
    """The end of a message written as a string, an f-string or a sum of these; None of a variable."""
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        return message.value
    if isinstance(message, ast.JoinedStr):
        return last_words(message.values[-1]) or "{...}"
    return last_words(message.right) if isinstance(message, ast.BinOp) else None


def test_every_message_of_the_package_ends_with_a_full_stop() -> None:
    unfinished = []
    for path in sorted(Path(attribution.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name.endswith(("Error", "Warning")) and name != "AttributeError" or name == "warn":
                words = last_words(node.args[0])
                if words is not None and not words.rstrip().endswith("."):
                    unfinished.append(f"{path.name}:{node.lineno} ...{words[-30:]}")
    assert unfinished == []


def test_the_command_line_prints_a_spectrum_error_and_leaves_with_its_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli import commands

    monkeypatch.setattr(commands, "app", lambda: interaction_index(Spectrum({}, 2, 0.5), "nucleolus", 2))
    with pytest.raises(SystemExit) as left:
        commands.main()
    assert left.value.code == 8
    assert "nucleolus" in capsys.readouterr().err
