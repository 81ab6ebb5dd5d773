"""coterie prune and coterie flip: tables, keys, reports and refusals, on campaigns of a tiny model."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ablation import ComponentGame, PatchGame, fine_tune
from conf.compose import ConfigError, compose
from conf.schema import CampaignConfig
from flows.cli.as_json import outcome_of
from flows.cli.dry_run import describe
from flows.cli.stage_states import survey
from flows.compute.ray_cluster import Cluster
from flows.errors import CoterieError
from flows.flip import flip
from flows.forecast.cost import estimate
from flows.forecast.precheck import precheck
from flows.games.table import UnknownGame, refuse_other_games
from flows.lenses import LensDecisionError
from flows.prune import prune
from flows.report import report
from flows.store.campaign import Campaign
from flows.store.derived import about, read_derived
from tests.flows.games.lens_models import tiny
from tests.flows.toy import run_stages

pytestmark = pytest.mark.ray
SMALL = ("game.n_images=6", "game.n_unseen=6", "campaign.n_fit=128", "campaign.n_holdout=32", "attribution.max_order=2",
         "attribution.published_targets=0", "attribution.n_targets=3")  # fmt: skip
MODEL = "game.model=tests.flows.games.lens_models:tiny"
SHARES = "prune.shares=[0.2,0.4]"


def config_of(name: str, folder: Path, *overrides: str) -> CampaignConfig:
    own = [] if name == "value" else [MODEL, *SMALL]
    return compose(name, [*own, f"campaign.folder={folder}", *overrides])


@pytest.fixture(scope="module")
def folders(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp("lens") / name for name in ("patches", "components")}
    run_stages(config_of("patches", made["patches"], "game.regions=2x2"))
    run_stages(config_of("components", made["components"]))
    return made


def test_pruned_networks_are_judged_on_unseen_images_and_the_report_shows_them(folders: dict[str, Path]) -> None:
    folder = folders["components"]
    config = config_of("components", folder, SHARES)
    assert describe("prune", config, Campaign(folder))[-1] == "there is no pruning yet"
    # As it can be typed: code that only a folder names is not run.
    assert f"coterie prune {folder} {MODEL}</code>" in (folder / "report.html").read_text()
    summary = prune(config)
    rows = read_derived(Campaign(folder), "pruning").to_pylist()
    assert len(rows) == summary.n_tried == 12 and summary.n_images == 6
    model, images, labels = tiny()
    game = ComponentGame(model, images[:6], labels[:6], ablation="mean")
    whole = game.logits(np.ones(7, bool), images[6:12]).argmax(1) == labels[6:12]
    for row in rows:
        keep = np.zeros(7, bool)
        keep[row["kept"]] = True
        correct = game.logits(keep, images[6:12]).argmax(1) == labels[6:12]
        assert row["accuracy"] == correct.mean() and keep.sum() == row["n_keep"] == round((1 - row["share"]) * 7)
        assert row["difference"] == pytest.approx(correct.mean() - whole.mean())
        assert row["low"] <= row["difference"] <= row["high"]
    report(config)
    page = (folder / "report.html").read_text()
    assert 'id="pruning"' in page and "<code>coterie prune" not in page and "<code>coterie flip" in page
    assert describe("prune", config, Campaign(folder))[-1].endswith("nothing would be done")
    before = (folder / "pruning.parquet").stat().st_mtime_ns
    assert prune(config) == summary and (folder / "pruning.parquet").stat().st_mtime_ns == before
    assert len(outcome_of("prune", config)["pruning"]) == 12


def test_every_pruned_network_is_trained_alike_on_images_that_do_not_judge(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = shutil.copytree(folders["components"], tmp_path / "c")
    training = ("prune.finetune_epochs=2", "prune.finetune_images=4", "prune.finetune_rate=0.01")
    config = config_of("components", folder, SHARES, *training)
    assert "first trained on 4 other unseen images, 2 times over" in " ".join(
        describe("prune", config, Campaign(folder))
    )
    summary = prune(config)
    assert (summary.n_images, summary.n_finetuned) == (2, 4)
    model, images, labels = tiny()
    game = ComponentGame(model, images[:6], labels[:6], ablation="mean")
    for row in read_derived(Campaign(folder), "pruning").to_pylist():
        keep = np.zeros(7, bool)
        keep[row["kept"]] = True
        tuned = fine_tune(game, keep, images[8:12], labels[8:12], epochs=2, learning_rate=0.01)
        assert row["accuracy"] == (tuned.logits(keep, images[6:8]).argmax(1) == labels[6:8]).mean()
    report(config)
    assert "was first trained on 4 other images alike" in (folder / "report.html").read_text()
    with pytest.raises(LensDecisionError, match="leave fewer than two to judge on"):
        prune(config_of("components", folder, "prune.finetune_epochs=1", "prune.finetune_images=5"))


def test_flips_are_removals_that_flip_and_the_report_shows_them(folders: dict[str, Path]) -> None:
    folder = folders["patches"]
    config = config_of("patches", folder, "game.regions=2x2")
    assert describe("flip", config, Campaign(folder))[0].startswith("6 orders of 4 players for up to 6 targets")
    summary = flip(config)
    rows = read_derived(Campaign(folder), "flips").to_pylist()
    model, images, labels = tiny()
    game = PatchGame(model, images[:6], labels[:6], regions=(2, 2))
    right = np.flatnonzero(game.evaluate(np.ones((1, 4), bool))[0] > 0)
    assert 0 < summary.n_targets <= len(right) and len(rows) == 6 * summary.n_targets
    for row in rows:
        mask = np.ones((1, 4), bool)
        mask[0, row["removed"]] = False
        margin = game.evaluate(mask)[0, row["target"]]
        assert row["margin_after"] == pytest.approx(margin, abs=1e-5) and row["flipped"] == (margin < 0)
        assert sorted(row["order"]) == [0, 1, 2, 3] and len(row["deletion"]) == len(row["insertion"]) == 5
        assert row["deletion"][0] == pytest.approx(row["insertion"][-1], abs=1e-5)
    report(config)
    page = (folder / "report.html").read_text()
    assert 'id="flips"' in page and "<code>coterie flip" not in page and "coterie curate" not in page
    assert outcome_of("flip", config)["about"]["n_targets"] == summary.n_targets


def test_flips_of_components_and_of_a_value_function(folders: dict[str, Path], tmp_path: Path) -> None:
    flip(config_of("components", folders["components"]))
    assert about(Campaign(folders["components"]), "flips") is not None
    words = config_of(
        "value", tmp_path / "v", "game.function=tests.flows.games.own_value:value", "game.margins=true",
        "campaign.n_fit=128", "campaign.n_holdout=32", "attribution.max_order=2", "attribution.published_targets=0",
    )  # fmt: skip
    run_stages(words)
    assert flip(words).n_targets == 3
    rows = read_derived(Campaign(tmp_path / "v"), "flips").to_pylist()
    assert {row["order_by"] for row in rows} == {"interactions", "main_effects", "linear", "occlusion", "random"}


@pytest.mark.parametrize(
    ("stage", "name", "overrides", "message"),
    [
        (
            prune,
            "patches",
            ["game.regions=2x2"],
            "coterie prune` switches parts of one fixed model off, which game.kind=patches",
        ),
        (flip, "components", ["game.margin=logit"], "these outputs do not say what is right"),
    ],
)
def test_what_cannot_be_decided_is_one_sentence(
    folders: dict[str, Path], stage, name: str, overrides: list[str], message: str
) -> None:
    config = config_of(name, folders[name], *overrides)
    with pytest.raises(CoterieError, match=message) as caught:
        stage(config)
    assert "\n" not in str(caught.value) and isinstance(caught.value, (UnknownGame, LensDecisionError))


def test_without_unseen_images_nothing_is_pruned(folders: dict[str, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(folders["components"], tmp_path / "c")
    meta = json.loads((folder / "campaign.json").read_text())
    (folder / "campaign.json").write_text(json.dumps(meta | {"n_audit": 0}))
    with pytest.raises(LensDecisionError, match="has no image that no rule has seen"):
        prune(config_of("components", folder, "prune.seed=1"))


def test_a_precheck_of_one_fixed_model_says_what_a_mask_costs_and_whether_outputs_vary(
    cluster: Cluster, tmp_path: Path
) -> None:
    config = config_of("patches", tmp_path / "c", "game.regions=2x2")
    found = precheck(config, cluster)
    assert found.signal is None and found.responds and found.n_evaluated == 18 and found.as_json()["p_value"] is None
    said = " ".join(found.sentences())
    assert "one fixed model: a mask has one output" in said and "the campaign's 160 masks would take" in said
    assert not replace(found, spread=0.0).responds and not (tmp_path / "c").exists()
    with pytest.raises(UnknownGame, match="`coterie plan --precheck` evaluates a few masks"):
        estimate(config)


def test_a_fixed_model_is_asked_and_not_trained(folders: dict[str, Path], caplog: pytest.LogCaptureFixture) -> None:
    config = config_of("patches", folders["patches"], "game.regions=2x2")
    assert survey(config)[1].why == "all 160 outputs exist"
    more = config_of("patches", folders["patches"], "game.regions=2x2", "campaign.n_fit=160")
    assert survey(more)[1].why == "32 of 192 masks to evaluate"
    assert Campaign(folders["patches"]).meta.is_fixed_model


def test_stages_that_train_name_the_command_that_decides_here(tmp_path: Path) -> None:
    for name, command in (("patches", "flip"), ("components", "prune")):
        with pytest.raises(UnknownGame, match=f"decided and tried by `coterie {command}`"):
            refuse_other_games(config_of(name, tmp_path), "curate")
    with pytest.raises(ConfigError, match=r"prune.shares must lie in \(0, 1\) and differ"):
        config_of("components", tmp_path, "prune.shares=[0.1,1.5]")
