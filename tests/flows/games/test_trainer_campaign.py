"""Campaigns of a user's own trainer: the library's numbers, resume, failed rows, certify, audit."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from attribution.analysis.block_tables import analyse_targets
from attribution.analysis.link_prior import campaign_link_prior
from conf.compose import compose
from conf.schema import CampaignConfig
from flows.audit.fragments import audit
from flows.certify import certify
from flows.compute.ray_cluster import Cluster
from flows.errors import IncompleteCampaign
from flows.forecast.precheck import precheck
from flows.games.trainer.calls import SEEDS
from flows.plan import masks_table
from flows.store.campaign import Campaign
from flows.store.derived import read_derived
from flows.store.roles import RowRange
from tests.flows.games.own_trainer import N_PLAYERS, REDUNDANT, SYNERGY, outputs_of
from tests.flows.toy import DRIVER, process, results, run_stages, stamps, wait_until, without_lock

pytestmark = pytest.mark.ray
MODULE = "tests.flows.games.own_trainer"
SIZE = (
    "campaign.n_fit=192", "campaign.n_holdout=32", "campaign.shard_size=32", "attribution.n_targets=4",
    "attribution.published_targets=0",
    "attribution.max_order=2",
)  # fmt: skip


def config_of(folder: Path, *overrides: str, function: str = "train") -> CampaignConfig:
    return compose("trainer", [f"game.function={MODULE}:{function}", f"campaign.folder={folder}", *SIZE, *overrides])


@pytest.fixture(scope="module")
def evaluated(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole campaign; the tests that use it write nothing to it."""
    folder = tmp_path_factory.mktemp("own") / "campaign"
    run_stages(config_of(folder))
    return folder


def test_through_ray_and_parquet_the_interactions_are_those_of_the_library_on_the_same_masks(evaluated: Path) -> None:
    campaign = Campaign(evaluated)
    pairs = campaign.training_pairs("fit")
    seeds = np.array([row for row in _seeds(campaign, pairs.mask_ids)])
    assert np.array_equal(pairs.outputs, outputs_of(pairs.masks, seeds)[:, :4].astype(np.float32))
    prior = campaign_link_prior(pairs.masks, pairs.outputs, alpha=0.5, reference_alpha=0.5)  # of all targets
    found = analyse_targets(pairs.masks, pairs.outputs, alpha=0.5, max_order=2, settings={"link_prior": prior})
    rows = found.interactions
    stored = campaign.read("interactions").to_pylist()
    for target in range(4):
        own = {tuple(row["members"]): row["value"] for row in stored if row["target"] == target}
        here = np.flatnonzero(np.asarray(rows["target"]) == target)
        library = {tuple(rows["members"][row]): rows["value"][row] for row in here}
        assert own.keys() == library.keys()
        assert all(own[members] == pytest.approx(library[members], rel=1e-9, abs=1e-12) for members in own)
    kinds = {(row["target"], tuple(row["members"])): row["kind"] for row in stored if row["q_value"] < 0.01}
    assert kinds[0, REDUNDANT] == "redundancy" and kinds[1, SYNERGY] == "synergy"


def _seeds(campaign: Campaign, mask_ids: np.ndarray) -> list[int]:
    from flows.compute.shards import read_shards

    (shard,) = read_shards(0, campaign, [RowRange("fit", 0, 0, len(mask_ids))])
    return [int(seed) % SEEDS for seed in shard.seeds]


def test_the_report_shows_text_where_a_picture_stood_and_escapes_it(evaluated: Path) -> None:
    page = (evaluated / "report.html").read_text()
    assert "patient 3" in page and "age 43" in page and "day 1 &amp; left" in page
    assert "came <b>in</b>" not in page and "picture" not in _words(page)


def _words(page: str) -> str:
    import re

    body = re.sub(r"(?s)<(script|style).*?</\1>", " ", page)
    return re.sub(r"<[^>]*>", " ", body).lower()


def test_a_second_run_writes_nothing_and_an_audit_finds_nothing(evaluated: Path) -> None:
    config, before = config_of(evaluated), without_lock(stamps(evaluated))
    run_stages(config)
    assert without_lock(stamps(evaluated)) == before
    report = audit(Campaign(evaluated), config, sample=2)
    assert report.findings == [] and report.n_retrained == 64


def test_killed_half_way_and_resumed_equals_uninterrupted_bit_for_bit(cluster: Cluster, tmp_path: Path) -> None:
    killed, whole = (
        config_of(tmp_path / name, "compute.workers=1", function="takes_its_time") for name in ("killed", "whole")
    )
    run_stages(whole)
    with process([sys.executable, "-c", DRIVER, killed.model_dump_json()], str(tmp_path)) as driver:
        campaign = Campaign(tmp_path / "killed")
        wait_until(lambda: campaign.exists and len(campaign.trained()) >= 2, "the second shard")
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
        before = stamps(tmp_path / "killed" / "outputs")
    assert 0 < len(campaign.trained()) < len(Campaign(tmp_path / "whole").trained())
    run_stages(killed)
    after = stamps(tmp_path / "killed" / "outputs")
    kept = [name for name in before if name.endswith(".parquet")]
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    for table in ("masks", "outputs", "examples", "interactions", "effects", "faithfulness"):
        first, second = (results(tmp_path / name, table) for name in ("killed", "whole"))
        assert first.equals(second), table


