"""What the command answers before it does any work: its version, and completions for a shell."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata

import pytest

from tests.flows.toy import COTERIE


def answer(*arguments: str, **environment: str) -> str:
    """Run the command and return its output; it must exit with 0."""
    done = subprocess.run(
        [str(COTERIE), *arguments], env=os.environ | environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_version_is_the_installed_one() -> None:
    assert answer("--version") == f"coterie {metadata.version('coterie')}\n"


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("coterie pl", {"plan"}),
        ("coterie re", {"refine", "retrain", "report"}),
        ("coterie pr", {"prune"}),
        ("coterie fl", {"flip"}),
        ("coterie zz", set()),
    ],
)
def test_commands_are_completed(typed: str, completed: set[str]) -> None:
    offered = answer(_COTERIE_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD="1").split()
    assert set(offered) == completed
