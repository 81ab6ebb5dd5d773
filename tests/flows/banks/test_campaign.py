"""A recorded campaign from import to export: attribute, report, show, score, curate, audit."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from conf.compose import recompose
from flows.banks.importing import import_bank
from flows.errors import CoterieError
from flows.store.configuration import kept_configuration
from tests.flows.banks.bank_files import N_PLAYERS, save
from tests.flows.inline_cluster import use_inline_cluster
from tests.flows.toy import run_stages


def margins(n_masks: int = 400) -> tuple[np.ndarray, np.ndarray]:
    """Margins of 8 targets of two classes: players help their own class; 0 and 1 replace one another."""
    rng = np.random.default_rng(3)
    masks = rng.random((n_masks, N_PLAYERS)) < 0.5
    outputs = expected(masks)
    return masks, (outputs + 0.3 * rng.normal(size=outputs.shape)).astype(np.float32)


def expected(masks: np.ndarray) -> np.ndarray:
    own = np.where(np.arange(N_PLAYERS)[:, None] % 2 == np.arange(8) % 2, 0.4, -0.2)
    return (masks - 0.5) @ own + 2 * masks[:, [0, 2]].any(axis=1)[:, None] * (np.arange(8) % 2 == 0)


@pytest.mark.ray
def test_a_recorded_bank_goes_from_import_to_export(
    cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.audit.fragments import audit
    from flows.certify import certify
    from flows.curate import curate
    from flows.decisions.export import export
    from flows.scoring.removal import Removal
    from flows.scoring.scoring import score_campaign
    from flows.store.derived import read_derived

    monkeypatch.setattr("flows.compute.ray_cluster._session", cluster)
    masks, outputs = margins()
    for what, n in (("players", N_PLAYERS), ("targets", 8)):
        rows = [f"{what} {at},{'cat' if at % 2 else 'dog'}" for at in range(n)]
        (tmp_path / f"{what}.csv").write_text("\n".join(["name,class", *rows]))
    campaign = import_bank(
        tmp_path / "c", alpha=0.5, players=tmp_path / "players.csv", targets=tmp_path / "targets.csv",
        **save(tmp_path, masks=masks, outputs=outputs),  # type: ignore[arg-type]
    ).campaign  # fmt: skip
    settings = [
        "attribution.published_targets=0",
        "attribution.n_targets=4",
        "attribution.max_order=2",
        "curate.allow_unlearnable=true",
    ]
    config = recompose(kept_configuration(campaign, str(campaign.folder)), settings)
    run_stages(config, "plan", "attribute", "report")
    pairs = {tuple(row["members"]) for row in campaign.read("interactions").to_pylist() if row["q_value"] < 0.01}
    assert (0, 2) in pairs
    page = (campaign.folder / "report.html").read_text()
    assert "recorded" in page and "epochs" not in page.partition("Resolved configuration")[0]
    curate.fn(config)
    decisions = read_derived(campaign, "decisions").to_pylist()
    assert len(decisions) == N_PLAYERS and {row["label_score"] for row in decisions} == {None}
    written = export(campaign, tmp_path / "curated")
    assert written.n_kept + written.n_dropped == N_PLAYERS
    assert json.loads((tmp_path / "curated" / "subset.json").read_text())["names"][0].startswith("players ")
    report = audit(campaign, config, sample=1)
    assert report.findings == [] and report.n_retrained == 0 and "recorded" in " ".join(report.notes)
    named = [*settings, f"game.function={__name__}:outputs_of", "certify.members=[0,2]", "certify.target=0"]
    certify.fn(recompose(kept_configuration(campaign, str(campaign.folder)), [*named, "certify.n_bases=16"]))
    (row,) = read_derived(campaign, "certification").to_pylist()
    assert row["measured"] == pytest.approx(-2.0, abs=0.6) and row["verdict"] == "certified"
    removal = Removal(n_removed=4, n_targets=2, n_seeds=2, n_random=4)
    removed = score_campaign(
        campaign, recompose(kept_configuration(campaign, str(campaign.folder)), named), [], logging.getLogger("test"),
        baselines="datamodel", removal=removal,
    ).removal  # fmt: skip
    assert removed is not None and removed.losses["datamodel"].value > 0
    scores = score_campaign(campaign, config, [], logging.getLogger("test"))
    assert set(scores.lds.scores) == {"random", "class", "datamodel"} and scores.ranking[0] == "datamodel"
    with pytest.raises(CoterieError, match="a race of rules .* no trainer"):
        curate.fn(recompose(kept_configuration(campaign, str(campaign.folder)), [*settings, "curate.race_models=10"]))


def outputs_of(indices: np.ndarray, seed: int, context: object) -> np.ndarray:
    """A trainer for the bank: its own function of the mask, with another seed's noise."""
    mask = np.zeros((1, N_PLAYERS), bool)
    mask[0, np.asarray(indices)] = True
    return expected(mask)[0] + 0.3 * np.random.default_rng(seed).normal(size=8)


