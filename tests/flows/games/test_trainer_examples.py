"""The trainers of examples/trainers: each evaluates, learns, and goes from plan to report."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from conf.compose import compose
from flows.compute.ray_cluster import Cluster
from flows.games.table import make_game
from flows.store.campaign import Campaign
from tests.flows.toy import ROOT, run_stages
from training import training_seed

NAMES = sorted(path.stem for path in (ROOT / "examples" / "trainers").glob("*.yaml"))


def test_there_are_three_trainers_with_a_configuration_each() -> None:
    assert NAMES == ["boosting", "table", "text"]


@pytest.mark.parametrize("name", NAMES)
def test_an_example_evaluates_learns_and_is_deterministic_in_its_seed(name: str) -> None:
    game = make_game(compose(str(ROOT / "examples" / "trainers" / f"{name}.yaml")))
    masks = np.random.default_rng(0).random((6, game.n_players)) < 0.5
    found = game.evaluate(masks, range(6))
    assert set(found.status) == {"ok"} and np.isfinite(found.outputs).all()
    assert np.array_equal(found.outputs, game.evaluate(masks, range(6)).outputs)
    assert not np.array_equal(found.outputs, game.evaluate(masks, range(1, 7)).outputs)
    if name == "boosting":  # losses, stored with the opposite sign: above the variance of all it learnt nothing
        assert (found.outputs <= 0).all() and found.outputs.mean() > -1
    else:  # margins: most are above 0
        assert (found.outputs > 0).mean() > 0.7 and (found.audit_accuracy > 0).all()


@pytest.mark.parametrize("page", ["README.md", "docs/how-to/own-trainer.md"])
def test_the_lines_that_a_page_shows_train(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, with the seeds of a campaign: scikit-learn takes none above 2**32."""
    (code,) = re.findall(r"```python\n(# mytrainer\.py.*?)```", (ROOT / page).read_text(), re.S)
    module = f"mytrainer_{len(page)}"
    (tmp_path / f"{module}.py").write_text(code)
    rng = np.random.default_rng(0)
    x, x_test = rng.normal(size=(30, 3)), rng.normal(size=(5, 3))
    np.savez(tmp_path / "mydata.npz", x=x, y=x[:, 0] > 0, x_test=x_test, y_test=x_test[:, 0] > 0)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    game = make_game(compose("trainer", [f"game.function={module}:train", "game.players=30", "game.targets=5"]))
    seeds = [training_seed(0, mask, 0) for mask in range(4)]
    found = game.evaluate(rng.random((4, 30)) < 0.5, seeds)
    assert list(found.status) == ["ok"] * 4, found.reasons


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_an_example_goes_from_plan_to_report(name: str, cluster: Cluster, tmp_path: Path) -> None:
    small = ("campaign.n_fit=56", "campaign.n_holdout=16", "campaign.n_replicates=0", "attribution.n_targets=1")
    small = (*small, "attribution.max_order=2", "attribution.pooled_targets=false", "campaign.shard_size=16")
    config = compose(
        str(ROOT / "examples" / "trainers" / f"{name}.yaml"), [f"campaign.folder={tmp_path / 'c'}", *small]
    )
    run_stages(config)
    outputs = Campaign(tmp_path / "c").read("outputs")
    assert outputs["status"].to_pylist() == ["ok"] * 72
    page = (tmp_path / "c" / "report.html").read_text()
    assert ("asyncio/" if name == "text" else "patient 3") in page
