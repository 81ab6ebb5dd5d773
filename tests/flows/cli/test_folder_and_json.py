"""A campaign's folder in place of its configuration, and JSON in place of tables for people."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from conf.compose import ConfigError, compose, recompose
from flows.cli import commands as cli
from flows.cli.configuration import configuration
from flows.errors import IncompleteCampaign
from flows.plan import plan
from tests.flows.toy import run_stages, toy


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with masks and no model."""
    folder = tmp_path_factory.mktemp("planned") / "campaign"
    plan.fn(toy(folder, "sampler.alpha=0.3"))
    return folder


def test_a_folder_names_the_configuration_it_was_planned_with(planned: Path) -> None:
    assert configuration(str(planned)) == toy(planned, "sampler.alpha=0.3")


def test_a_folder_that_moved_is_its_own_campaign_still(planned: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(planned, tmp_path / "elsewhere")
    assert configuration(str(moved)).campaign.folder == str(moved)


def test_overrides_apply_to_a_folder_as_to_a_configuration(planned: Path) -> None:
    quotas = ["curate.class_quotas={zero: 3}", "curate.keep_share=0.5"]
    overrides = ["campaign.n_fit=64", "certify.kinds=[synergy]", *quotas]
    assert configuration(str(planned), overrides) == toy(planned, "sampler.alpha=0.3", *overrides)


def test_a_relative_path_is_kept_as_an_absolute_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.flows.toy import write_image_folder

    write_image_folder(tmp_path / "pictures")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "campaign"
    plan.fn(toy(folder, "dataset.path=pictures", "dataset.n_train=8", "dataset.n_targets=8", name="images"))
    monkeypatch.chdir("/")
    assert configuration(str(folder)).dataset.path == str(tmp_path / "pictures")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["dataset=digits"], "dataset is a group of settings, and a campaign's folder has its own"),
        (["campaign.n_fitt=4"], "unknown key 'campaign.n_fitt' .* Did you mean 'campaign.n_fit'"),
        (["campaign.n_fit=0"], "campaign.n_fit must be at least 1 .*; got 0"),
        (["campaign.n_fit"], "campaign.n_fit"),
        (["~campaign.n_fit"], "overrides are written key=value"),
        (["campaign.n_fit=1,2"], "overrides are written key=value"),
    ],
)
def test_an_override_that_cannot_be_applied_is_one_clear_error(
    planned: Path, overrides: Sequence[str], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        configuration(str(planned), overrides)


def test_recomposing_without_overrides_changes_nothing() -> None:
    whole = compose("quickstart")
    assert recompose(whole.model_dump(mode="json")) == whole


def test_a_folder_without_a_campaign_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no campaign in the folder '{tmp_path}'"):
        configuration(str(tmp_path))


def test_a_folder_without_its_configuration_is_named(planned: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(planned, tmp_path / "copy")
    (copy / "config.json").unlink()
    with pytest.raises(IncompleteCampaign, match="holds no config.json"):
        configuration(str(copy))


def reported(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """What a command prints with --json."""
    capsys.readouterr()
    cli.app([*arguments, "--json"], standalone_mode=False)
    found: dict[str, object] = json.loads(capsys.readouterr().out)
    return found


def test_status_reports_models_and_stages_as_json(planned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(capsys, "status", str(planned))
    assert (found["exists"], found["n_players"], found["models"]) == (True, 16, {})


def test_status_of_no_campaign_reports_that_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = reported(capsys, "status", "quickstart", f"campaign.folder={tmp_path / 'none'}")
    assert found == {"folder": str(tmp_path / "none"), "exists": False}


@pytest.mark.slow
@pytest.mark.ray
def test_show_reports_rows_of_the_table_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "campaign"
    run_stages(toy(folder), "plan", "retrain", "attribute")
    found = reported(capsys, "show", str(folder))
    assert isinstance(found["interactions"], list) and len(found["interactions"]) <= 10


def test_json_and_a_dry_run_exclude_each_other(planned: Path) -> None:
    with pytest.raises(ConfigError, match="--json reports what a stage wrote"):
        cli.app(["curate", str(planned), "--dry-run", "--json"], standalone_mode=False)
