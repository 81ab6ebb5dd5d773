"""K members trained as one network are K models trained alone: what each sees and becomes is its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import training.engine.engine
from training import Dataset, Recipe, TrainingInputError, retrain, sample_masks

SHORT = Recipe(epochs=8, batch_size=10)
AUGMENTED = replace(SHORT, flip=True, crop_padding=1, cutout=2, label_smoothing=0.1, flip_at_test=True)


def same(first, second) -> bool:
    """Bit for bit, NaN equal to NaN."""
    numbers = ("outputs", "train_accuracy", "target_accuracy", "audit_accuracy")
    return np.array_equal(first.status, second.status) and all(
        np.array_equal(getattr(first, name), getattr(second, name), equal_nan=True) for name in numbers
    )


@pytest.mark.parametrize("recipe", [SHORT, AUGMENTED], ids=["plain", "augmented"])
def test_members_trained_together_equal_members_trained_alone_in_float64(small_digits, recipe):
    """Over a whole run, members of different sizes included; 1e-9 is rounding that training has amplified."""
    masks = sample_masks(40, 5, 0.5, 0)
    masks[1, 6:] = False
    alone = retrain(small_digits, masks, range(5), recipe, ensemble_size=1, dtype="float64")
    together = retrain(small_digits, masks, range(5), recipe, ensemble_size=5, dtype="float64")
    in_chunks = retrain(small_digits, masks, range(5), recipe, ensemble_size=2, dtype="float64")
    np.testing.assert_allclose(together.outputs, alone.outputs, rtol=0, atol=1e-9)
    np.testing.assert_allclose(in_chunks.outputs, alone.outputs, rtol=0, atol=1e-9)
    assert alone.outputs.std(axis=0).min() > 0.01


def test_members_trained_together_equal_members_trained_alone_for_one_step_in_float32(small_digits):
    masks = sample_masks(40, 8, 0.5, 0)
    one_step = replace(SHORT, epochs=0.5, learning_rate=0.01)
    assert one_step.steps(40) == 1
    alone = retrain(small_digits, masks, range(8), one_step, ensemble_size=1)
    together = retrain(small_digits, masks, range(8), one_step, ensemble_size=8)
    np.testing.assert_allclose(together.outputs, alone.outputs, rtol=0, atol=2e-5)


def test_over_a_full_float32_run_members_keep_their_distribution(digits):
    """Rounding differences grow over a run, so K is compared by distribution: far closer than another
    seed."""
    masks = sample_masks(200, 12, 0.5, 0)
    recipe = Recipe()
    few, many = (retrain(digits, masks, range(12), recipe, ensemble_size=ensemble_size) for ensemble_size in (4, 12))
    other_seed = retrain(digits, masks, range(100, 112), recipe, ensemble_size=12)
    gap = np.abs(few.outputs - many.outputs)
    assert np.median(gap) < 0.05 * np.median(np.abs(other_seed.outputs - many.outputs))
    assert abs(few.target_accuracy.mean() - many.target_accuracy.mean()) < 0.02


def test_a_member_does_not_depend_on_its_neighbours(small_digits):
    masks = sample_masks(40, 6, 0.5, 0)
    other_masks, other_seeds = sample_masks(40, 6, 0.5, 99), np.arange(500, 506)
    other_masks[2], other_seeds[2] = masks[2], 2
    first = retrain(small_digits, masks, range(6), SHORT, ensemble_size=6)
    second = retrain(small_digits, other_masks, other_seeds, SHORT, ensemble_size=6)
    assert np.array_equal(first.outputs[2], second.outputs[2])
    assert not np.array_equal(first.outputs[1], second.outputs[1])


def test_the_same_call_gives_the_same_bits_and_another_seed_others(small_digits):
    masks = sample_masks(40, 3, 0.5, 0)
    first = retrain(small_digits, masks, [5, 6, 7], SHORT, ensemble_size=3)
    assert same(first, retrain(small_digits, masks, [5, 6, 7], SHORT, ensemble_size=3))
    assert not np.array_equal(first.outputs, retrain(small_digits, masks, [5, 6, 8], SHORT).outputs)


def test_a_member_that_diverges_does_not_touch_its_neighbours(small_digits, monkeypatch):
    masks = sample_masks(40, 4, 0.5, 0)
    healthy = retrain(small_digits, masks, range(4), SHORT, ensemble_size=4)
    initialise = training.engine.engine.initialise

    def spoil_member_one(model, seeds):
        initialise(model, seeds)
        model.stem[0].weight.data.view(len(seeds), -1)[1] = float("nan")

    monkeypatch.setattr(training.engine.engine, "initialise", spoil_member_one)
    spoilt = retrain(small_digits, masks, range(4), SHORT, ensemble_size=4)
    assert spoilt.status.tolist() == ["ok", "diverged", "ok", "ok"]
    assert np.isnan(spoilt.outputs[1]).all() and np.isnan(spoilt.target_accuracy[1])
    others = [0, 2, 3]
    assert np.array_equal(spoilt.outputs[others], healthy.outputs[others])
    assert np.array_equal(spoilt.train_accuracy[others], healthy.train_accuracy[others])


def test_a_recipe_that_blows_up_yields_rows_without_numbers(small_digits):
    wild = replace(SHORT, learning_rate=1e8, weight_decay=1.0)
    result = retrain(small_digits, sample_masks(40, 3, 0.5, 0), range(3), wild)
    assert result.status.tolist() == ["diverged"] * 3
    assert np.isnan(result.outputs).all()


def test_an_empty_training_set_leaves_the_initial_network(small_digits):
    masks = sample_masks(40, 3, 0.5, 0)
    masks[1] = False
    result = retrain(small_digits, masks, range(3), SHORT, ensemble_size=3)
    assert result.status.tolist() == ["ok"] * 3
    assert np.isfinite(result.outputs).all() and np.isnan(result.train_accuracy[1])
    untrained = retrain(small_digits, masks[1:2], [1], replace(SHORT, learning_rate=0.5), ensemble_size=1)
    np.testing.assert_allclose(result.outputs[1], untrained.outputs[0], atol=1e-5)
    without = retrain(small_digits, masks[[0, 2]], [0, 2], SHORT, ensemble_size=3)
    assert np.array_equal(result.outputs[[0, 2]], without.outputs)


def test_a_subset_smaller_than_a_batch_still_trains(small_digits):
    masks = np.zeros((2, 40), dtype=bool)
    masks[0, 3] = True
    masks[1, [0, 1, 2]] = True
    result = retrain(small_digits, masks, [0, 1], SHORT, ensemble_size=2)
    assert result.status.tolist() == ["ok", "ok"]
    assert result.train_accuracy.tolist() == [1.0, 1.0]


def test_groups_as_players_leave_out_all_of_their_examples(small_digits):
    players = np.arange(40) % 8
    grouped = replace(small_digits, players=players, player_names=tuple(f"group {g}" for g in range(8)))
    masks = sample_masks(8, 3, 0.5, 1)
    by_group = retrain(grouped, masks, range(3), SHORT)
    by_example = retrain(small_digits, masks[:, players], range(3), SHORT)
    assert same(by_group, by_example)


def test_arrays_out_of_an_object_store_are_read_only(small_digits):
    def frozen(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.setflags(write=False)
        return array

    def freeze(part):
        return replace(
            part,
            images=frozen(part.images),
            labels=frozen(part.labels),
            source_index=frozen(part.source_index),
        )

    stored = replace(
        small_digits,
        train=freeze(small_digits.train),
        targets=freeze(small_digits.targets),
        audit=freeze(small_digits.audit),
        players=frozen(small_digits.players),
    )
    masks = frozen(sample_masks(40, 2, 0.5, 0))
    assert same(
        retrain(stored, masks, frozen(np.arange(2)), AUGMENTED),
        retrain(small_digits, masks, range(2), AUGMENTED),
    )


def test_every_row_is_accounted_for_and_progress_is_reported(small_digits):
    reported: list[tuple[int, int]] = []
    masks = sample_masks(40, 5, 0.5, 0)
    result = retrain(
        small_digits,
        masks,
        range(5),
        SHORT,
        ensemble_size=2,
        progress=lambda done, total: reported.append((done, total)),
    )
    assert reported == [(2, 5), (4, 5), (5, 5)]
    assert result.outputs.shape == (5, 30) and result.outputs.dtype == np.float32
    assert result.ensemble_size == 2 and result.device == "cpu"
    assert (result.train_seconds > 0).all()
    correct = (result.outputs > np.log(1e-9)).mean(axis=1)
    assert (correct >= result.target_accuracy).all()


def test_a_data_set_without_audit_examples_trains(small_digits):
    bare = replace(small_digits, audit=small_digits.audit.take(np.arange(0)))
    result = retrain(bare, sample_masks(40, 2, 0.5, 0), range(2), SHORT)
    assert np.isnan(result.audit_accuracy).all() and np.isfinite(result.outputs).all()


@pytest.mark.parametrize("output", ["margin_lse", "margin_max"])
def test_the_recorded_output_is_the_recipe_s(small_digits, output):
    masks = sample_masks(40, 2, 0.5, 0)
    result = retrain(small_digits, masks, range(2), replace(SHORT, output=output))
    if output == "margin_max":
        np.testing.assert_allclose((result.outputs > 0).mean(axis=1), result.target_accuracy, atol=1e-6)
    else:
        assert ((result.outputs > 0).mean(axis=1) <= result.target_accuracy + 1e-6).all()


def test_resnet9_trains_in_colour(small_digits):
    def enlarge(part):
        return replace(part, images=np.repeat(part.images.repeat(2, 1).repeat(2, 2), 3, axis=3))

    colour = replace(
        small_digits,
        train=enlarge(small_digits.train),
        targets=enlarge(small_digits.targets),
        audit=enlarge(small_digits.audit),
    )
    recipe = replace(AUGMENTED, architecture="resnet9", width=8, epochs=40, cutout=0, output="margin_max")
    masks = sample_masks(40, 2, 0.5, 0)
    together = retrain(colour, masks, range(2), recipe, ensemble_size=2, dtype="float64")
    alone = retrain(colour, masks, range(2), recipe, ensemble_size=1, dtype="float64")
    assert together.train_accuracy.mean() > 0.6  # ten classes: chance is 0.1
    np.testing.assert_allclose(together.outputs, alone.outputs, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"masks": np.ones((2, 39), dtype=bool)}, "(n_masks, 40); got shape (2, 39)"),
        ({"masks": np.ones((0, 40), dtype=bool)}, "at least one model is needed"),
        ({"masks": np.ones((2, 40))}, "masks must be bool"),
        ({"seeds": [1]}, "got 1 seeds for 2 masks"),
        ({"ensemble_size": 0}, "ensemble_size must be at least 1; got 0"),
        ({"device": "abacus"}, "device 'abacus' cannot be used"),
        ({"dtype": "float16"}, "dtype must be one of float32, float64; got 'float16'"),
        ({"recipe": Recipe(architecture="resnet9")}, "needs images of at least 12x12 pixels; got 8x8"),
    ],
)
def test_bad_requests_are_refused_in_words(small_digits, change, said):
    request = {"masks": np.ones((2, 40), dtype=bool), "seeds": [0, 1], "recipe": SHORT} | change
    with pytest.raises(TrainingInputError) as raised:
        retrain(small_digits, request.pop("masks"), request.pop("seeds"), request.pop("recipe"), **request)
    assert said in str(raised.value)


def test_one_class_has_no_margin(small_digits):
    lonely = replace(small_digits, class_names=("0",))
    with pytest.raises(TrainingInputError, match="at least two classes"):
        retrain(lonely, np.ones((1, 40), dtype=bool), [0], SHORT)


def test_digits_reach_the_accuracy_and_the_noise_ceiling_of_the_recorded_campaign(shared):
    """Trained on the recorded masks with other seeds, outputs agree with the record as its own replicates do.

    Two runs of one mask correlate by the noise ceiling: median over targets .31 among the record's
    replicates.
    """
    from training.data.dataset import SourceOptions
    from training.data.sources import read_source

    record = np.load(shared / "campaigns" / "digits-200.npz")
    masks = np.unpackbits(record["masks"], axis=1, bitorder="little")[:96, :200].astype(bool)
    everything = read_source("digits", SourceOptions()).train
    train, targets = everything.take(record["train_index"]), everything.take(record["test_index"])
    dataset = Dataset(
        name="recorded",
        class_names=tuple("0123456789"),
        train=train,
        targets=targets,
        audit=targets.take(np.arange(1)),
        players=np.arange(200),
        player_names=tuple(map(str, range(200))),
    )
    result = retrain(dataset, masks, range(96), Recipe())
    recorded = record["outputs"][:96]
    assert abs((result.outputs > 0).mean() - (recorded > 0).mean()) < 0.015

    def standardised(outputs: np.ndarray) -> np.ndarray:
        return (outputs - outputs.mean(axis=0)) / outputs.std(axis=0)

    agreement = (standardised(result.outputs) * standardised(recorded)).mean(axis=0)
    assert 0.22 < np.median(agreement) < 0.42