def test_a_trainer_of_the_users_own_evaluates_for_a_bank(tmp_path: Path) -> None:
    from flows.games.table import evaluator, require_evaluation

    masks, outputs = margins()
    campaign = import_bank(tmp_path / "c", alpha=0.5, **save(tmp_path, masks=masks, outputs=outputs)).campaign  # type: ignore[arg-type]
    kept = kept_configuration(campaign, str(campaign.folder))
    with pytest.raises(CoterieError, match=r"no trainer that could. Name one: game\.function="):
        require_evaluation(recompose(kept), "`coterie certify`", accepts_trainer=True)
    config = recompose(kept, [f"game.function={__name__}:outputs_of"])
    require_evaluation(config, "`coterie certify`", accepts_trainer=True)
    found = evaluator(config, campaign).evaluate(masks[:3], [1, 2, 3])
    assert list(found.status) == ["ok"] * 3 and np.allclose(found.outputs, expected(masks[:3]), atol=1.5)
    with pytest.raises(CoterieError, match="9 players and 8 targets, the bank 21 and 8"):
        evaluator(recompose(kept, [f"game.function={__name__}:outputs_of", "game.players='9'"]), campaign)


AUDIT = np.arange(28) % 3 == 1  # rows of the targets' table that the bank has no outputs of
AUDIT[25:] = True


def outputs_and_audit(indices: np.ndarray, seed: int, context: object) -> np.ndarray:
    """The trainer of a bank with audit rows: every row of its table, in its order."""
    found = np.zeros(28)
    found[~AUDIT] = np.resize(outputs_of(indices, seed, context), (~AUDIT).sum())
    found[AUDIT] = np.resize(outputs_of(indices, seed + 1, context), AUDIT.sum())
    return found


def test_a_trainer_verifies_and_turns_over_what_a_bank_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.brittleness import brittleness
    from flows.curate import curate
    from flows.games.table import evaluator
    from flows.store.derived import about, read_derived
    from flows.verify import verify

    use_inline_cluster(monkeypatch)
    masks, outputs = margins()
    outputs = np.resize(outputs.T, ((~AUDIT).sum(), len(masks))).T
    rows = [f"row {at},{'cat' if at % 2 else 'dog'},{bool(AUDIT[at])}" for at in range(28)]
    (tmp_path / "targets.csv").write_text("\n".join(["name,class,audit", *rows]))
    campaign = import_bank(
        tmp_path / "c", alpha=0.5, targets=tmp_path / "targets.csv",
        **save(tmp_path, masks=masks, outputs=outputs),  # type: ignore[arg-type]
    ).campaign  # fmt: skip
    assert (campaign.n_targets, campaign.meta.n_audit) == (17, 11)
    kept = kept_configuration(campaign, str(campaign.folder))
    settings = [
        "attribution.published_targets=0", "attribution.n_targets=3", "attribution.max_order=2",
        "attribution.pooled_targets=false", "curate.allow_unlearnable=true", "curate.keep_count=15",
        "verify.n_seeds=4", "verify.curve_seeds=0", "brittleness.n_targets=2",
    ]  # fmt: skip
    config = recompose(kept, settings)
    run_stages(config, "plan", "attribute")
    curate.fn(config)
    with pytest.raises(CoterieError, match=r"`coterie verify` evaluates .*Name one: game\.function="):
        verify.fn(config)
    named = recompose(kept, [*settings, f"game.function={__name__}:outputs_and_audit"])
    judge = evaluator(named, campaign)
    assert (judge.n_targets, judge.n_audit) == (17, 11)
    found = verify.fn(named)
    assert found.n_keep == 15
    against = {row["against"] for row in read_derived(campaign, "comparisons").to_pylist()}
    assert against == {"random", "main_effects", "full"}
    assert "of the audit examples right" in about(campaign, "comparisons")["sentences"][0]
    assert brittleness.fn(named).n_targets == 2


def test_a_bank_that_does_not_say_when_a_model_is_right_is_not_decided_on(tmp_path: Path) -> None:
    from flows.store.learnability import campaign_learnability

    masks, outputs = margins()
    files = save(tmp_path, masks=masks, outputs=outputs)
    campaign = import_bank(tmp_path / "c", alpha=0.5, output="value", **files).campaign  # type: ignore[arg-type]
    with pytest.raises(CoterieError, match="does not say when a model is right.*--output margin_max.*a class"):
        campaign_learnability(campaign)
