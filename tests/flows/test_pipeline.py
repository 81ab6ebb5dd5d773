"""plan, retrain, attribute and report at toy size, on real Ray; Prefect's decorators taken off."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from flows.cli.stage_states import survey
from flows.compute.ray_cluster import Cluster, ClusterError
from flows.errors import CampaignMismatch, IncompleteCampaign
from flows.storage.files import read_json
from flows.store.campaign import Campaign
from flows.store.configuration import keep_configuration
from flows.store.faithfulness import read_faithfulness
from flows.store.roles import RowRange, first_id, role_of
from tests.flows.toy import DRIVER, process, results, run_stages, stamps, toy, wait_until, without_lock

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def finished(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole toy campaign; the tests that use it write nothing to it."""
    folder = tmp_path_factory.mktemp("finished") / "campaign"
    run_stages(toy(folder))
    return folder


# --- what a campaign is ------------------------------------------------------------------------------------------


def test_every_planned_model_has_one_row_with_its_outputs(finished: Path) -> None:
    campaign = Campaign(finished)
    outputs, masks = campaign.read("outputs"), campaign.read("masks")
    rows = list(zip(outputs["mask_id"].to_pylist(), outputs["replicate"].to_pylist(), strict=True))
    assert len(rows) == len(set(rows)) == 40 + 2 * 8
    assert set(rows) == set(zip(masks["mask_id"].to_pylist(), masks["replicate"].to_pylist(), strict=True))
    assert Counter(role_of(mask_id) for mask_id, _ in rows) == {"fit": 40, "holdout": 16}
    assert set(outputs["status"].to_pylist()) == {"ok"}
    values = np.array(outputs["outputs"].to_pylist())
    assert values.shape == (56, 8) and np.isfinite(values).all()


def test_masks_follow_from_the_campaigns_seed_and_the_mask_id_alone(finished: Path) -> None:
    from training import sample_masks

    campaign = Campaign(finished)
    ids = np.arange(first_id("holdout"), first_id("holdout") + 8)
    masks, _ = campaign.masks(RowRange("holdout", 0, 0, 8))
    assert (masks == sample_masks(16, alpha=0.5, seed=0, ids=ids)).all()


def test_a_replicate_has_the_mask_of_its_original_and_another_result(finished: Path) -> None:
    campaign = Campaign(finished)
    first, again = (campaign.training_pairs("holdout", replicate) for replicate in (0, 1))
    assert (first.mask_ids == again.mask_ids).all() and (first.masks == again.masks).all()
    assert (first.outputs != again.outputs).any(axis=1).all()


def test_outputs_can_be_recomputed_from_the_tables_alone(finished: Path) -> None:
    """The masks table and the recorded configuration say everything that a row's training needs."""
    from conf.compose import validate
    from flows.players.load import load
    from training import Recipe, retrain, training_seed

    campaign = Campaign(finished)
    config = validate(toy(finished).model_dump())
    masks, groups = campaign.masks(RowRange("fit", 0, 8, 16))
    recipe = Recipe(**config.recipe.model_dump(), nominal_alpha=config.sampler.alpha)
    seeds = [training_seed(config.campaign.seed, int(group), 0) for group in groups]
    alone = retrain(load(config), masks, seeds, recipe, ensemble_size=config.compute.ensemble_size)
    kept = campaign.training_pairs("fit")
    assert np.array_equal(alone.outputs, kept.outputs[8:16])


def test_the_analysis_covers_the_targets_of_highest_variance_and_the_pooled_ones(finished: Path) -> None:
    campaign = Campaign(finished)
    explained = list(read_faithfulness(campaign))
    variance = campaign.training_pairs("fit").outputs.var(axis=0)
    assert sorted(target for target in explained if target >= 0) == sorted(np.argsort(-variance)[:2].tolist())
    assert -1 in explained
    effects = campaign.read("effects")
    assert Counter(effects["target"].to_pylist()) == dict.fromkeys(explained, 16)
    assert {held.verdict for held in read_faithfulness(campaign).values()} <= {"interactions", "no evidence"}


def test_examples_are_kept_with_their_roles(finished: Path) -> None:
    examples = Campaign(finished).read("examples")
    assert Counter(examples["split"].to_pylist()) == {"train": 16, "target": 8, "audit": 8}
    assert {row["player"] for row in examples.to_pylist() if row["split"] != "train"} == {-1}
    sources = [row["source_index"] for row in examples.to_pylist()]
    assert len(set(sources)) == len(sources)


def test_the_report_and_its_record_are_there(finished: Path) -> None:
    assert "<html" in (finished / "report.html").read_text()


