"""Masks, outputs, weights and groups as people hand them in: the right value, or a sentence that says what was seen."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from attribution import (
    AttributionError,
    AttributionWarning,
    BoostedProxy,
    Datamodel,
    LinkDatamodel,
    PairwiseLasso,
    ProxySPEX,
    PublishedProxySPEX,
    RidgeDatamodel,
    SampleReuseBanzhaf,
    WeightedLeastSquares,
    find_copies,
    order_weights,
)
from attribution.masks.inputs import check_alpha_of_masks, check_groups

N = 20
WEIGHTED = (Datamodel, ProxySPEX, RidgeDatamodel, SampleReuseBanzhaf, LinkDatamodel, PairwiseLasso, BoostedProxy,
            WeightedLeastSquares)  # fmt: skip
ALL = (*WEIGHTED, PublishedProxySPEX)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def subsets(rng: np.random.Generator, sizes: np.ndarray, n: int = N) -> np.ndarray:
    """A random subset of each size."""
    return np.argsort(np.argsort(rng.random((len(sizes), n)), axis=1), axis=1) < np.asarray(sizes)[:, None]


def refusal(estimator: Any, masks: Any, outputs: Any, **options: Any) -> str:
    with pytest.raises(AttributionError) as raised, warnings.catch_warnings():
        warnings.simplefilter("ignore", AttributionWarning)
        estimator.fit(masks, outputs, **options)
    return str(raised.value)


# ---- several alphas


def test_one_alpha_of_too_few_masks_beside_a_large_one_is_named(rng: np.random.Generator) -> None:
    alpha = np.repeat([0.5, 0.3, 0.7], [400, 20, 100])
    masks = rng.random((520, N)) < alpha[:, None]
    assert "alpha = 0.3 has 20" in refusal(ProxySPEX(), masks, masks @ np.ones(N), alpha=alpha)


def test_sixty_masks_of_each_of_many_alphas_shrink_no_effect(rng: np.random.Generator) -> None:
    alpha = np.repeat(rng.uniform(0.2, 0.8, 15), 60)
    masks = rng.random((900, N)) < alpha[:, None]
    effects = rng.normal(size=N) + 2.0
    model = ProxySPEX().fit(masks, masks @ effects + 0.5 * rng.normal(size=900), alpha=alpha)
    slope = float(model.effects_[0] @ effects / (effects @ effects))
    assert slope == pytest.approx(1.0, abs=1 / 50)  # the bound of MIN_MASKS_AN_ALPHA, 1/k
    assert np.mean(np.abs(model.effects_[0] - effects) > 1.96 * model.effect_stderrs_[0]) <= 0.15


@pytest.mark.parametrize("wrong", [float("nan"), 0.0, 1.0, 1.3])
def test_an_alpha_outside_its_range_is_named_with_its_mask(wrong: float, rng: np.random.Generator) -> None:
    masks = rng.random((300, N)) < 0.5
    alpha = np.where(np.arange(300) == 7, wrong, 0.5)
    assert "that of mask 7 is" in refusal(ProxySPEX(), masks, masks @ np.ones(N), alpha=alpha)


@pytest.mark.parametrize("estimator", [one for one in ALL if one not in (ProxySPEX, Datamodel)])
def test_estimators_of_one_alpha_refuse_several(estimator: Any, rng: np.random.Generator) -> None:
    masks = rng.random((300, N)) < 0.5
    assert "alpha" in refusal(estimator(alpha=np.full(300, 0.5)), masks, masks @ np.ones(N))


# ---- complements


def test_complements_are_joined_whatever_groups_say_and_through_replicates(rng: np.random.Generator) -> None:
    half = rng.random((60, N)) < 0.5
    masks = np.vstack([half, ~half, half])
    for groups in (None, np.arange(180), [f"run {row}" for row in range(180)]):
        codes = check_groups(groups, masks, alpha=0.5).reshape(3, 60)
        assert (codes == codes[0]).all() and len(np.unique(codes)) == 60


def test_complements_of_a_part_of_the_masks_in_any_order_are_joined(rng: np.random.Generator) -> None:
    half = rng.random((60, N)) < 0.5
    masks = np.vstack([half, ~half[:40]])
    order = rng.permutation(100)
    codes = check_groups(None, masks[order], alpha=0.5)
    place = np.argsort(order)
    assert (codes[place[:40]] == codes[place[60:]]).all() and len(np.unique(codes)) == 60


# ---- replicates


def test_masks_trained_many_times_do_not_contradict_their_alpha() -> None:
    """A tenth of the masks ten times: the share of included players varies as that of fewer masks does."""
    for seed in range(200):
        draws = np.random.default_rng(seed).random((250, N)) < 0.5
        check_alpha_of_masks(0.5, np.vstack([draws, np.repeat(draws[:25], 10, axis=0)]))
    with pytest.raises(AttributionError, match="alpha = 0.5 contradicts the masks"):
        check_alpha_of_masks(0.5, np.repeat(np.random.default_rng(0).random((100, N)) < 0.4, 5, axis=0))


# ---- masks whose players depend on each other


def thirds_of_three_classes(rng: np.random.Generator) -> np.ndarray:
    return np.hstack([subsets(rng, np.full(600, 3), 6) for _ in range(3)])


def one_class_fixed(rng: np.random.Generator) -> np.ndarray:
    masks = rng.random((600, N)) < 0.5
    masks[:, 5:11] = subsets(rng, np.full(600, 3), 6)
    return masks


def balanced_pairs(rng: np.random.Generator) -> np.ndarray:
    """Players 0 and 1 together are as many as players 2 and 3."""
    masks = rng.random((6000, N)) < 0.5
    return masks[masks[:, 0].astype(int) + masks[:, 1] == masks[:, 2].astype(int) + masks[:, 3]]


def kernel_shap_sizes(rng: np.random.Generator) -> np.ndarray:
    weight = (N - 1) / (np.arange(1, N) * (N - np.arange(1, N)))
    masks = subsets(rng, rng.choice(np.arange(1, N), 300, p=weight / weight.sum()))
    return np.vstack([masks, ~masks])  # paired, as its samplers draw them


def beta_sizes(rng: np.random.Generator) -> np.ndarray:
    return rng.random((600, N)) < rng.beta(4, 4, 600)[:, None]


def quarter_or_three_quarters(rng: np.random.Generator) -> np.ndarray:
    return subsets(rng, rng.choice([N // 4, 3 * N // 4], 600))


@pytest.mark.parametrize("estimator", [ProxySPEX, Datamodel, RidgeDatamodel, SampleReuseBanzhaf])
@pytest.mark.parametrize(
    ("design", "said"),
    [
        (thirds_of_three_classes, "3 sums over players are the same in every mask: 3 of players 0, 1, 2, 3, 4, 5"),
        (one_class_fixed, "1 sums over players are the same in every mask: 3 of players 5, 6, 7, 8, 9, 10"),
        (balanced_pairs, "1 sums over players are the same in every mask"),
        (kernel_shap_sizes, "the sizes of the masks vary"),
        (beta_sizes, "the sizes of the masks vary"),
        (quarter_or_three_quarters, "the sizes of the masks vary"),
    ],
)
def test_designs_of_other_methods_are_refused(
    design: Callable[[np.random.Generator], np.ndarray], said: str, estimator: Any, rng: np.random.Generator
) -> None:
    masks = design(rng)
    assert said in refusal(estimator(alpha=0.5), masks, masks @ np.ones(masks.shape[1]))


# ---- weights


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pareto", "one tenth above", "with replicates"])
def test_weights_of_other_shapes_make_no_interactions(kind: str) -> None:
    """At most one of 40 campaigns without interactions has one at q <= .05 by a chance of .04 (binomial: 5 or more)."""
    false = 0
    for seed in range(40):
        rng = np.random.default_rng((seed, 7))
        masks = rng.random((400, N)) < 0.5
        weight = {
            "pareto": rng.pareto(1.2, 400) + 1.0,
            "one tenth above": np.where(np.arange(400) < 40, 30.0, 1.0),
            "with replicates": np.exp(1.2 * rng.normal(size=400)),
        }[kind]
        if kind == "with replicates":
            masks = np.vstack([masks[:200], masks[:200]])
        outputs = masks @ rng.normal(size=N) + 2.0 * rng.normal(size=400)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", AttributionWarning)
            try:
                model = ProxySPEX(seed=seed).fit(masks, outputs, sample_weight=weight)
            except AttributionError as error:
                assert "effective masks" in str(error)  # a heavy tail may leave fewer than 12
                continue
        false += any(len(found.members) > 1 for found in model.interactions(max_q=0.05))
    assert false <= 5


# ---- missing values in any container, of any argument


def masked(values: Any, underneath: Any) -> np.ma.MaskedArray:
    """Every thirtieth entry masked, with another value underneath."""
    array = np.ma.MaskedArray(np.array(values), mask=np.zeros(np.shape(values), bool))
    array.data[::30] = underneath
    array.mask[::30] = True
    return array


@pytest.mark.parametrize("estimator", ALL)
def test_one_masked_entry_of_one_target_is_missing_for_every_estimator(
    estimator: Any, rng: np.random.Generator
) -> None:
    masks = rng.random((300, N)) < 0.5
    outputs = np.ma.MaskedArray(np.repeat((masks @ np.ones(N))[:, None], 3, axis=1), mask=False)
    outputs[17, 2] = np.ma.masked
    outputs.data[17, 2] = 1e6
    assert "1 values that are not finite, first in row 17, target 2" in refusal(estimator(alpha=0.5), masks, outputs)


@pytest.mark.parametrize("estimator", WEIGHTED)
def test_masked_weights_and_groups_are_missing(estimator: Any, rng: np.random.Generator) -> None:
    masks = rng.random((300, N)) < 0.5
    outputs = masks @ np.ones(N)
    weights = masked(1.0 + rng.random(300), 1.0)
    assert "sample_weight must be finite" in refusal(estimator(), masks, outputs, sample_weight=weights)
    for groups in (masked(np.arange(300) // 2, 3), masked([f"g{row // 2}" for row in range(300)], "g3"),
                   np.array([None, *range(299)], dtype=object),
                   np.array(["NaT", *["2026-01-01"] * 299], dtype="M8[D]")):  # fmt: skip
        assert "groups hold missing values" in refusal(estimator(), masks, outputs, groups=groups)


def test_masked_alphas_are_missing(rng: np.random.Generator) -> None:
    masks = rng.random((300, N)) < 0.5
    given = masked(np.full(300, 0.5), 0.9)
    assert "that of mask 0 is nan" in refusal(ProxySPEX(), masks, masks @ np.ones(N), alpha=given)


@pytest.mark.parametrize("function", [find_copies, order_weights])
def test_masked_outputs_are_missing_for_every_function(function: Any, rng: np.random.Generator) -> None:
    masks = rng.random((300, N)) < 0.5
    outputs = masked(masks @ np.ones(N), -999.0)
    with pytest.raises(AttributionError, match="10 values that are not finite"):
        function(masks, outputs, alpha=0.5)


def test_groups_of_large_integers_stay_apart_as_objects() -> None:
    masks = np.random.default_rng(0).random((40, N)) < 0.5
    names = np.array([2**60 + row for row in range(40)], dtype=object)  # float64 would make one of all
    assert len(np.unique(check_groups(names, masks))) == 40


# ---- containers


def test_tensors_that_require_gradients_are_weights_and_groups(rng: np.random.Generator) -> None:
    torch = pytest.importorskip("torch")
    masks = rng.random((300, N)) < 0.5
    outputs = masks @ rng.normal(size=N) + rng.normal(size=300)
    weight = torch.from_numpy(np.linspace(1, 2, 300)).requires_grad_()
    groups = torch.arange(300, dtype=torch.float32, requires_grad=True) // 2
    found = Datamodel().fit(masks, outputs, sample_weight=weight, groups=groups)
    expected = Datamodel().fit(
        masks, outputs, sample_weight=np.linspace(1, 2, 300), groups=np.arange(300) // 2
    )
    np.testing.assert_allclose(found.predict(masks), expected.predict(masks))


@pytest.mark.parametrize("estimator", ALL)
def test_rows_labelled_alike_in_another_order_are_refused(estimator: Any, rng: np.random.Generator) -> None:
    """By place they would be another mask's outputs: correlation 0.00 between prediction and output, without a word."""
    pandas = pytest.importorskip("pandas")
    masks = pandas.DataFrame(rng.random((300, N)) < 0.5)
    outputs = pandas.Series(masks.to_numpy() @ rng.normal(size=N))
    said = refusal(estimator(), masks, outputs[::-1])
    assert "the rows of outputs have the labels of masks in another order" in said


