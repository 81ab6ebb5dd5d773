"""What people and crashes do to decisions: other settings, broken tables, other people's files, outdated results."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from typer.testing import CliRunner

from attribution.errors import AttributionError
from conf.schema import CampaignConfig
from flows import brittleness
from flows.audit.fragments import audit, repair
from flows.cli import decisions as cli_decisions
from flows.cli import run_stage
from flows.cli import run_stage as drive
from flows.cli.run_stage import check_writable, drive_decision
from flows.curate import curate
from flows.decisions.export import OUTDATED, BadExport, export, provenance
from flows.errors import CampaignBusy, IncompleteCampaign
from flows.experiments.certify_sets import BadRequest
from flows.experiments.plans import draw_masks, freeze
from flows.reporting.experiments import Experiments, read_experiments
from flows.reporting.images import Gallery
from flows.store.campaign import ANALYSIS_TABLES, Campaign
from flows.store.derived import about, columns, current_comparison, publish, read_derived
from flows.store.faithfulness import read_faithfulness
from flows.store.schemas import COMPARISONS
from flows.verify import current_decisions, verification_key
from tests.flows.decided_campaign import N_PLAYERS, N_TARGETS, decided_config, make_decided_campaign

CURATE = ("curate.similarity=false", "curate.near_duplicate_share=0", "curate.keep_count=12")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with decisions."""
    folder = tmp_path_factory.mktemp("mistakes") / "campaign"
    config = decided_config(folder, *CURATE)
    make_decided_campaign(config)
    curate.fn(config)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "campaign"))


def compared(folder: Path, config: CampaignConfig) -> None:
    """A comparison of the decisions that stand now, as verify leaves it behind."""
    campaign = Campaign(folder)
    key = verification_key(config, current_decisions(config, campaign)["key"])
    freeze(campaign, "verify", key, 2, {"blocks": [], "settings": config.verify.model_dump(mode="json")})
    made_from = {"key": key, "sentences": ["It beats random."], "warning": ""}
    publish(campaign, "comparisons", columns([], COMPARISONS), made_from)


def experiments(campaign: Campaign) -> Experiments:
    gallery = Gallery(campaign.read("examples"), campaign.meta["class_names"])
    return read_experiments(campaign, gallery)


def test_verify_says_which_setting_of_curate_differs(folder: Path) -> None:
    campaign = Campaign(folder)
    current_decisions(decided_config(folder, *CURATE), campaign)
    other = decided_config(folder, *CURATE, "curate.keep_count=20")
    with pytest.raises(IncompleteCampaign, match="curate.keep_count was 12, here it is 20.*settings that curate was"):
        current_decisions(other, campaign)


def test_a_comparison_of_earlier_decisions_is_not_reported_for_the_present_ones(folder: Path, tmp_path: Path) -> None:
    config, campaign = decided_config(folder, *CURATE), Campaign(folder)
    compared(folder, config)
    assert current_comparison(campaign)["sentences"] == ["It beats random."]
    assert provenance(campaign)["verification"] == ["It beats random."]
    curate.fn(decided_config(folder, *CURATE, "curate.keep_count=20"))
    assert current_comparison(campaign) == {}
    found = experiments(campaign)
    assert found.sentences == () and found.decided["kept"] == 20
    assert "of earlier decisions only" in found.outdated[0]
    export(campaign, tmp_path / "out", ("parquet",))
    card = (tmp_path / "out" / "README.md").read_text()
    assert "has not been verified" in card and "beats" not in card


def test_decisions_of_an_earlier_analysis_say_so(folder: Path, tmp_path: Path) -> None:
    campaign = Campaign(folder)
    assert experiments(campaign).outdated == ()
    assert export(campaign, tmp_path / "a").notes == ()
    campaign.publish_analysis("another", {name: campaign.read(name) for name in ANALYSIS_TABLES}, {"n_open": 2})
    assert "earlier analysis" in experiments(campaign).outdated[0]
    assert export(campaign, tmp_path / "b").notes == (OUTDATED,)
    assert OUTDATED in (tmp_path / "b" / "README.md").read_text()


def test_a_table_whose_description_was_not_written_is_not_taken_for_the_former_one(folder: Path) -> None:
    campaign = Campaign(folder)
    table = read_derived(campaign, "decisions")
    with pytest.raises(TypeError):  # ends between the table and its description
        publish(campaign, "decisions", table, {"key": object()})
    assert about(campaign, "decisions") is None
    with pytest.raises(IncompleteCampaign, match="coterie curate"):
        export(campaign, folder / "out")


def test_decisions_that_cannot_be_read_are_recomputed(folder: Path) -> None:
    path, campaign = folder / "decisions.parquet", Campaign(folder)
    whole = read_derived(campaign, "decisions")
    path.write_bytes(path.read_bytes()[:1000])
    curate.fn(decided_config(folder, *CURATE))
    assert read_derived(campaign, "decisions").equals(whole)