# --- nothing twice -----------------------------------------------------------------------------------------------


def test_a_second_run_writes_nothing(finished: Path) -> None:
    before = without_lock(stamps(finished))
    assert [state.stage for state in survey(toy(finished)) if state.todo] == []
    run_stages(toy(finished))
    assert without_lock(stamps(finished)) == before


def test_another_run_elsewhere_gives_the_same_tables(finished: Path, cluster: Cluster, tmp_path: Path) -> None:
    run_stages(toy(tmp_path / "again"))
    for table in ("masks", "outputs", "examples", "effects", "interactions", "faithfulness"):
        assert results(tmp_path / "again", table).equals(results(finished, table)), table


def test_a_top_up_trains_the_missing_models_only(cluster: Cluster, tmp_path: Path) -> None:
    folder = tmp_path / "campaign"
    small = toy(folder, "campaign.n_fit=12", "campaign.n_holdout=4", "campaign.n_replicates=0")
    run_stages(small, "plan", "retrain")
    before = stamps(folder / "outputs")
    trained = Campaign(folder).trained()
    large = toy(folder, "campaign.n_fit=20", "campaign.n_holdout=8", "campaign.n_replicates=1")
    run_stages(large, "plan", "retrain")
    after = stamps(folder / "outputs")
    assert {name: after[name] for name in before} == before
    assert set(trained) < set(Campaign(folder).trained())
    # The same rows as a campaign that asked for all of them at once, up to how models are trained together.
    run_stages(large.model_copy(update={"campaign": large.campaign.model_copy(update={"folder": str(tmp_path / "b")})}),
               "plan", "retrain")
    topped, at_once = results(folder), results(tmp_path / "b")
    assert topped["mask_id"].equals(at_once["mask_id"])
    assert results(folder, "masks").equals(results(tmp_path / "b", "masks"))


def test_asking_for_fewer_models_deletes_nothing(finished: Path) -> None:
    before = without_lock(stamps(finished))
    run_stages(toy(finished, "campaign.n_fit=16"), "plan", "retrain")
    after = without_lock(stamps(finished))
    assert read_json(finished / "config.json")["campaign"]["n_fit"] == 16  # the settings of the last plan
    assert {name: at for name, at in after.items() if name != "config.json"} == {
        name: at for name, at in before.items() if name != "config.json"
    }
    keep_configuration(Campaign(finished), toy(finished))


@pytest.mark.parametrize(
    ("change", "stages"),
    [
        ((), []),
        (("attribution.n_targets=3",), ["attribute", "report"]),
        (("report.sets_per_target=2",), ["report"]),
        (("campaign.n_fit=48",), ["plan", "retrain", "attribute", "report"]),
        (("campaign.n_replicates=2",), ["plan", "retrain", "attribute", "report"]),
        (("compute.ensemble_size=4",), []),
        (("name=other",), []),
    ],
    ids=str,
)
def test_a_change_recomputes_what_depends_on_it(change: tuple[str, ...], stages: list[str], finished: Path) -> None:
    assert [state.stage for state in survey(toy(finished, *change)) if state.todo] == stages


@pytest.mark.parametrize("change", ["recipe.epochs=3", "sampler.alpha=0.4", "campaign.seed=1", "dataset.n_train=20"])
def test_another_campaign_is_refused_before_and_while_it_runs(change: str, finished: Path) -> None:
    before = without_lock(stamps(finished))
    key = change.partition("=")[0]
    with pytest.raises(CampaignMismatch, match=key):
        survey(toy(finished, change))
    with pytest.raises(CampaignMismatch, match=key):
        run_stages(toy(finished, change), "plan")
    assert without_lock(stamps(finished)) == before


# --- killed and resumed ------------------------------------------------------------------------------------------

SLOWER = ("recipe.epochs=40", "campaign.n_fit=64", "campaign.n_holdout=16", "compute.workers=1")


def test_killed_and_resumed_equals_uninterrupted_bit_for_bit(cluster: Cluster, tmp_path: Path) -> None:
    killed, whole = toy(tmp_path / "killed", *SLOWER), toy(tmp_path / "whole", *SLOWER)
    run_stages(whole, "plan", "retrain")
    with process([sys.executable, "-c", DRIVER, killed.model_dump_json()], str(tmp_path)) as driver:
        campaign = Campaign(tmp_path / "killed")
        wait_until(lambda: campaign.exists and bool(campaign.trained()), "the first shard")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        before = stamps(tmp_path / "killed" / "outputs")
    finished_before = Campaign(tmp_path / "killed").trained()
    assert 0 < len(finished_before) < len(Campaign(tmp_path / "whole").trained())
    run_stages(killed, "plan", "retrain")
    after = stamps(tmp_path / "killed" / "outputs")
    kept = {f"{rows.name}.parquet" for rows in finished_before}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    for table in ("masks", "outputs", "examples"):
        assert results(tmp_path / "killed", table).equals(results(tmp_path / "whole", table)), table