def test_rows_in_one_order_or_of_other_labels_are_matched_by_place(rng: np.random.Generator) -> None:
    pandas = pytest.importorskip("pandas")
    masks = pandas.DataFrame(rng.random((300, N)) < 0.5, index=rng.permutation(300))
    outputs = masks.to_numpy() @ rng.normal(size=N) + rng.normal(size=300)
    expected = Datamodel().fit(masks.to_numpy(), outputs).predict(masks.to_numpy())
    for index in (masks.index, [f"run {row}" for row in range(300)], [0] * 300, np.arange(300) + 300):
        found = Datamodel().fit(masks, pandas.Series(outputs, index=index))
        np.testing.assert_array_equal(found.predict(masks.to_numpy()), expected)
    weights = pandas.Series(np.linspace(1, 2, 300), index=masks.index[::-1])
    assert "the rows of sample_weight have the labels of masks" in refusal(
        Datamodel(), masks, outputs, sample_weight=weights
    )


@pytest.mark.parametrize(
    "masks_of",
    [
        lambda masks: np.where(masks, 1, -1).astype(np.int8),
        lambda masks: np.where(masks, 0.999, 0.0),
        lambda masks: masks.astype(np.uint8) * 255,
        lambda masks: np.where(masks, "1", "0"),
        lambda masks: [np.flatnonzero(row).tolist() for row in masks],
    ],
    ids=["minus one and one", ".999", "0 and 255", "text", "lists of members"],
)
def test_what_only_looks_like_masks_is_refused(masks_of: Any, rng: np.random.Generator) -> None:
    masks = rng.random((100, N)) < 0.5
    for estimator in (ProxySPEX, Datamodel):
        assert "masks must be" in refusal(estimator(), masks_of(masks), masks @ np.ones(N))


@pytest.mark.parametrize(
    "outputs_of",
    [
        lambda outputs: outputs + 0j,
        lambda outputs: outputs.astype("M8[s]"),
        lambda outputs: np.array([10**400] * len(outputs), dtype=object),
        lambda outputs: {"target": outputs},
        lambda outputs: outputs.astype(str),
    ],
    ids=["complex", "dates", "integers above 1e308", "a dictionary", "text"],
)
def test_what_are_no_outputs_is_refused(outputs_of: Any, rng: np.random.Generator) -> None:
    masks = rng.random((100, N)) < 0.5
    for estimator in (ProxySPEX, Datamodel):
        assert "outputs must be numbers" in refusal(estimator(), masks, outputs_of(masks @ np.ones(N)))
