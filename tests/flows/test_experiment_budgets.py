"""Experiments cost at most what the campaign cost, say what more would buy, and decline where nothing was learnt."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from conf.compose import ConfigError
from flows.certify import sets_within_budget
from flows.cli.decisions import ask_before_much
from flows.curate import curate
from flows.decisions.evidence import check_request
from flows.decisions.export import export
from flows.errors import NothingLearnt
from flows.experiments.budget import own_models, plan_verification
from flows.experiments.verify_sentences import earlier_verdicts
from flows.store.campaign import Campaign
from flows.store.learnability import campaign_learnability, learnability_sentence
from flows.verify import current_decisions
from tests.flows.decided_campaign import decided_config, make_decided_campaign


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("budget") / "campaign"
    make_decided_campaign(decided_config(folder))
    return folder


@pytest.mark.parametrize(
    ("most", "sizes", "architectures", "n_seeds"),
    [
        (1000, (6, 12, 18), ("first", "second"), 20),
        (250, (12, 18), ("first", "second"), 20),
        (230, (12,), ("first", "second"), 20),
        (150, (12, 18), ("first",), 20),
        (50, (), ("first",), 10),
    ],
)
def test_a_verification_fits_its_budget(
    folder: Path, most: int, sizes: tuple[int, ...], architectures: tuple[str, ...], n_seeds: int
) -> None:
    config = decided_config(folder, f"verify.max_models={most}", "verify.curve_seeds=6")
    found = plan_verification(config, Campaign(folder), [6, 12, 18], ["first", "second"], 13, 4)
    assert found.n_models <= most
    assert (found.sizes, found.architectures, found.n_seeds) == (sizes, architectures, n_seeds)
    assert bool(found.left_out) == (found.n_models < 272)
    if found.left_out:
        assert "verify.max_models=272" in found.left_out[0]


def test_certify_tries_as_many_sets_as_the_campaigns_own_number_of_models_suffices_for(folder: Path) -> None:
    campaign = Campaign(folder)
    small = decided_config(folder, "certify.n_random=1", "certify.min_bases=50")
    whole, notes = sets_within_budget(decided_config(folder, "certify.n_random=1", "certify.max_models=5000"), campaign)
    assert (len(whole), notes) == (3, [])
    chosen, notes = sets_within_budget(small, campaign)
    assert [candidate.origin for candidate in chosen] == ["reported"]
    assert f"within {own_models(campaign)} models" in notes[0] and "certify.max_models=" in notes[0]


def test_a_verdict_that_flips_within_its_interval_is_called_noise() -> None:
    before = {"difference": 0.056, "low": 0.01, "high": 0.1, "verdict": "better"}
    now = {"difference": 0.01, "low": -0.03, "high": 0.05, "verdict": "no difference shown"}
    assert earlier_verdicts([before]) == ""
    assert "may be noise" in earlier_verdicts([before, now])
    assert "do not overlap" in earlier_verdicts([before, {**now, "low": -0.2, "high": -0.1}])
    assert "noise" not in earlier_verdicts([{**before, "low": None}, now])


def test_ten_times_the_campaign_needs_a_yes(folder: Path) -> None:
    own = own_models(Campaign(folder))
    much = decided_config(folder, f"verify.max_models={10 * own + 1}")
    ask_before_much("verify", decided_config(folder, f"verify.max_models={10 * own}"), agreed=False)
    ask_before_much("verify", much, agreed=True)
    with pytest.raises(ConfigError, match="--yes"):  # no terminal to ask in
        ask_before_much("verify", much, agreed=False)


def test_where_nothing_was_learnt_nothing_is_decided_verified_or_exported(tmp_path: Path) -> None:
    config = decided_config(tmp_path / "chance")
    campaign = make_decided_campaign(config, audit_accuracy=0.2)
    found = campaign_learnability(campaign)
    assert not found.learnt and found.n_examples == 16
    assert "not shown to be above chance" in learnability_sentence(campaign, found)
    sure = replace(found, accuracy=0.99, low=0.9, high=1.1)
    assert "right on 99.0% of the 16 audit examples [90.0%, 100.0%]" in learnability_sentence(campaign, sure)
    for declined in (
        lambda: curate.fn(config), lambda: check_request(config, campaign), lambda: current_decisions(config, campaign)
    ):  # fmt: skip
        with pytest.raises(NothingLearnt, match="What may help: more training pictures than 24"):
            declined()
    assert NothingLearnt.exit_code != 0
    allowed = decided_config(tmp_path / "chance", "curate.allow_unlearnable=true", "curate.similarity=false")
    curate.fn(allowed)
    assert export(campaign, tmp_path / "out").n_kept > 0


def test_without_audit_examples_verify_says_so_before_anything_is_trained(tmp_path: Path) -> None:
    config = decided_config(tmp_path / "none", "dataset.n_audit=0")
    campaign = make_decided_campaign(config)
    with pytest.raises(Exception, match="holds no audit examples back"):
        current_decisions(config, campaign)