@pytest.mark.parametrize(
    "name",
    ["decisions.parquet", "certification.parquet", "comparisons.json", "plans/verify-000000000-000000002.json",
     "results/verify-r0-000000000-000000002.parquet"],
)  # fmt: skip
def test_an_audit_finds_and_sets_aside_what_experiments_left_broken(folder: Path, name: str) -> None:
    campaign = Campaign(folder)
    compared(folder, decided_config(folder, *CURATE))
    assert audit(campaign).findings == []
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(b"PAR1")
    report = audit(campaign)
    assert [finding.where for finding in report.findings] == [name]
    repair(campaign, report)
    assert not (folder / name).exists() and audit(campaign).findings == []


def test_models_of_a_plan_that_was_lost_are_not_taken_for_those_of_the_next(folder: Path) -> None:
    campaign = Campaign(folder)

    def masks_of(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.ones((len(ids), N_PLAYERS), bool), ids

    lost = freeze(campaign, "certify", "lost", 12, {"sets": []})
    draw_masks(campaign, lost, masks_of)
    for path in (folder / "plans").glob("certify-*.json"):
        path.unlink()
    assert freeze(campaign, "certify", "next", 12, {"sets": []}).first >= lost.last


@pytest.mark.parametrize(
    "name", ["README.md", "decisions.csv", "subset.json", "keep.txt", "data/train-00000-of-00001.parquet"]
)
def test_exports_leave_other_peoples_files_alone(folder: Path, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    (out / name).parent.mkdir(parents=True)
    (out / name).write_text("mine")
    with pytest.raises(BadExport, match=f"{name} was not written by an export"):
        export(Campaign(folder), out)
    assert [path.read_text() for path in out.rglob("*") if path.is_file()] == ["mine"]


def test_an_export_of_no_campaign_says_so(tmp_path: Path) -> None:
    with pytest.raises(IncompleteCampaign, match="no campaign in"):
        export(Campaign(tmp_path / "nothing"), tmp_path / "out")


def test_an_export_replaces_an_earlier_one_and_refuses_what_would_be_read_along(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert export(Campaign(folder), out) == export(Campaign(folder), out)
    (out / "data" / "train-00001-of-00002.parquet").write_bytes(b"")
    with pytest.raises(BadExport, match="train-00001-of-00002.parquet"):
        export(Campaign(folder), out)
    export(Campaign(folder), out, ("csv", "subset"))


def test_every_search_tries_some_removal_however_many_are_allowed(folder: Path) -> None:
    """Main effects flip target 2 by three removals; the surrogate with a triple never does."""
    campaign = Campaign(folder)
    tables = {name: campaign.read(name).to_pylist() for name in ANALYSIS_TABLES}
    for row in tables["effects"]:
        if row["target"] == 2:
            row["shrunken"] = 1.0 if row["player"] < 3 else 0.0
    tables["interactions"].append(
        {**tables["interactions"][0], "target": 2, "members": [0, 1, 2], "order": 3, "shrunken": -8.0}
    )
    changed = {name: pa.Table.from_pylist(rows, schema=ANALYSIS_TABLES[name]) for name, rows in tables.items()}
    campaign.publish_analysis("triple", changed, {"n_open": 2})
    config = decided_config(folder, "brittleness.max_removals=100000")
    margins = np.where(np.arange(N_TARGETS) == 2, 2.5, -1.0)
    scores = list(read_faithfulness(campaign).values())
    searched = brittleness._search(config, campaign, scores, margins, brittleness.stage_logger())
    assert [(row["target"], row["search"], row["predicted_removals"]) for row in searched] == [
        (2, "main_effects", 3), (2, "interactions", -1),
    ]  # fmt: skip
    for row in searched:
        assert row["tried"] and max(row["tried"]) <= len(row["order"]) <= N_PLAYERS


def test_a_stage_of_decisions_renews_the_report(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(run_stage, "_flow", lambda stage: lambda config: ran.append(stage))
    monkeypatch.setattr(run_stage, "_check_prefect", lambda: None)
    drive_decision("curate", decided_config(folder, *CURATE))
    assert ran == ["curate", "report"]


def test_a_campaign_that_is_being_written_is_found_before_anything_starts(folder: Path) -> None:
    campaign = Campaign(folder)
    with campaign.lock(), pytest.raises(CampaignBusy):
        check_writable(Campaign(folder))


@pytest.mark.parametrize(
    ("stage", "override", "error"),
    [
        ("certify", "certify.target=3", BadRequest),
        ("curate", "curate.class_quotas={0: 20}", AttributionError),
        ("verify", "curate.keep_count=20", IncompleteCampaign),
    ],
)
def test_what_cannot_be_done_is_said_before_ray_and_prefect_start(
    folder: Path, monkeypatch: pytest.MonkeyPatch, stage: str, override: str, error: type[Exception]
) -> None:
    monkeypatch.setattr(drive, "run_flow", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(error):
        drive_decision(stage, decided_config(folder, *CURATE, override))


def test_a_named_set_keeps_the_target_of_the_configuration() -> None:
    app, seen = typer.Typer(), []
    cli_decisions.register(app, lambda stage, where, config, dry_run, as_json: seen.append(config.certify))
    for given in (["certify.target=3"], ["--target", "4"], ["certify.target=3", "--target", "4"]):
        CliRunner().invoke(app, ["certify", "quickstart", "--members", "1,2", *given], catch_exceptions=False)
    assert [(settings.members, settings.target) for settings in seen] == [((1, 2), 3), ((1, 2), 4), ((1, 2), 4)]
