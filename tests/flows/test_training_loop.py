"""The one training loop: at every stage that trains, a failing shard leaves a log, rows with a reason, and a retry."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from conf.schema import CampaignConfig
from flows.audit.fragments import audit
from flows.brittleness import brittleness
from flows.certify import certify
from flows.cli.status import print_status
from flows.compute import ray_cluster as cluster
from flows.curate import curate
from flows.errors import IncompleteCampaign
from flows.experiments.plans import plans
from flows.plan import plan
from flows.retrain import retrain
from flows.store.campaign import Campaign
from flows.store.fragments import rows_of
from flows.store.queries import failure_reasons, outcome_counts
from flows.store.roles import count_rows
from flows.verify import verify
from tests.flows import ray_units
from tests.flows.decided_campaign import decided_config, make_decided_campaign

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A campaign with decisions, and one Ray for all experiments of this file."""
    folder = tmp_path_factory.mktemp("decided") / "campaign"
    make_decided_campaign(decided_config(folder))
    curate.fn(decided_config(folder, *STAGES["verify"][1]))
    cluster.start_session_in_background(None, 1)
    yield folder
    cluster.stop_session()


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "campaign"))


def plan_and_retrain(config: CampaignConfig) -> None:
    plan.fn(config)
    retrain.fn(config)


STAGES: dict[str, tuple[Callable[[CampaignConfig], object], tuple[str, ...]]] = {
    "retrain": (plan_and_retrain, ("campaign.n_holdout=16", "campaign.n_replicates=0")),
    "certify": (certify.fn, ("certify.top=1", "certify.n_random=0", "certify.n_bases=3")),
    "verify": (
        verify.fn,
        (
            "verify.n_seeds=2", "verify.curve_seeds=0", "verify.second_architecture=false", "verify.embedding_models=1",
            "curate.similarity=false",
        ),
    ),
    "brittleness": (
        brittleness.fn,
        ("brittleness.n_targets=1", "brittleness.n_seeds=2", "brittleness.max_removals=3"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("stage", STAGES)
def test_a_failing_shard_leaves_a_log_rows_with_a_reason_and_a_retry(
    stage: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, overrides = STAGES[stage]
    config = decided_config(folder, *overrides)
    campaign = Campaign(folder)
    before = outcome_counts(campaign)
    with monkeypatch.context() as patch:
        patch.setattr("flows.compute.training_loop.evaluate_shard", ray_units.fail_to_evaluate)
        with pytest.raises(IncompleteCampaign, match="models.* failed.*coterie status.*run the same command again"):
            run(config)
    # Rows, each with a reason that names a log in the campaign's folder.
    fragments = [path for name in ("outputs", "results") for path in campaign.fragment_paths(name)]
    failed = [path for path in fragments if path.name.endswith(".failed.parquet")]
    assert failed and count_rows(campaign.failed("outputs") + campaign.failed("results")) == sum(
        len(rows_of(path)) for path in failed
    )
    reasons = [reason for (status, reason) in failure_reasons(campaign) if status == "failed"]
    assert len(reasons) == len(failed)
    for reason in reasons:
        assert reason.startswith("ValueError: this shard cannot be trained (tried 1 times; log: logs/")
        log = folder / reason.rpartition("log: ")[2].rstrip(")")
        assert "fail_to_evaluate" in log.read_text()
    print_status(str(folder), [])
    assert "this shard cannot be trained" in capsys.readouterr().out
    assert [finding for finding in audit(campaign).findings if finding.kind != "missing"] == []
    # The next run trains those rows and nothing else is left of the failure.
    run(config)
    assert campaign.failed("outputs") == campaign.failed("results") == []
    assert not [path for path in (folder / "results").glob("*.failed.parquet")]
    after = outcome_counts(campaign)
    assert {status for found in after.values() for status in found} == {"ok"}
    assert sum(found["ok"] for found in after.values()) > sum(found.get("ok", 0) for found in before.values())


@pytest.mark.parametrize("stage", ["certify", "verify", "brittleness"])
def test_status_and_audit_count_the_rows_of_experiments_that_exist(
    stage: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, overrides = STAGES[stage]
    run(decided_config(folder, *overrides))
    campaign = Campaign(folder)
    (role,) = {rows.role for rows in campaign.planned()} - {"fit"}
    n_rows = count_rows(rows for rows in campaign.planned() if rows.role == role)
    kind = stage if role == "verify" else role
    assert outcome_counts(campaign)[kind] == {"ok": n_rows}
    print_status(str(folder), [])
    (line,) = [line for line in capsys.readouterr().out.splitlines() if f" {kind} " in line]
    # wanted, ok, diverged, failed, missing
    assert [int(cell) for cell in line.replace("│", " ").split()[1:]] == [n_rows, n_rows, 0, 0, 0]
    assert audit(campaign).findings == []


def test_a_second_round_that_needs_nothing_is_frozen_and_not_chosen_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = decided_config(folder, "certify.top=1", "certify.n_random=0", "certify.min_bases=3", "certify.max_bases=3")
    certify.fn(config)
    campaign = Campaign(folder)
    first, second = plans(campaign, "certify")
    assert (second.key, second.content["round"], second.content["sets"], len(second.rows)) == (first.key, 1, [], 0)

    def chosen_again(*arguments: object) -> None:
        raise AssertionError("the second round was chosen again")

    monkeypatch.setattr("flows.certify.more_bases", chosen_again)
    certify.fn(config)
    assert plans(campaign, "certify") == [first, second]
    # An experiment that follows begins behind both, and has an empty round of its own.
    monkeypatch.undo()
    certify.fn(decided_config(folder, "certify.members=[2,3]", "certify.target=0", "certify.max_bases=2"))
    *earlier, third, fourth = plans(campaign, "certify")
    assert earlier == [first, second] and third.first > second.first and len(fourth.rows) == 0