# --- what goes wrong is a row with a reason ----------------------------------------------------------------------


def test_a_model_that_diverges_is_a_row_without_a_number(cluster: Cluster, tmp_path: Path) -> None:
    config = toy(tmp_path / "c", "recipe.learning_rate=1e30", "campaign.n_fit=16", "campaign.n_holdout=0")
    run_stages(config, "plan", "retrain")
    outputs = Campaign(tmp_path / "c").read("outputs")
    assert set(outputs["status"].to_pylist()) == {"diverged"}
    assert outputs["outputs"].null_count == outputs["target_accuracy"].null_count == 16
    assert "" not in outputs["reason"].to_pylist()
    # It is an outcome, not a failure: nothing is trained again, and attribution says why it has nothing to go by.
    assert [state.stage for state in survey(config) if state.todo] == ["attribute", "report"]
    with pytest.raises(IncompleteCampaign, match="no trained models"):
        run_stages(config, "attribute")


def test_a_failed_shard_is_kept_with_its_reason_and_made_good_by_the_next_run(cluster: Cluster, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("the failure is a GPU that is asked for and not there")
    folder = tmp_path / "c"
    sizes = ("campaign.n_fit=16", "campaign.n_holdout=0", "compute.device={}")
    wrong, right = (toy(folder, *(size.format(device) for size in sizes)) for device in ("cuda", "cpu"))
    run_stages(wrong, "plan")
    with pytest.raises(IncompleteCampaign, match="16 models failed.*coterie status.*run the same command again"):
        run_stages(wrong, "retrain")
    campaign = Campaign(folder)
    failed = campaign.read("outputs")
    assert failed["status"].to_pylist() == ["failed"] * 16 and failed["outputs"].null_count == 16
    assert all("torch finds no GPU" in reason for reason in failed["reason"].to_pylist())
    states = {state.stage: state for state in survey(right)}
    assert states["retrain"].todo and "16 of them failed before" in states["retrain"].why
    run_stages(right, "retrain")
    assert campaign.read("outputs")["status"].to_pylist() == ["ok"] * 16
    assert campaign.failed() == []


def test_when_every_shard_fails_the_campaign_stops_early_and_says_why(cluster: Cluster, tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("the failure is a GPU that is asked for and not there")
    config = toy(tmp_path / "c", "compute.device=cuda", "campaign.n_fit=400")
    run_stages(config, "plan")
    with pytest.raises(ClusterError, match="first [0-9]+ tasks .*compute.device=auto or cpu"):
        run_stages(config, "retrain")
    assert len(Campaign(tmp_path / "c").failed()) < 20


def test_a_damaged_fragment_is_named_and_running_again_recomputes_its_rows(cluster: Cluster, tmp_path: Path) -> None:
    config = toy(tmp_path / "c", "campaign.n_fit=16", "campaign.n_holdout=0")
    run_stages(config, "plan", "retrain")
    whole = results(tmp_path / "c")
    path = sorted((tmp_path / "c" / "outputs").glob("*.parquet"))[0]
    path.write_bytes(path.read_bytes()[:200])
    from flows.errors import StoreError

    with pytest.raises(StoreError, match=path.name):
        run_stages(config, "attribute")
    path.rename(tmp_path / "set aside")
    run_stages(config, "retrain")
    assert results(tmp_path / "c").equals(whole)


@pytest.mark.parametrize(("lost", "stages"), [
    ("analyses", ["attribute", "report"]),
    ("analysis.json", ["attribute", "report"]),
    ("report.html", ["report"]),
    ("report.json", ["report"]),
    ("examples.parquet", ["plan"]),
])
def test_what_was_deleted_is_made_again_and_nothing_else(
    lost: str, stages: list[str], cluster: Cluster, finished: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(finished, tmp_path / "c")
    config, path = toy(tmp_path / "c"), tmp_path / "c" / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert [state.stage for state in survey(config) if state.todo] == stages
    models = stamps(tmp_path / "c" / "outputs")
    run_stages(config)
    assert path.exists() and [state for state in survey(config) if state.todo] == []
    assert stamps(tmp_path / "c" / "outputs") == models
    for table in ("examples", "effects", "interactions"):
        assert results(tmp_path / "c", table).equals(results(finished, table))


def test_too_few_models_to_explain_anything_says_how_many_it_takes(cluster: Cluster, tmp_path: Path) -> None:
    config = toy(tmp_path / "c", "campaign.n_fit=4", "campaign.n_holdout=0")
    run_stages(config, "plan", "retrain")
    with pytest.raises(IncompleteCampaign, match="at least 12. Train more masks"):
        run_stages(config, "attribute")


# --- samplers, groups, campaigns of unusual shape ----------------------------------------------------------------


def test_antithetic_masks_come_in_complementary_pairs_that_no_split_divides(cluster: Cluster, tmp_path: Path) -> None:
    from flows.compute.target_blocks import TargetBlocks

    config = toy(tmp_path / "c", "sampler=antithetic")
    run_stages(config)
    masks = Campaign(tmp_path / "c").training_pairs("fit").masks
    assert (masks[0::2] ^ masks[1::2]).all()
    groups = TargetBlocks(Campaign(tmp_path / "c"), config).job(config).groups
    assert groups is not None and (groups[0::2] == groups[1::2]).all() and len(set(groups.tolist())) == 20
    assert Campaign(tmp_path / "c").read("faithfulness").num_rows > 2


def test_fixed_size_masks_all_have_the_size_that_was_asked_for(cluster: Cluster, tmp_path: Path) -> None:
    run_stages(toy(tmp_path / "c", "sampler=fixed_size", "sampler.alpha=0.25"))
    assert set(Campaign(tmp_path / "c").training_pairs("fit").masks.sum(axis=1).tolist()) == {4}
    assert Campaign(tmp_path / "c").read("effects").num_rows > 0


def test_groups_of_examples_are_players(cluster: Cluster, tmp_path: Path) -> None:
    from flows.players.load import load

    index = tmp_path / "groups.csv"
    single = load(toy(tmp_path / "none"))
    lines = [f"{source},group {row // 2}" for row, source in enumerate(single.train.source_index.tolist())]
    index.write_text("source_index,group\n" + "\n".join(lines))
    run_stages(toy(tmp_path / "c", f"dataset.group_by={index}"))
    campaign = Campaign(tmp_path / "c")
    assert campaign.n_players == 8 and campaign.meta["player_names"][3] == "group 3"
    players = [row["player"] for row in campaign.read("examples").to_pylist() if row["split"] == "train"]
    assert players == [row // 2 for row in range(16)]
    assert campaign.training_pairs("fit").masks.shape == (40, 8)
    assert set(campaign.read("effects")["player"].to_pylist()) == set(range(8))


@pytest.mark.parametrize("change", [("campaign.n_holdout=0",), ("campaign.n_replicates=0",)], ids=str)
def test_without_held_out_masks_or_replicates_what_cannot_be_known_is_left_open(
    change: tuple[str, ...], cluster: Cluster, tmp_path: Path
) -> None:
    run_stages(toy(tmp_path / "c", *change))
    faithfulness = read_faithfulness(Campaign(tmp_path / "c")).values()
    assert np.isnan([held.noise_ceiling.value for held in faithfulness]).all()
    known = np.isfinite([held.r2("datamodel").value for held in faithfulness])
    assert known.all() if change == ("campaign.n_replicates=0",) else not known.any()
    assert (tmp_path / "c" / "report.html").is_file()


def test_more_targets_to_explain_than_there_are_means_all_of_them(cluster: Cluster, finished: Path) -> None:
    from flows.compute.target_blocks import TargetBlocks

    assert len(TargetBlocks(Campaign(finished), toy(finished, "attribution.n_targets=500")).chosen) == 8
    assert len(TargetBlocks(Campaign(finished), toy(finished, "attribution.n_targets=null")).chosen) == 8


def test_what_a_campaign_of_its_size_can_see_is_said_when_it_is_planned(tmp_path: Path) -> None:
    from flows.plan import plan

    hopeless = plan.fn(toy(tmp_path / "a"))
    hopeful = plan.fn(toy(tmp_path / "b", "campaign.n_fit=4000"))
    assert hopeless.smallest_detectable > 0.65 > hopeful.smallest_detectable
    assert (hopeful.new_masks, hopeful.n_players, hopeful.n_targets) == (4016, 16, 8)


def test_history_keeps_the_resolved_configuration_and_the_versions(tmp_path: Path) -> None:
    from flows.store.history import RunRecord, runs

    config = toy(tmp_path / "c")
    record = RunRecord(config)
    with record.stage("plan"):
        run_stages(config, "plan")
    record.finish()
    kept = runs(Campaign(tmp_path / "c"))
    assert len(kept) == 1 and kept[0]["config"] == json.loads(config.model_dump_json())
    assert kept[0]["versions"]["torch"] and kept[0]["finished"]
