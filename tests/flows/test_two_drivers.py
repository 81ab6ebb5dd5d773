"""The second driver of a campaign leaves at once, with a code of its own and the holder's name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from flows.store.campaign import Campaign
from tests.flows.small_campaign import SMALL


def test_a_second_driver_leaves_with_code_4_and_says_who_holds_the_campaign(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("coterie")), "run", "quickstart", *SMALL]
    command.append(f"campaign.folder={tmp_path / 'campaign'}")
    for _ in range(2):
        with Campaign(tmp_path / "campaign").lock():
            second = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert second.returncode == 4
        assert f"is being written by process {os.getpid()}" in second.stderr
        assert not Campaign(tmp_path / "campaign").exists
