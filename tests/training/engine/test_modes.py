"""In every execution mode a model's result is the one it has when trained alone."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

import training.engine.engine
import training.engine.factory
from training import Dataset, Recipe, TrainingInputError, retrain, sample_masks
from training.engine.engine import Engine
from training.engine.factory import make_engine
from training.engine.modes import ExecutionMode
from training.engine.native.library import NoLibrary, library

MODES = ["grouped+channels_last", "batched", "batched+channels_last", "vmap", "native"]
RECIPES = {
    "plain": Recipe(epochs=4, batch_size=10),
    "everything": Recipe(
        epochs=4, batch_size=10, width=4, blocks=2, flip=True, crop_padding=1, cutout=2, label_smoothing=0.1,
        flip_at_test=True, average_last=0.4, nesterov=False,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def needs(mode: str) -> None:
    if mode == "native":
        for dtype in ("float32", "float64"):
            try:
                library(dtype)
            except NoLibrary as error:
                pytest.skip(f"no compiled code here: {error}")


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_gives_what_one_model_alone_gives_in_float64(
    small_digits: Dataset, mode: str, recipe: Recipe
) -> None:
    """Over a whole run, 1e-9: rounding, amplified by training. One member has a subset smaller than a batch."""
    needs(mode)
    masks = sample_masks(40, 3, 0.5, 0)
    masks[1, 6:] = False
    alone = retrain(small_digits, masks, range(3), recipe, ensemble_size=1, dtype="float64")
    together = retrain(small_digits, masks, range(3), recipe, ensemble_size=3, dtype="float64", mode=mode)
    assert together.mode == mode and alone.mode == "grouped"
    np.testing.assert_allclose(together.outputs, alone.outputs, rtol=0, atol=1e-9)
    assert np.array_equal(together.train_accuracy, alone.train_accuracy)


@pytest.mark.parametrize("mode", MODES)
def test_one_float32_step_agrees_to_2e_5(small_digits: Dataset, mode: str) -> None:
    needs(mode)
    masks = sample_masks(40, 4, 0.5, 0)
    recipe = Recipe(epochs=0.5, batch_size=10, learning_rate=0.01)
    assert recipe.steps(40) == 1
    first = retrain(small_digits, masks, range(4), recipe, ensemble_size=4)
    second = retrain(small_digits, masks, range(4), recipe, ensemble_size=4, mode=mode)
    np.testing.assert_allclose(first.outputs, second.outputs, rtol=0, atol=2e-5)


def test_native_float32_is_the_same_bits_whatever_k_and_neighbours(small_digits: Dataset) -> None:
    needs("native")
    masks = sample_masks(40, 5, 0.5, 0)
    recipe = RECIPES["plain"]
    alone = retrain(small_digits, masks, range(5), recipe, ensemble_size=1, mode="native").outputs
    together = retrain(small_digits, masks[::-1], range(5)[::-1], recipe, ensemble_size=5, mode="native").outputs[::-1]
    assert np.array_equal(alone, together)
    torch.set_num_threads(2)
    assert np.array_equal(alone, retrain(small_digits, masks, range(5), recipe, ensemble_size=5, mode="native").outputs)


@pytest.mark.parametrize("shape", [(9, 7), (5, 11)])
def test_native_halves_odd_images_as_torch_does(small_digits: Dataset, shape: tuple[int, int]) -> None:
    needs("native")

    def odd(part):
        tall = np.concatenate([part.images, part.images], axis=1)
        wide = np.concatenate([tall, tall], axis=2)[:, 1 : 1 + shape[0], 2 : 2 + shape[1]]
        return replace(part, images=np.ascontiguousarray(np.repeat(wide, 3, axis=3)))

    parts = {name: odd(getattr(small_digits, name)) for name in ("train", "targets", "audit")}
    dataset = replace(small_digits, **parts)
    masks = sample_masks(40, 2, 0.5, 0)
    results = [
        retrain(dataset, masks, range(2), RECIPES["everything"], dtype="float64", mode=mode).outputs
        for mode in ("grouped", "native")
    ]
    np.testing.assert_allclose(*results, rtol=0, atol=1e-9)


def test_native_reports_a_model_that_diverged(small_digits: Dataset) -> None:
    needs("native")
    wild = Recipe(epochs=8, batch_size=10, learning_rate=1e8, weight_decay=1.0)
    result = retrain(small_digits, sample_masks(40, 2, 0.5, 0), range(2), wild, mode="native")
    assert result.status.tolist() == ["diverged"] * 2 and np.isnan(result.outputs).all()


@pytest.mark.parametrize("arithmetic", ["bfloat16", "float16"])
def test_low_precision_products_leave_weights_and_statistics_in_float32(
    small_digits: Dataset, arithmetic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After one small step outputs differ by the rounding of 8 (11) bits of mantissa and no more."""
    seen = set()
    step = training.engine.engine.FlatParameters.sgd_step

    def look(self, *arguments):
        seen.update({self.values.dtype, self.gradients.dtype})
        return step(self, *arguments)

    monkeypatch.setattr(training.engine.engine.FlatParameters, "sgd_step", look)
    masks = sample_masks(40, 2, 0.5, 0)
    recipe = Recipe(epochs=0.5, batch_size=10, learning_rate=0.01)
    exact = retrain(small_digits, masks, range(2), recipe, ensemble_size=2).outputs
    result = retrain(small_digits, masks, range(2), recipe, ensemble_size=2, mode=f"grouped+{arithmetic}")
    assert seen == {torch.float32} and result.mode == f"grouped+{arithmetic}"
    apart = np.linalg.norm(result.outputs - exact) / np.linalg.norm(exact)
    assert 0 < apart < {"bfloat16": 0.05, "float16": 0.01}[arithmetic]


