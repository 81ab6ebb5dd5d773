"""A folder that came from somebody else runs nothing of theirs before the user names it too."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conf.compose import compose
from conf.schema import CampaignConfig
from flows.audit.fragments import audit
from flows.cli import commands as cli
from flows.cli.audit import run_audit
from flows.cli.configuration import configuration
from flows.cli.run_stage import drive, drive_decision
from flows.compute.session import session_of
from flows.games.table import make_game, own_modules
from flows.games.trainer.game import Trainer
from flows.runtime.trust import NotNamed, asked_by_folder
from flows.scoring.baselines import chosen_baselines
from flows.store.campaign import Campaign
from tests.flows.inline_cluster import use_inline_cluster
from tests.flows.toy import TOY, run_stages

SOURCE = """
from pathlib import Path
Path(__file__).with_name("it_ran").touch()

from training.data.digits_source import read_digits as read
from tests.flows.games.lens_models import tiny as model
from tests.flows.games.own_trainer import players, setup, targets, train
from tests.flows.games.own_value import setup as count, value
"""
FEW = ("campaign.n_holdout=8", "attribution.n_targets=1", "attribution.max_order=2", "attribution.pooled_targets=false",
       "attribution.published_targets=0")  # fmt: skip
KINDS = {
    "pictures": ("quickstart", ("dataset.source=theirs:read", *TOY, "dataset.plant_flipped=0.2", *FEW)),
    "trainer": ("trainer", ("game.function=theirs:train", "game.setup=theirs:setup", "game.players=theirs:players",
                            "game.targets=theirs:targets", "campaign.n_fit=40", *FEW)),
    "value": ("value", ("game.function=theirs:value", "game.setup=theirs:count", "game.players=14", "game.targets=3",
                        "campaign.n_fit=40", *FEW)),
    "components": ("components", ("game.model=theirs:model", "game.n_images=4", "game.n_unseen=4", "campaign.n_fit=40",
                                  *FEW)),
}  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_asked() -> Iterator[None]:
    yield
    asked_by_folder("", {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Somebody's campaigns, and the module of theirs."""
    place = tmp_path_factory.mktemp("theirs")
    (place / "theirs.py").write_text(SOURCE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(place))
        use_inline_cluster(patch)
        for kind, (name, overrides) in KINDS.items():
            config = compose(name, [*overrides, f"campaign.folder={place / kind}"])
            run_stages(config)
        yield place


@pytest.fixture
def theirs(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy whose module is not imported yet, and is found where it is looked for."""
    sys.modules.pop("theirs", None)
    copied = shutil.copytree(made, tmp_path / "received")
    (copied / "it_ran").unlink(missing_ok=True)
    monkeypatch.syspath_prepend(str(copied))
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(made)])
    use_inline_cluster(monkeypatch)
    return copied


def ran(theirs: Path) -> bool:
    return (theirs / "it_ran").exists() or "theirs" in sys.modules


def of_folder(theirs: Path, kind: str, *overrides: str) -> CampaignConfig:
    return configuration(str(theirs / kind), overrides)


@pytest.mark.parametrize("kind", KINDS)
def test_commands_that_only_read_import_nothing_of_theirs(
    kind: str, theirs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(theirs / kind)
    cli.status(folder)
    cli.show(folder)
    run_audit(folder, [], sample=0, seed=0, with_repair=False)
    found = audit(Campaign(folder), of_folder(theirs, kind), sample=1, seed=0)
    assert any(re.search("nothing was evaluated again: .* asks to run theirs:", note) for note in found.notes)
    for stage in ("campaign", "plan", "retrain", "attribute", "report"):
        drive(stage, of_folder(theirs, kind), dry_run=True)
        drive(stage, of_folder(theirs, kind), dry_run=False)  # nothing is missing: the checks before it are the same
    assert "Nothing to do." in capsys.readouterr().out
    again = of_folder(theirs, kind, "attribution.fdr_level=0.2")
    drive("attribute", again, dry_run=True)
    run_stages(again, "plan", "retrain", "attribute", "report")
    assert not ran(theirs)


@pytest.mark.parametrize("kind", KINDS)
def test_commands_that_evaluate_name_what_the_folder_asks_for(kind: str, theirs: Path) -> None:
    for stage in ("campaign", "plan", "retrain"):
        with pytest.raises(NotNamed, match=r"asks to run theirs:\w+.*to the command if you trust it"):
            drive(stage, of_folder(theirs, kind, "campaign.n_fit=96"), dry_run=False)
    if kind != "components":
        with pytest.raises(NotNamed, match="asks to run theirs:"):
            drive_decision("certify", of_folder(theirs, kind))
    assert not ran(theirs) and own_modules(of_folder(theirs, kind)) == ()


def test_decisions_and_scores_of_pictures_leave_out_what_needs_their_code(theirs: Path) -> None:
    config = of_folder(theirs, "pictures")
    with pytest.raises(NotNamed, match="dataset.source=theirs:read"):
        drive_decision("curate", config)
    names, notes = chosen_baselines("all", config, Campaign(theirs / "pictures"))
    assert names == ["random", "class", "datamodel"]
    assert all("code that only the campaign's folder names" in note for note in notes) and len(notes) == 3
    assert not ran(theirs)


@pytest.mark.parametrize(
    ("kind", "named"),
    [("pictures", ["dataset.source=theirs:read"]), ("components", ["game.model=theirs:model"]),
     *((kind, [text for text in KINDS[kind][1] if "theirs" in text]) for kind in ("trainer", "value"))],
)  # fmt: skip
def test_what_the_user_names_runs(kind: str, named: list[str], theirs: Path) -> None:
    game = make_game(of_folder(theirs, kind, *named))
    if isinstance(game, Trainer):
        game.check()  # its rows are numbers: nothing is imported before
    assert ran(theirs)


def test_a_cluster_that_only_the_folder_names_is_not_joined(theirs: Path) -> None:
    """Ray unpickles what comes back from a cluster."""
    kept = theirs / "components" / "config.json"
    content = json.loads(kept.read_text())
    content["compute"]["ray_address"] = "ray://elsewhere:10001"
    kept.write_text(json.dumps(content))
    again = ("attribution.fdr_level=0.2",)
    with pytest.raises(NotNamed, match="Ray cluster at ray://elsewhere:10001.*compute.ray_address=null to use this"):
        drive("attribute", of_folder(theirs, "components", *again), dry_run=False)
    with pytest.raises(NotNamed):
        session_of(of_folder(theirs, "components"))
    session_of(of_folder(theirs, "components", "compute.ray_address=null"))
    content["compute"]["ray_address"] = "127.0.0.1:6379"
    kept.write_text(json.dumps(content))
    session_of(of_folder(theirs, "components"))
