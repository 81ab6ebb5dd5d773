"""A campaign whose masks take several alphas in turn, from the plan to the tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from conf.compose import ConfigError
from flows.compute.target_blocks import TargetBlocks
from flows.compute.work import analyse_block
from flows.decisions.evidence import _pairs_at, decision_alpha
from flows.plan import plan
from flows.store.campaign import Campaign
from flows.store.roles import RowRange
from tests.flows.small_campaign import small_config, train_missing
from training import sample_masks

SEVERAL = ("sampler.other_alphas=[0.2]", "campaign.n_fit=104", "campaign.n_holdout=12")


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> tuple[Campaign, object]:
    config = small_config(tmp_path_factory.mktemp("several") / "campaign", *SEVERAL)
    return train_missing(config), config


def test_the_plan_says_the_alpha_of_every_mask(campaign) -> None:
    stored, config = campaign
    table = stored.read("masks")
    ids = table["mask_id"].to_numpy()
    assert table["alpha"].to_pylist() == np.where(ids % 2 == 0, 0.5, 0.2).tolist()
    masks, _ = stored.masks(RowRange("fit", 0, 0, 104))
    assert np.array_equal(masks, sample_masks(20, 104, (0.5, 0.2), config.campaign.seed))
    assert stored.meta["alphas"] == [0.5, 0.2] and stored.meta["alpha"] == 0.5
    assert stored.training_pairs("fit", one_alpha=True).mask_ids.tolist() == list(range(0, 104, 2))
    assert len(stored.training_pairs("fit").mask_ids) == 104


@pytest.mark.filterwarnings("ignore::attribution.errors.AttributionWarning")
def test_a_block_of_targets_is_analysed_with_the_alphas_of_its_masks(campaign) -> None:
    stored, config = campaign
    data = TargetBlocks(stored, config)
    found = analyse_block(data.job(config), next(iter(data)))
    assert len(found.effects["target"]) == 4 * 20
    assert np.isfinite(found.scores["spectrum", "r2"].value).all()


def test_with_one_alpha_nothing_is_added_to_the_tables(tmp_path: Path) -> None:
    config = small_config(tmp_path / "campaign")
    plan.fn(config)
    stored = Campaign(config.campaign.folder)
    assert "alpha" not in stored.schema("masks").names and "alphas" not in stored.meta
    assert stored.alphas_of(np.arange(3)) == 0.5


@pytest.mark.parametrize("bad", ["sampler.other_alphas=[0.5]", "sampler.other_alphas=[1.5]", "sampler=fixed_size"])
def test_alphas_that_make_no_sense_are_refused(bad: str) -> None:
    extra = ["sampler.other_alphas=[0.2]"] if bad.startswith("sampler=") else []
    with pytest.raises(ConfigError, match="alphas"):
        small_config("nowhere", bad, *extra)


def test_a_budget_is_met_by_the_masks_whose_alpha_is_nearest_to_the_share_kept(campaign) -> None:
    stored, config = campaign
    for share, alpha in ((None, 0.5), (0.6, 0.5), (0.3, 0.2), (0.1, 0.2)):
        asked = config.model_copy(update={"curate": config.curate.model_copy(update={"keep_share": share})})
        assert decision_alpha(asked, stored) == alpha
        pairs = _pairs_at(stored, alpha)
        assert pairs.mask_ids.tolist() == list(range(0 if alpha == 0.5 else 1, 104, 2))
        assert abs(pairs.masks.mean() - alpha) < 0.05
