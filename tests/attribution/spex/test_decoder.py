"""Planted sparse functions are recovered: exactly without noise, and by the estimator with errors and q-values."""

from __future__ import annotations

import numpy as np
import pytest

from attribution import SPEX, AttributionError, ProxySPEX, Spectrum, SpexDesign
from attribution.spex.decoder import bins_of, decode, walsh_hadamard


def planted(n_players: int, orders: list[int], seed: int, size: float | None = None) -> Spectrum:
    """A function with one term of each order given, of size 0.5 to 1.5."""
    rng = np.random.default_rng(seed)
    terms: dict[tuple[int, ...], float] = {}
    for order in orders:
        members = tuple(sorted(rng.choice(n_players, order, replace=False).tolist()))
        terms[members] = float(rng.choice([-1, 1]) * (size or rng.uniform(0.5, 1.5)))
    return Spectrum.from_terms(terms, n_players, 0.5)


def decoded(design: SpexDesign, function: Spectrum, **settings: bool) -> dict:
    return decode(design, bins_of(design, function.evaluate(design.masks())[:, None]), **settings)[0]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("n_bits", "n_terms"), [(4, 1), (4, 16), (6, 64)])
def test_sparse_functions_without_noise_are_recovered_exactly(soft: bool, n_bits: int, n_terms: int) -> None:
    design = SpexDesign(100, n_bits, 4, seed=1)
    function = planted(100, [1 + i % 4 for i in range(n_terms)], seed=n_terms)
    found = decoded(design, function, soft=soft)
    assert set(found) == set(function.terms)
    assert all(abs(found[held] - value) < 1e-9 for held, value in function.terms.items())


@pytest.mark.parametrize(("n_players", "order", "n_bits"), [(100, 5, 3), (1000, 4, 3)])
def test_a_pure_set_is_found_among_many_players(n_players: int, order: int, n_bits: int) -> None:
    design = SpexDesign(n_players, n_bits, order, seed=0)
    function = planted(n_players, [order], seed=5)
    assert decoded(design, function) == pytest.approx(dict(function.terms))


def test_sixteen_players_agree_with_the_full_transform() -> None:
    every = (np.arange(2**16)[:, None] >> np.arange(16)) & 1 == 1
    rng = np.random.default_rng(2)
    function = planted(16, [1, 2, 2, 3, 3, 4, 2, 1], seed=3)
    full = walsh_hadamard(function.evaluate(every))
    found = decoded(SpexDesign(16, 5, 4, seed=0), function)
    large = {
        tuple(np.flatnonzero(every[k]).tolist()): (-1.0) ** every[k].sum() * full[k]
        for k in np.flatnonzero(np.abs(full) > 1e-9)
    }
    assert found == pytest.approx(large)
    sample = rng.integers(0, 2**16, 50)
    masks = every[sample]
    np.testing.assert_allclose(Spectrum.from_terms(found, 16, 0.5).evaluate(masks), function.evaluate(masks))


def test_targets_are_decoded_together_as_they_are_alone() -> None:
    design = SpexDesign(40, 4, 3, seed=0)
    rng = np.random.default_rng(0)
    functions = [planted(40, [2, 3, 2], seed=seed) for seed in range(3)]
    outputs = np.stack([f.evaluate(design.masks()) + rng.normal(size=design.n_masks) for f in functions], axis=1)
    together = decode(design, bins_of(design, outputs))
    for target in range(3):
        alone = decode(design, bins_of(design, outputs[:, [target]]))[0]
        assert set(alone) == set(together[target])
        assert alone == pytest.approx(together[target])


def test_noise_alone_names_next_to_no_set() -> None:
    design = SpexDesign(100, 5, 3, seed=0)
    noise = np.random.default_rng(0).normal(size=(design.n_masks, 20))
    found = decode(design, bins_of(design, noise))
    assert sum(len(of_target) for of_target in found) <= 4


def test_soft_decoding_finds_weaker_sets_than_hard() -> None:
    design = SpexDesign(100, 5, 2, seed=0)
    rng, hits = np.random.default_rng(0), {}
    functions = [planted(100, [2] * 8, seed=seed, size=0.25) for seed in range(6)]
    outputs = np.stack([f.evaluate(design.masks()) + rng.normal(size=design.n_masks) for f in functions], axis=1)
    for soft in (False, True):
        found = decode(design, bins_of(design, outputs), soft=soft)
        hits[soft] = sum(len(set(own) & set(f.terms)) for own, f in zip(found, functions, strict=True))
    assert hits[True] > hits[False] + 5


def test_the_estimator_reports_a_pure_set_that_a_screen_cannot_see() -> None:
    design = SpexDesign(60, 5, 5, seed=0)
    rng = np.random.default_rng(0)
    function = planted(60, [5], seed=1, size=1.0) + planted(60, [1] * 20, seed=2)
    masks = design.masks()
    outputs = function.evaluate(masks) + rng.normal(size=len(masks))
    shuffled = rng.permutation(len(masks))
    model = SPEX(design).fit(masks[shuffled], outputs[shuffled])
    pure = next(held for held in function.terms if len(held) == 5)
    found = model.interactions(max_q=0.05)
    assert [one.members for one in found] == [pure]
    assert abs(found[0].value / 32 - function.terms[pure]) < 4 * found[0].stderr / 32
    assert model.gate_open_.tolist() == [True]
    uniform = rng.random((500, 60)) < 0.5
    residual = function.evaluate(uniform) - model.predict(uniform)
    assert residual.var() < 0.05 * function.evaluate(uniform).var()
    random = rng.random((len(masks), 60)) < 0.5
    outputs = function.evaluate(random) + rng.normal(size=len(masks))
    by_proxy = ProxySPEX(max_order=5, n_estimators=40).fit(random, outputs)
    assert pure not in [one.members for one in by_proxy.interactions()]


def test_a_function_without_noise_is_decoded_exactly_by_the_estimator() -> None:
    design = SpexDesign(40, 5, 3, seed=0)
    function = planted(40, [1, 1, 1, 2, 2, 3, 3], seed=4)
    model = SPEX(design).fit(design.masks(), function.evaluate(design.masks()))
    assert {held for held, value in model.decoded_[0].terms.items() if abs(value) > 1e-6} == set(function.terms)
    assert all(abs(model.decoded_[0].terms[held] - value) < 1e-6 for held, value in function.terms.items())


def test_other_masks_and_other_alphas_are_refused() -> None:
    design = SpexDesign(20, 3, 2, seed=0)
    masks, outputs = design.masks(), np.random.default_rng(0).normal(size=design.n_masks)
    with pytest.raises(AttributionError, match=r"SPEX exists at alpha = 0.5 only.*got 0.3"):
        SPEX(design, alpha=0.3).fit(masks, outputs)
    with pytest.raises(AttributionError, match=r"of the \d+ masks of SpexDesign\(n_players=20, n_bits=4"):
        SPEX(design.with_bits(4)).fit(masks, outputs)
    with pytest.raises(AttributionError, match="n_bits >= 2"):
        SPEX(design.with_bits(1)).fit(design.with_bits(1).masks(), outputs[: design.with_bits(1).n_masks])
