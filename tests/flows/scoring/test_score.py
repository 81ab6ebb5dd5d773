"""`coterie score` on a small real campaign: files in every form, baselines, removal, known wrong labels."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import spearmanr
from typer.testing import CliRunner

from conf.schema import CampaignConfig
from flows.cli.commands import app
from flows.errors import CoterieError
from flows.scoring.baselines import BASELINES
from flows.scoring.matrices import read_matrices
from flows.scoring.removal import Removal
from flows.scoring.scoring import Scores, pair_sentences, score_campaign
from flows.store.campaign import Campaign
from tests.flows.small_campaign import small_config, train_missing

LOG = logging.getLogger("test")
N_PLAYERS, N_TARGETS = 20, 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Campaign, CampaignConfig]:
    config = small_config(tmp_path_factory.mktemp("score") / "campaign", "campaign.n_fit=40")
    return train_missing(config), config


@pytest.fixture
def matrix() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(N_PLAYERS, N_TARGETS))


def scored(trained: tuple[Campaign, CampaignConfig], *files: str, **given: object) -> Scores:
    return score_campaign(trained[0], trained[1], files, LOG, **given)  # type: ignore[arg-type]


def test_a_file_is_scored_on_the_held_out_masks_beside_every_baseline(
    trained: tuple[Campaign, CampaignConfig], matrix: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "mine.npy", matrix)
    scores = scored(trained, str(tmp_path / "mine.npy"))
    held = trained[0].training_pairs("holdout")
    expected = [spearmanr(held.outputs[:, at], held.masks @ matrix[:, at]).statistic for at in range(N_TARGETS)]
    assert np.allclose(scores.lds.scores["mine"].per_target, expected)
    assert set(scores.lds.scores) == {"mine", *BASELINES} and scores.given == ("mine",)
    assert (scores.lds.n_masks, scores.lds.n_replicated, scores.lds.n_targets) == (8, 8, N_TARGETS)
    assert len(pair_sentences(scores)) == len(scores.lds.pairs) == 21
    content = json.dumps(scores.content())
    assert json.loads(content)["methods"]["mine"]["lds"]["value"] == pytest.approx(np.mean(expected))


def test_every_form_of_a_matrix_is_read_the_same(
    trained: tuple[Campaign, CampaignConfig], matrix: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "turned.npy", matrix.T)
    np.savez(tmp_path / "both.npz", first=matrix, second=-matrix)
    pq.write_table(pa.table({f"t{at}": matrix[:, at] for at in range(N_TARGETS)}), tmp_path / "table.parquet")
    files = ["turned=" + str(tmp_path / "turned.npy"), str(tmp_path / "both.npz"), str(tmp_path / "table.parquet")]
    found, notes = read_matrices(trained[0], files)
    assert list(found) == ["turned", "first", "second", "table"]
    assert np.array_equal(found["turned"], matrix) and np.array_equal(found["table"], matrix)
    assert np.array_equal(found["second"], -matrix)
    assert len(notes) == 1 and "one row a target" in notes[0]


def test_targets_a_method_is_silent_on_are_left_out_for_all(
    trained: tuple[Campaign, CampaignConfig], matrix: np.ndarray, tmp_path: Path
) -> None:
    matrix[:, 2] = np.nan
    np.save(tmp_path / "partial.npy", matrix)
    scores = scored(trained, str(tmp_path / "partial.npy"), baselines="random")
    assert scores.lds.n_targets == N_TARGETS - 1 and "5 of 6 targets" in " ".join(scores.notes)


@pytest.mark.parametrize(
    ("change", "given", "said"),
    [
        (lambda m: m[:-1], {}, r"shape \(19, 6\); the campaign has 20 players and 6 targets"),
        (lambda m: np.where(np.arange(20)[:, None] == 3, np.nan, m), {}, "1 values that are not finite for target 0"),
        (lambda m: m.astype(str), {}, "attributions are numbers"),
        (lambda m: m, {"baselines": "trak"}, "no baseline is called trak; there are random, class"),
        (lambda m: m, {"removal": Removal(20)}, r"--removal 20 of 20 players"),
        (lambda m: m, {"removal": Removal(3), "max_models": 5}, "the removal needs 36 models and 5 are allowed"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(
    trained: tuple[Campaign, CampaignConfig],
    matrix: np.ndarray,
    tmp_path: Path,
    change: object,
    given: dict[str, object],
    said: str,
) -> None:
    np.save(tmp_path / "mine.npy", change(matrix))  # type: ignore[operator]
    with pytest.raises(CoterieError, match=said) as raised:
        scored(trained, str(tmp_path / "mine.npy"), **{"baselines": "none", **given})
    assert "\n" not in str(raised.value)


def test_known_wrong_labels_give_an_auc(
    trained: tuple[Campaign, CampaignConfig], matrix: np.ndarray, tmp_path: Path
) -> None:
    wrong = [1, 4, 9]
    matrix[wrong] -= 10
    np.save(tmp_path / "mine.npy", matrix)
    np.save(tmp_path / "wrong.npy", np.array(wrong))
    scores = scored(trained, str(tmp_path / "mine.npy"), baselines="random", planted=str(tmp_path / "wrong.npy"))
    assert scores.mislabelled["mine"].auc.value == 1.0 and scores.mislabelled["mine"].n_wrong == 3
    assert scored(trained, str(tmp_path / "mine.npy"), baselines="none").mislabelled == {}


@pytest.mark.ray
def test_removal_trains_what_is_missing_once(
    cluster: object,
    trained: tuple[Campaign, CampaignConfig],
    matrix: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("flows.compute.ray_cluster._session", cluster)
    folder = shutil.copytree(trained[0].folder, tmp_path / "campaign")
    config = small_config(folder, "campaign.n_fit=40", "compute.mode=grouped")
    np.save(tmp_path / "mine.npy", matrix)
    removal = Removal(n_removed=5, n_targets=2, n_seeds=1, n_random=4)
    args = (Campaign(folder), config, [str(tmp_path / "mine.npy")], LOG)
    scores = score_campaign(*args, baselines="class", removal=removal)
    assert scores.removal is not None and set(scores.removal.losses) == {"mine", "class"}
    (plan,) = (folder / "plans").glob("score-*.json")
    content = json.loads(plan.read_text())
    assert len(content["removed"]) == 2 * 2 + 4 and all(len(one) == 5 for one in content["removed"])
    target = content["targets"][0]
    assert content["removed"][0] == np.argsort(-matrix[:, target])[:5].tolist()
    before = sorted((folder / "results").iterdir())
    again = score_campaign(*args, baselines="class", removal=removal)
    assert again.removal is not None and again.removal.losses == scores.removal.losses
    assert sorted((folder / "results").iterdir()) == before and len(list((folder / "plans").glob("score-*.json"))) == 1


def test_the_command_prints_a_table_and_writes_json_and_a_figure(
    trained: tuple[Campaign, CampaignConfig], matrix: np.ndarray, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained[0].folder, tmp_path / "campaign"))
    np.save(tmp_path / "mine.npy", matrix)
    run = CliRunner().invoke(app, ["score", str(folder), str(tmp_path / "mine.npy"), "--baselines", "random,class"])
    assert run.exit_code == 0, run.output
    assert (
        "class (baseline)" in run.output
        and "ceiling of single runs" in run.output
        and "Differences in mean LDS" in run.output
    )
    assert (folder / "score.png").read_bytes().startswith(b"\x89PNG")
    assert set(json.loads((folder / "score.json").read_text())["methods"]) == {"mine", "random", "class"}
    as_json = CliRunner().invoke(app, ["score", str(folder), "--baselines", "class", "--json"])
    assert set(json.loads(as_json.stdout)["methods"]) == {"class"}