def test_the_steps_never_read_a_number_back_from_the_device(small_digits: Dataset) -> None:
    """On torch's `meta` device tensors have no content: .item(), .cpu() or a branch on a value would raise."""
    engine = Engine(small_digits, RECIPES["everything"], device="meta")
    present = sample_masks(40, 3, 0.5, 0)
    model = training.engine.engine.build_model(engine.recipe, 3, engine.image_shape, engine.n_classes).to("meta")
    finite = engine._steps(model, present, [1, 2, 3])
    assert finite.device.type == "meta" and finite.shape == (3,)
    with pytest.raises((RuntimeError, NotImplementedError)):
        finite.any().item()


class SmallMemory(Engine):
    """An engine on whose device at most `room` members fit."""

    room = 2

    def _steps(self, model, present, seeds):
        if len(seeds) > self.room:
            raise torch.OutOfMemoryError(f"{len(seeds)} members")
        return super()._steps(model, present, seeds)


def test_out_of_memory_halves_k_and_the_rest_goes_on(
    small_digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    masks, recipe = sample_masks(40, 6, 0.5, 0), RECIPES["plain"]
    expected = retrain(small_digits, masks, range(6), recipe, ensemble_size=2, dtype="float64")
    monkeypatch.setattr(training.engine.factory, "Engine", SmallMemory)
    reported: list[int] = []
    with caplog.at_level(logging.WARNING, logger="coterie"):
        result = retrain(
            small_digits, masks, range(6), recipe, ensemble_size=8, dtype="float64",
            progress=lambda done, _: reported.append(done),
        )
    assert result.ensemble_size == 1 and result.ensemble_sizes.tolist() == [1] * 6
    assert reported == [1, 2, 3, 4, 5, 6]
    assert "continuing with 3" in caplog.text and "continuing with 1" in caplog.text
    np.testing.assert_allclose(result.outputs, expected.outputs, rtol=0, atol=1e-9)


def test_when_one_model_does_not_fit_the_error_is_the_device_s(
    small_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SmallMemory, "room", 0)
    monkeypatch.setattr(training.engine.factory, "Engine", SmallMemory)
    with pytest.raises(torch.OutOfMemoryError):
        retrain(small_digits, sample_masks(40, 4, 0.5, 0), range(4), RECIPES["plain"], ensemble_size=4)


def test_another_error_is_not_taken_for_lack_of_memory(
    small_digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self, *_):
        raise RuntimeError("cuDNN is unwell")

    monkeypatch.setattr(Engine, "_steps", broken)
    with pytest.raises(RuntimeError, match="unwell"):
        retrain(small_digits, sample_masks(40, 4, 0.5, 0), range(4), RECIPES["plain"], ensemble_size=4)


@pytest.mark.parametrize(
    "text", ["grouped", "grouped+channels_last", "batched+compiled", "vmap+channels_last+bfloat16", "native"]
)
def test_a_mode_is_written_as_it_is_read(text: str) -> None:
    assert str(ExecutionMode.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "loops", "grouped_convolution", "grouped+fast", "grouped+bfloat16+float16", "native+compiled"]
)
def test_an_unknown_mode_is_refused(text: str) -> None:
    with pytest.raises(TrainingInputError):
        ExecutionMode.parse(text)


@pytest.mark.parametrize("change", [{"architecture": "resnet9", "width": 4}, {"batching": "slot_aligned"}])
def test_what_compiled_code_cannot_do_is_left_to_convolutions_and_said(
    small_digits: Dataset, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="coterie"):
        engine = make_engine(small_digits, replace(RECIPES["plain"], **change), mode="native")
    assert str(engine.mode) == "grouped" and "native cannot be used" in caplog.text


def test_without_a_compiler_native_is_not_available(
    small_digits: Dataset, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with caplog.at_level(logging.WARNING, logger="coterie"):
        assert str(make_engine(small_digits, RECIPES["plain"], mode="native").mode) == "grouped"
    assert "no C++ compiler" in caplog.text
