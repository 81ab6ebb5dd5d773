"""curate, verify and brittleness decide about the rows of a user's own trainer, or say why they cannot."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conf.compose import compose
from conf.schema import CampaignConfig
from flows.brittleness import brittleness
from flows.cli.dry_run import describe
from flows.curate import curate
from flows.games.table import UnknownGame
from flows.runtime.trust import asked_by_folder
from flows.store.campaign import Campaign
from flows.store.derived import about, read_derived
from flows.verify import verify
from tests.flows.games.own_classifier import HARMFUL
from tests.flows.inline_cluster import use_inline_cluster
from tests.flows.toy import run_stages

pytestmark = pytest.mark.slow
MODULE = "tests.flows.games.own_classifier"
SIZE = (
    "campaign.n_fit=288", "campaign.n_holdout=24", "campaign.shard_size=64", "attribution.n_targets=2",
    "attribution.max_order=2", "attribution.pooled_targets=false",
    "verify.n_seeds=6", "verify.curve_seeds=0", "brittleness.n_targets=2",
)  # fmt: skip


def config_of(folder: Path, *overrides: str, function: str = "train") -> CampaignConfig:
    return compose("trainer", [f"game.function={MODULE}:{function}", f"campaign.folder={folder}", *SIZE, *overrides])


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    use_inline_cluster(monkeypatch)


def test_margins_are_decided_about_verified_and_turned_over(tmp_path: Path) -> None:
    folder = tmp_path / "c"
    config = config_of(folder, "game.margins=true")
    run_stages(config)
    assert describe("curate", config, Campaign(folder))[0] == "curate trains nothing"
    asked_by_folder(str(folder), {"game.function": f"{MODULE}:train"})  # curate runs nothing of the user's
    try:
        curate.fn(config)
    finally:
        asked_by_folder("", {})
    campaign = Campaign(folder)
    decided = {row["player"]: row["decision"] for row in read_derived(campaign, "decisions").to_pylist()}
    assert decided[HARMFUL] in ("drop", "review") and sum(value == "keep" for value in decided.values()) >= 12
    outputs = campaign.read("outputs")
    assert 0.3 < outputs["audit_accuracy"].to_numpy().mean() < 1 and outputs["target_accuracy"].null_count == 0
    curate.fn(config_of(folder, "game.margins=true", "curate.keep_count=15"))
    found = verify.fn(config_of(folder, "game.margins=true", "curate.keep_count=15"))
    assert found.n_keep == 15 and found.difference > 0
    rows = read_derived(campaign, "comparisons").to_pylist()
    assert {row["against"] for row in rows} == {"random", "main_effects", "full"}
    assert "of the audit examples right" in about(campaign, "comparisons")["sentences"][0]
    summary = brittleness.fn(config)
    assert summary.n_targets >= 1
    run_stages(config, "report")
    first_screen = (folder / "report.html").read_text().partition("<main")[0].rpartition("</style>")[2]
    assert "picture" not in re.sub(r"<[^>]*>", " ", first_screen)


def test_losses_are_decided_about_in_their_own_units_and_nothing_is_called_right(tmp_path: Path) -> None:
    config = config_of(tmp_path / "c", "game.higher_is_better=false", "curate.keep_count=15", function="losses")
    run_stages(config)
    curate.fn(config)
    found = verify.fn(config)
    assert found.n_keep == 15 and found.difference > 0  # minus the loss: the larger the better
    campaign = Campaign(tmp_path / "c")
    decided = {row["player"]: row["decision"] for row in read_derived(campaign, "decisions").to_pylist()}
    assert decided[HARMFUL] == "drop"
    sentence = about(campaign, "comparisons")["sentences"][0]
    assert "a mean output of -" in sentence and "points" not in sentence and "right" not in sentence
    run_stages(config, "report")
    assert "accuracy" not in (tmp_path / "c" / "report.html").read_text().partition("</header>")[0].partition("<h1>")[2]
    with pytest.raises(UnknownGame, match="do not say what is right.*game.margins=true"):
        brittleness.fn(config)
