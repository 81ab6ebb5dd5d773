"""`coterie refine` by command: killed while the campaign inside the groups trains, and run again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from flows.refinement.links import child_folders
from flows.store.campaign import ANALYSIS_TABLES, Campaign
from tests.flows.toy import COTERIE, TOY, coterie, process, results, stamps, survivors, wait_until

GROUPS = (
    "dataset.n_train=80", "players.by=random", "players.count=20", "recipe.epochs=200", "refine.masks_per_player=20",
    "refine.max_models=100000", "compute.workers=1", "compute.mode=native",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.ray
@pytest.mark.timeout(1800)  # four commands
def test_a_refine_killed_while_it_trains_and_run_again_equals_one_that_was_not_killed(tmp_path: Path) -> None:
    mark, folder = str(tmp_path), tmp_path / "parent"
    common = {"mark": mark, "home": tmp_path / "prefect", "timeout": 900}
    code, output = coterie("run", "quickstart", *TOY, *GROUPS, f"campaign.folder={folder}", **common)
    assert code == 0, output
    names = Campaign(folder).meta.player_names
    refine = ["refine", str(folder), "--groups", f"{names[3]},{names[5]}"]

    inside = Campaign(f"{folder}-inside1")
    with process([str(COTERIE), *refine], mark, PREFECT_HOME=str(tmp_path / "prefect")) as running:
        wait_until(lambda: inside.exists and bool(inside.trained()), "the first shard of the child", 900)
        for pid in {running.pid, *survivors(mark)}:  # Ray too, which takes two minutes to notice that its driver ended
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.wait()
        wait_until(lambda: survivors(mark) == [], "everything that the command had started to end", 300)
    before = stamps(inside.folder / "outputs")
    n_before = len(inside.trained())
    assert inside.analysis is None

    code, output = coterie(*refine, **common)
    assert code == 0, output
    assert child_folders(Campaign(folder)) == [str(inside.folder)]
    assert before.items() <= stamps(inside.folder / "outputs").items(), "what was trained is not trained again"

    code, output = coterie(*refine, "--to", str(tmp_path / "whole"), **common)
    assert code == 0, output
    assert 0 < n_before < len(Campaign(tmp_path / "whole").trained())
    for table in ("masks", "outputs", "examples", *ANALYSIS_TABLES):
        assert results(inside.folder, table).equals(results(tmp_path / "whole", table)), table
