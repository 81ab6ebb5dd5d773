"""--dry-run of certify, curate, verify and brittleness: what would be trained, and nothing is written.

That the counts are those of the models then trained, and what is said once they exist, is in test_decisions.py.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from attribution.errors import AttributionError
from flows.cli.dry_run import describe
from flows.curate import curate
from flows.errors import CampaignMismatch, IncompleteCampaign
from flows.store.campaign import Campaign
from tests.flows.decided_campaign import decided_config, make_decided_campaign

CERTIFY = ("certify.top=2", "certify.n_random=1", "certify.n_bases=3")
CURATE = ("curate.keep_count=20", "curate.similarity=false")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dry") / "campaign"
    make_decided_campaign(decided_config(folder))
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "campaign"))


def dry_run(stage: str, folder: Path, *overrides: str) -> list[str]:
    """What a dry run says; it must leave the folder as it is."""
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    lines = describe(stage, decided_config(folder, *overrides), Campaign(folder))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    return lines


def test_certify_says_sets_base_masks_models_and_time(folder: Path) -> None:
    lines = dry_run("certify", folder, *CERTIFY)
    assert lines[0] == "reported    0, 1 -> 0: -2.00 predicted (redundancy), q 1e-06; 3 base masks, 12 models"
    assert lines[2].startswith("random")
    assert lines[3:] == [
        "3 sets, 9 base masks; each interval at level 0.025",
        "36 of 36 models to train (less than a model-second at this campaign's 0.01 s a model)",
    ]


def test_certify_says_when_nothing_is_eligible(folder: Path) -> None:
    assert dry_run("certify", folder, "certify.orders=[3]") == [
        "the campaign reports no set of any kind of 3 members on an individual target: nothing to certify"
    ]
    (line,) = dry_run("certify", folder, "attribution.fdr_level=1e-9")
    assert line.startswith("no interaction is eligible")


def test_certify_planned_by_power_says_what_a_second_round_may_add(folder: Path) -> None:
    lines = dry_run("certify", folder, "certify.top=2", "certify.n_random=0", "certify.max_models=400")
    assert lines[-1].startswith("then, where intervals are wider than planned, up to")


def test_curate_says_the_budget_and_whether_anything_would_change(folder: Path) -> None:
    lines = dry_run("curate", folder, *CURATE)
    assert lines[1].startswith("20 of 24 players to keep; of the classes at least 0: 0, 1: 0, 2: 0, 3: 1, 4: 0")
    assert lines[2] == "there are no decisions yet"
    curate.fn(decided_config(folder, *CURATE))
    assert "up to date" in dry_run("curate", folder, *CURATE)[2]
    assert "would be replaced" in dry_run("curate", folder, "curate.keep_count=10", "curate.similarity=false")[2]


def test_what_the_stage_would_refuse_the_dry_run_refuses(folder: Path) -> None:
    with pytest.raises(AttributionError, match="only 24 players"):
        dry_run("curate", folder, "curate.keep_count=25")
    with pytest.raises(AttributionError, match="class quotas ask for"):
        dry_run("curate", folder, "curate.keep_count=4", "curate.class_quotas={0: 2, 1: 2, 2: 2}")
    with pytest.raises(IncompleteCampaign, match="Run `coterie curate .*` first"):
        dry_run("verify", folder)


def test_verify_says_arms_sizes_and_models(folder: Path) -> None:
    curate.fn(decided_config(folder, *CURATE))
    lines = dry_run("verify", folder, *CURATE, "verify.n_seeds=20", "verify.curve=[0.25,0.5]", "verify.curve_seeds=5")
    assert lines[0].startswith("20 of 24 players kept (declared): 4 arms")
    assert lines[1] == "removal curve: 6, 12 kept, 5 seeds an arm"
    # Four arms of two networks and the full set of both, twenty seeds each; four arms of five at two other
    # sizes.
    assert lines[2].startswith("240 of 240 models to train")


def test_brittleness_gives_a_ceiling(folder: Path) -> None:
    lines = dry_run("brittleness", folder, "brittleness.n_targets=1", "brittleness.n_seeds=2")
    assert lines[0].startswith("2 of 2 models to train")
    assert "at most 40 models" in lines[1]


@pytest.mark.parametrize("stage", ["certify", "curate", "verify", "brittleness"])
def test_a_dry_run_reads_the_data_and_refuses_what_changed(
    folder: Path, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.cli.run_stage import drive_decision
    from flows.games import table

    config = decided_config(folder, "dataset.n_train=23")
    with pytest.raises(CampaignMismatch):
        drive_decision(stage, config, dry_run=True)
    monkeypatch.setattr(table, "full_identity", lambda *_: {"dataset.fingerprint": "1" * 64})
    with pytest.raises(CampaignMismatch, match="dataset.fingerprint"):
        drive_decision(stage, decided_config(folder), dry_run=True)
