"""Pruning and flips do what the spectrum says, and are tried."""

from __future__ import annotations

import numpy as np
import pytest

from ablation import ComponentGame, PatchGame
from attribution import Spectrum
from attribution.curation.surrogate import Surrogate
from flows.lenses import LensDecisionError
from flows.lenses.flips import curve, removal_order, smallest_flip
from flows.lenses.pruning import judge, keep_by, pruned, scores_of_arms, surrogate_of
from tests.flows.games.lens_models import tiny


def test_redundant_components_go_one_by_one_where_scores_take_both() -> None:
    main, error = np.array([1.0, 1.0, 1.2]), np.full(3, 1e-3)
    surrogate = Surrogate(0.5, 0.0, main, error, ((0, 1),), np.array([-1.9]), np.array([0.01]))
    kept = pruned(surrogate, {"linear": np.array([1.0, 1.0, 1.2])}, share=1 / 3)
    assert kept["spectrum"].sum() == 2 and kept["spectrum"][2]  # one of the two copies stays
    assert not pruned(surrogate, {}, share=2 / 3)["spectrum"][:2].all()
    assert keep_by(np.array([0.1, 0.3, 0.2]), 1).tolist() == [False, True, False]
    with pytest.raises(LensDecisionError, match="must lie in"):
        pruned(surrogate, {}, share=1.0)


def test_every_arm_scores_every_component_and_is_judged_image_by_image() -> None:
    model, images, labels = tiny()
    game = ComponentGame(model, images[:6], labels[:6], ablation="zero")
    masks = np.random.default_rng(0).random((60, 7)) < 0.5
    outputs = game.evaluate(masks)
    scores = scores_of_arms(game, masks, outputs, alpha=0.5)
    assert all(values.shape == (7,) and np.isfinite(values).all() for values in scores.values())
    kept = pruned(surrogate_of(masks, outputs, 0.5, max_order=2), scores, share=0.3)
    assert set(kept) == {"spectrum", "linear", "single", "taylor", "magnitude", "random"}
    assert {int(keep.sum()) for keep in kept.values()} == {5}
    whole = judge(game, np.ones(7, bool), images[6:], labels[6:])
    assert (whole.difference, whole.low, whole.high) == (0.0, 0.0, 0.0)
    found = judge(game, kept["random"], images[6:], labels[6:])
    assert found.low <= found.difference <= found.high
    assert found.accuracy == found.correct.mean()


def test_removals_follow_interactions_that_single_effects_do_not_show() -> None:
    # Two copies (an OR): alone each is worth little, together everything.
    spectrum = Spectrum.from_moebius({(0,): 4.0, (1,): 4.0, (0, 1): -4.0, (2,): 1.9}, 4, 0.5)
    assert set(removal_order(spectrum)[:2]) == {2, 0} or removal_order(spectrum)[0] == 2
    assert removal_order(spectrum, interactions=False)[:2] == [0, 1]


def test_a_flip_is_evaluated_and_no_member_of_it_is_idle() -> None:
    model, images, labels = tiny()
    game = PatchGame(model, images[:1], labels[:1], regions=(2, 2))
    every = (np.arange(16)[:, None] >> np.arange(4)) & 1 == 1
    outputs = game.evaluate(every)[:, 0]
    label = labels[:1] if outputs[-1] > 0 else np.array([int(game.fixed.logits[0].argmax())])
    game = PatchGame(model, images[:1], label, regions=(2, 2))
    outputs = game.evaluate(every)[:, 0]
    exact = Spectrum.from_moebius(moebius(outputs), 4, 0.5)
    flip = smallest_flip(game, exact, 0)
    removed = np.ones((1, 4), bool)
    removed[0, list(flip.removed)] = False
    assert flip.flipped == bool((outputs < 0).any())
    if flip.flipped:
        assert game.evaluate(removed)[0, 0] < 0
        for player in flip.removed:
            back = removed.copy()
            back[0, player] = True
            assert game.evaluate(back)[0, 0] >= 0 or len(flip.removed) == 1
    margins = curve(game, [0, 1, 2, 3], 0)
    assert margins[0] == pytest.approx(outputs[-1], abs=1e-5) and margins[-1] == pytest.approx(outputs[0], abs=1e-5)
    assert curve(game, [0, 1, 2, 3], 0, insert=True)[-1] == pytest.approx(outputs[-1], abs=1e-5)


def moebius(outputs: np.ndarray) -> dict[tuple[int, ...], float]:
    """Moebius coefficients of a function on four players, by subtraction."""
    found = {}
    for number in range(16):
        inside = [sub for sub in range(16) if sub & number == sub]
        value = sum((-1) ** bin(number ^ sub).count("1") * float(outputs[sub]) for sub in inside)
        found[tuple(i for i in range(4) if number >> i & 1)] = value
    return found
