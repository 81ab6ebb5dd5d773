"""Orders of removal: greedy in what interacts, tried on a known game, compared over targets."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ablation import AblationError, PatchGame
from attribution.curation.surrogate import Surrogate
from flows.lenses.removals import by_scores, by_surrogate, compare, greedy, try_orders
from flows.reporting.lens_decisions import flip_sentences, flip_table, prune_sentences
from tests.flows.games.lens_models import tiny


def copies() -> Surrogate:
    """Two copies (an OR of players 0 and 1), and a player that is worth 1.5."""
    return Surrogate(0.5, 0.0, np.array([1.0, 1.0, 1.5, 0.1]), np.zeros(4), ((0, 1),), np.array([-2.0]), np.zeros(1))


def test_a_greedy_order_takes_a_copy_only_once_its_twin_is_gone_and_puts_one_of_them_in() -> None:
    assert greedy(copies())[0] == 2  # of two copies neither is worth anything while the other is there
    assert set(greedy(copies(), insert=True)[:2]) == {0, 2} or set(greedy(copies(), insert=True)[:2]) == {1, 2}
    assert greedy(copies().without_sets())[:3] == (2, 0, 1)


def test_a_flip_needs_all_its_members_and_every_step_is_evaluated() -> None:
    asked: list[np.ndarray] = []

    def margins(masks: np.ndarray, targets: np.ndarray) -> np.ndarray:
        asked.append(masks)
        return 2.0 * (masks[:, 0] | masks[:, 1]) - 1.0 + 0.1 * masks[:, 2] + 5.0 * targets

    orders = [by_surrogate(0, "interactions", copies()), by_scores(0, "linear", np.arange(4)[::-1]),
              by_scores(1, "linear", np.arange(4))]  # fmt: skip
    first, linear, never = try_orders(orders, margins, 4)
    assert set(first.removed) == {0, 1} and first.flipped and first.margin_after == pytest.approx(-0.9)
    assert set(linear.removed) == {0, 1} and linear.n_tried == 5 + 1
    assert not never.flipped and len(never.removed) == 4 and never.margin_after == pytest.approx(4.0)
    assert first.deletion == pytest.approx([1.1, 1.0, 1.0, 1.0, -1.0])
    assert first.insertion[0] == pytest.approx(-1.0) and first.insertion[-1] == pytest.approx(1.1)
    assert sum(map(len, asked)) == 2 * 3 * 5 + 3 + 1 and all(masks.shape[1] == 4 for masks in asked)


def test_differences_are_paired_over_targets() -> None:
    values = {"a": np.array([1.0, 2.0, 3.0]), "b": np.array([2.0, 3.0, 4.0])}
    assert compare(values, "a")["b"] == pytest.approx((1.0, 1.0, 1.0))
    assert math.isnan(compare({"a": np.ones(1)}, "a")["a"][1])


def test_sizes_are_compared_on_targets_that_every_order_turned_over() -> None:
    def row(target: int, by: str, removed: int, flipped: bool = True) -> dict:
        return {"target": target, "order_by": by, "removed": list(range(removed)), "flipped": flipped,
                "deletion": [1.0, -1.0 - removed], "insertion": [0.0, 1.0]}  # fmt: skip

    rows = [row(0, "interactions", 1), row(1, "interactions", 2), row(2, "interactions", 9, False),
            row(0, "main_effects", 2), row(1, "main_effects", 2), row(2, "main_effects", 3)]  # fmt: skip
    first, second = flip_table(rows)
    assert (first["n_flipped"], second["n_flipped"], first["n_both"]) == (2, 3, 2)
    assert first["size"] == 1.5 and second["size_apart"][0] == pytest.approx(0.5)
    said = flip_sentences(rows)
    assert (
        said[0].startswith("2 of 3 predictions were turned over") and "takes 1.50 players with interactions" in said[1]
    )
    assert flip_sentences([]) == ["No target is right with all players, so there is nothing to turn over."]


def test_pruning_says_where_it_gains_and_where_it_loses() -> None:
    def row(arm: str, share: float, difference: float, low: float, high: float, beside: tuple = (0.0, 0.0)) -> dict:
        return {"arm": arm, "share": share, "accuracy": 0.9 + difference, "difference": difference, "low": low,
                "high": high, "beside_low": beside[0], "beside_high": beside[1], "n_images": 50}  # fmt: skip

    rows = [row("spectrum", 0.1, 0.02, 0.01, 0.03), row("linear", 0.1, 0.0, -0.01, 0.01, (-0.03, -0.01)),
            row("spectrum", 0.6, -0.1, -0.3, 0.1), row("spectrum", 0.3, -0.2, -0.3, -0.1),
            row("linear", 0.3, -0.1, -0.2, 0.0, (0.05, 0.2))]  # fmt: skip
    said = " ".join(prune_sentences(rows, {"whole": 0.9, "n_sets": 0}))
    assert "first trained" not in said
    assert "first trained on 20 other images" in " ".join(
        prune_sentences(rows, {"whole": 0.9, "n_sets": 0, "n_finetuned": 20})
    )
    assert "right on 90.0% of 50 unseen images" in said and "decides by main effects alone" in said
    assert "no loss is shown up to 10% removed: 92.0% right, +2.0 points [+1.0, +3.0]. Of 2" in said  # not up to 60%
    assert (
        "Of 2 comparisons with the other rules, random apart, the spectrum is ahead beyond chance in 1 and behind in 1"
        in said
    )
    assert (
        "1 of 5 choices lies above the whole network by their own interval of 95%, where chance alone gives about 0.1; "
        "the largest: 10% removed by what acts together (spectrum), +2.0 points [+1.0, +3.0]." in said
    )


def test_pairs_are_evaluated_as_the_whole_table_and_gradients_add_up_to_the_difference() -> None:
    model, images, labels = tiny()
    game = PatchGame(model, images[:4], labels[:4], regions=(2, 2), batch_size=7)
    masks = np.random.default_rng(0).random((9, 4)) < 0.5
    which = np.arange(9) % 4
    assert game.evaluate_each(masks, which) == pytest.approx(game.evaluate(masks)[np.arange(9), which], abs=1e-6)
    ends = game.evaluate(np.array([[True] * 4, [False] * 4]))
    for image in range(4):
        found = game.integrated_gradients(image, 400)
        assert found.sum() == pytest.approx(ends[0, image] - ends[1, image], abs=0.02)
    with pytest.raises(AblationError, match="one a mask"):
        game.evaluate_each(masks, which + 9)
    with pytest.raises(AblationError, match="n_steps must be at least 1"):
        game.integrated_gradients(0, 0)
