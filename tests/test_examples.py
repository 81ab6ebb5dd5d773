"""Every script of examples/ runs as it stands. The scripts assert what they show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.report_campaign import make_campaign
from tests.flows.toy import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))
READS_A_CAMPAIGN = {"read_a_campaign"}


def run_example(name: str, *arguments: str) -> str:
    """Run a script in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / f"{name}.py"), *arguments],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}, capture_output=True, text=True,
        timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_are_five_examples() -> None:
    assert len(SCRIPTS) == 5


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in READS_A_CAMPAIGN])
def test_the_example_runs_and_its_assertions_hold(name: str) -> None:
    assert run_example(name).strip()


def test_the_example_that_reads_a_campaign_reads_one_the_flows_wrote(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "campaign")
    printed = run_example("read_a_campaign", str(campaign.folder))
    assert "8 players, 6 targets" in printed and "redundancy" in printed


@pytest.mark.parametrize("name", SCRIPTS)
def test_examples_have_cells_and_say_what_they_show(name: str) -> None:
    text = (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8")
    assert text.startswith('"""') and text.count("\n# %%") >= 3 and "\nassert " in text