def test_calls_that_fail_are_rows_and_the_next_run_tries_them_again(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(tmp_path / "c", "game.setup=tests.flows.games.own_trainer:setup", function="sometimes_raises")
    run_stages(config)
    campaign = Campaign(tmp_path / "c")
    rows = campaign.read("outputs").to_pylist()
    masks = {row["mask_id"]: mask for row, mask in zip(rows, _masks(config, rows), strict=True)}
    for row in rows:
        without = not masks[row["mask_id"]][:2].any()
        assert row["status"] == ("failed" if without else "ok") and (row["outputs"] is None) == without
        if without:
            assert row["reason"].startswith("ValueError: patients 0 and 1 are both missing (log: logs/")
            log = (campaign.folder / row["reason"].rpartition("log: ")[2].rstrip(")")).read_text()
            assert "Traceback" in log and "own_trainer.py" in log
    n_failed = sum(row["status"] == "failed" for row in rows)
    assert 0 < n_failed < len(rows) / 2
    # Nobody drew these players together: the analysis goes on, and says what the failures did to the masks.
    assert campaign.analysis is not None
    assert re.match(r"players 0 and 1 are together in \d\d\.\d% of the masks", campaign.analysis["left_out_by"])
    before = sorted(stamps(tmp_path / "c" / "outputs"))
    run_stages(config, "retrain")
    assert sorted(stamps(tmp_path / "c" / "outputs")) == before
    assert sum(len(rows) for rows in campaign.failed()) == n_failed


def _masks(config: CampaignConfig, rows: list[dict[str, object]]) -> list[np.ndarray]:
    from training import sample_masks

    ids = np.array([row["mask_id"] for row in rows], dtype=np.int64)
    return list(sample_masks(N_PLAYERS, alpha=0.5, seed=config.campaign.seed, sampler="bernoulli", ids=ids))


def test_a_function_that_always_fails_stops_the_campaign_with_its_reason(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(IncompleteCampaign, match="calls of .*always_raises all failed.*RuntimeError: no licence"):
        run_stages(config_of(tmp_path / "c", function="always_raises"), "plan", "retrain")
    assert not Campaign(tmp_path / "c").trained() and list((tmp_path / "c" / "logs").glob("*.log"))


def test_outputs_that_are_not_finite_are_rows_and_no_numbers(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(tmp_path / "c", "campaign.n_fit=32", "campaign.n_holdout=0", function="not_a_number")
    run_stages(config, "plan", "retrain", "retrain")
    rows = Campaign(tmp_path / "c").read("outputs").to_pylist()
    for row, mask in zip(rows, _masks(config, rows), strict=True):
        assert row["status"] == ("diverged" if mask[0] else "ok")
        assert not mask[0] or row["reason"] == "output 2 is nan (1 of 5 are not finite)"


def test_certify_calls_the_function_itself(evaluated: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(evaluated, tmp_path / "c"))
    certify.fn(config_of(folder, "certify.members=[0,1]", "certify.target=0", "certify.n_bases=12"))
    (row,) = read_derived(Campaign(folder), "certification").to_pylist()
    assert row["measured"] == pytest.approx(-2.0, abs=0.15) and row["measured_kind"] == "redundancy"


def test_an_audit_says_that_a_function_is_not_deterministic_in_its_seed(cluster: Cluster, tmp_path: Path) -> None:
    config = config_of(tmp_path / "c", "campaign.n_fit=32", "campaign.n_holdout=0", function="ignores_its_seed")
    run_stages(config, "plan", "retrain")
    (finding,) = audit(Campaign(tmp_path / "c"), config, sample=1).findings
    assert "not deterministic in its seed: two calls with one mask and one seed differ by" in finding.what
    assert json.loads((tmp_path / "c" / "campaign.json").read_text())["identity"]["game.function"].endswith("seed")


def test_masks_are_those_of_any_campaign(evaluated: Path) -> None:
    """A trainer's campaign can be compared with the library's own masks: nothing about them is the game's."""
    drawn = masks_table(config_of(evaluated), RowRange("fit", 0, 0, 8), N_PLAYERS)
    assert Campaign(evaluated).read("masks").slice(0, 8)["mask"].to_pylist() == drawn["mask"].to_pylist()


def test_a_precheck_says_whether_outputs_respond_to_the_data(cluster: Cluster, tmp_path: Path) -> None:
    found = precheck(config_of(tmp_path / "c"), cluster)
    assert found.signal is not None and found.signal.ceiling > 0.95 and found.responds
    assert found.n_evaluated == 24 and found.n_lost == 0
    assert found.mean_outputs == tuple(sorted(found.mean_outputs)) and found.slope.low > 0
    assert not (tmp_path / "c").exists()
    deaf = precheck(config_of(tmp_path / "c", function="hears_its_seed_alone"), cluster)
    assert not deaf.responds and "is not shown" in " ".join(deaf.sentences())
    with pytest.raises(IncompleteCampaign, match="no evaluation of .* has a number. The first: RuntimeError: no licen"):
        precheck(config_of(tmp_path / "c", function="always_raises"), cluster)
