"""What a digest of a package's sources depends on."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import attribution
import training
from flows.runtime.versions import SOURCE_SUFFIXES, source_digest
from tests.flows.toy import ROOT


def sources(package: str) -> list[Path]:
    return [path for path in (ROOT / package).rglob("*") if path.suffix in SOURCE_SUFFIXES]


@pytest.mark.parametrize("package", ["training", "attribution", "flows"])
def test_changing_one_byte_of_any_source_changes_the_digest(package: str, tmp_path: Path) -> None:
    copy = tmp_path / package
    shutil.copytree(ROOT / package, copy)
    unchanged = source_digest(copy)
    assert unchanged == source_digest(ROOT / package)
    for path in sources(package):
        mine = copy / path.relative_to(ROOT / package)
        content = mine.read_bytes()
        mine.write_bytes(content + b" ")
        assert source_digest(copy) != unchanged, path
        mine.write_bytes(content)
    assert source_digest(copy) == unchanged


def test_renaming_a_source_changes_the_digest(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1")
    before = source_digest(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert source_digest(tmp_path) != before


def test_the_compiled_engine_is_among_the_sources_of_training() -> None:
    assert {path.suffix for path in sources("training")} >= {".py", ".cpp", ".h"}
    assert source_digest(training) != source_digest(attribution)


@pytest.mark.slow
def test_a_wheel_holds_every_source_that_the_folders_hold(tmp_path: Path) -> None:
    """Subpackages, templates and the sources that are compiled on first use included."""
    copy = tmp_path / "source"
    ignored = shutil.ignore_patterns(".*", "runs", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, copy, ignore=ignored)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=300)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for package in ("training", "attribution", "flows")
        for path in sources(package)
    }
    configurations = {path.relative_to(ROOT).as_posix() for path in (ROOT / "conf").rglob("*.yaml")}
    assert wanted | configurations <= packed
