"""How many groups a budget pays for, and that the advice agrees with what a simulated campaign detects."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.errors import AttributionError
from attribution.statistics.group_power import group_power, recommended_count
from flows.forecast.groups import advice_lines, advise
from tests.flows.toy import toy


def test_a_budget_becomes_models_groups_and_masks(tmp_path) -> None:
    config = toy(tmp_path / "c", "campaign.n_holdout=256", "campaign.n_replicates=1")
    found = advise(config, core_seconds=1.7, n_images=4900, n_classes=10, core_hours=2.0)
    assert found.n_models == 4235 and found.n_fit == 4235 - 512 and not found.measured
    assert found.count % 10 == 0 and found.count == recommended_count(found.n_fit, 0.5, 4900, 10)
    verdicts = {choice.n_groups: choice.enough for choice in found.choices}
    assert verdicts[found.count] and not verdicts[2 * found.count]
    assert f"players.count={found.count}" in advice_lines(found, 4900)[0][1]


def test_a_budget_that_pays_for_nothing_is_refused_with_what_would(tmp_path) -> None:
    config = toy(tmp_path / "c", "campaign.n_holdout=256")
    with pytest.raises(AttributionError, match="core-hours or more"):
        advise(config, core_seconds=1.7, n_images=4900, n_classes=10, core_hours=0.1)


def test_the_predicted_share_of_groups_is_detected_by_least_squares() -> None:
    """At the recommended number of groups a typical effect is found with a power of about 80%."""
    generator, explained, n_masks = np.random.default_rng(0), 0.5, 1600
    count = recommended_count(n_masks, explained, 10_000, 10)
    power = group_power(count, n_masks, 0.5, explained)
    effects = np.full(count, power.typical) * generator.choice([-1, 1], count)
    masks = generator.random((n_masks, count)) < 0.5
    outputs = masks @ effects + generator.normal(0, np.sqrt(1 - explained), n_masks)
    design = np.column_stack([np.ones(n_masks), masks])
    fit, residual, *_ = np.linalg.lstsq(design, outputs, rcond=None)
    spread = residual[0] / (n_masks - count - 1)
    errors = np.sqrt(spread * np.diag(np.linalg.inv(design.T @ design))[1:])
    assert 0.7 < float(np.mean(np.abs(fit[1:] / errors) > 1.96)) < 0.9


def test_what_main_effects_do_not_predict_is_noise_to_each_of_them() -> None:
    """Standard error and size of effects of a game of which interactions hold a part: a fit cannot use that part."""
    generator, count, n_masks = np.random.default_rng(1), 40, 2000
    masks = generator.random((n_masks, count)) < 0.5
    signs = 2.0 * masks - 1.0
    main = signs @ generator.choice([-1, 1], count) / np.sqrt(count)
    pairs = (signs[:, ::2] * signs[:, 1::2]) @ generator.choice([-1, 1], count // 2) / np.sqrt(count // 2)
    outputs = np.sqrt(0.4) * main + np.sqrt(0.4) * pairs + generator.normal(0, np.sqrt(0.2), n_masks)
    design = np.column_stack([np.ones(n_masks), masks])
    _, residual, *_ = np.linalg.lstsq(design, outputs, rcond=None)
    error = np.sqrt(residual[0] / n_masks * np.linalg.inv(design.T @ design)[1, 1])
    assert group_power(count, n_masks, 0.5, 0.8, predicted=0.4).seen / 2.8 == pytest.approx(error, rel=0.05)
    assert group_power(count, n_masks, 0.5, 0.8).seen / 2.8 < 0.65 * error
    assert recommended_count(n_masks, 0.8, 10_000, 10, predicted=0.4) == 340  # 2000 * .8 / (.6 * 7.84)


def test_a_measured_campaign_advises_by_its_ceiling_and_by_what_it_predicts(tmp_path, monkeypatch) -> None:
    config = toy(tmp_path / "c", "campaign.n_holdout=256", "campaign.n_replicates=1")
    monkeypatch.setattr("flows.forecast.groups._explained", lambda _: (0.76, 0.56, True))
    found = advise(config, core_seconds=1.7, n_images=4900, n_classes=10, core_hours=1.0)
    assert found.count == recommended_count(found.n_fit, 0.76, 4900, 10, predicted=0.56)
    assert found.count < recommended_count(found.n_fit, 0.76, 4900, 10)
    assert "the datamodel predicts 56% on held-out masks" in advice_lines(found, 4900)[1][1]
