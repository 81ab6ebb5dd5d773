"""Further ways to choose or estimate interactions, all on the same block; attribution/selection.py runs them.

Every trial sees the fit masks only and returns {name of the way: predictions (h, t) of the held-out masks}.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from attribution.fourier.basis import basis
from attribution.interactions import candidate_search as candidates_module
from attribution.interactions import selection as selection_module
from attribution.interactions.block import search
from attribution.interactions.candidate_search import find_larger, find_pairs, proxy_candidates
from attribution.interactions.candidate_table import Candidates, joined
from attribution.interactions.refit import Design
from attribution.interactions.selection import Selection, select
from attribution.interactions.setup import N_FOLDS, BlockSettings, BlockSetup
from attribution.linear.datamodel_fit import fit_linear
from attribution.masks.inputs import check_data
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import Proxy, fit_proxy
from attribution.screening.screen import set_columns
from attribution.statistics.empirical_bayes import EffectPrior
from attribution.statistics.z_histogram import N_Z_BINS, Z_STEP, ZHistograms, add_to_histogram

Array = np.ndarray
N_BAGS = 8


class Block:
    """The pieces of attribution/interactions/block.py up to the candidates, and the masks to predict."""

    def __init__(self, masks: Array, outputs: Array, new_masks: Array) -> None:
        self.setup = BlockSetup(check_data(masks, outputs, 0.5), BlockSettings(alpha=0.5))
        self.y, self.new = outputs, basis(new_masks, 0.5)
        self.masks, self.new_masks = masks, new_masks
        self.linear = fit_linear(self.setup.phi, outputs, self.setup.folds)
        self.residual = outputs - self.linear.predicted
        self.candidates, self.selections = search(self.setup, self.linear, ZHistograms())
        self.design = Design.of(self.setup.phi, None, self.setup.folds)
        self.pairs = np.column_stack(np.triu_indices(masks.shape[1], 1))

    def select(self, candidates: list[Candidates]) -> list[Selection]:
        return [
            select(self.setup, self.design, self.linear, candidates[target], target)
            for target in range(self.y.shape[1])
        ]

    def predict(self, candidates: list[Candidates], selections: list[Selection]) -> Array:
        columns = []
        for found, chosen in zip(candidates, selections, strict=True):
            value = self.new @ chosen.main + chosen.intercept
            if chosen.kept.any():
                value = value + set_columns(self.new, found.members[chosen.kept]) @ chosen.sets[chosen.kept]
            columns.append(value)
        return np.column_stack(columns)

    def pair_z(self, residual: Array) -> Array:
        """(t, pairs) one-step z of every pair."""
        phi, result = self.setup.phi, np.empty((residual.shape[1], len(self.pairs)), dtype=np.float32)
        for target in range(residual.shape[1]):
            r = residual[:, target].astype(np.float32)
            result[target] = ((phi * r[:, None]).T @ phi)[self.pairs[:, 0], self.pairs[:, 1]] / np.sqrt(r @ r)
        return result

    def main_z(self) -> Array:
        """(t, n) one-step z of every main effect."""
        effect = self.linear.fold_coef.mean(axis=0) + self.residual.T @ self.setup.phi / len(self.y)
        return effect / (self.residual.std(axis=0) / np.sqrt(len(self.y)))[:, None]


def one_prior(block: Block) -> dict[str, Array]:
    """One prior for all pairs, whatever their members' main effects."""
    prior, changed = _prior(block.pair_z(block.residual)), []
    for found in block.candidates:
        mean, p_null = found.posterior_mean_z.copy(), found.p_null.copy()
        pair = np.flatnonzero((found.members >= 0).sum(axis=1) == 2)
        for row in range(N_FOLDS + 1):
            folds = block.setup.all_folds if row == N_FOLDS else np.delete(block.setup.all_folds, row)
            share = float(block.setup.fold_weight[folds].sum() / block.setup.fold_weight.sum())
            mean[row, pair], p_null[row, pair] = prior.scaled(share).shrink(found.z(folds)[pair])
        changed.append(dataclasses.replace(found, posterior_mean_z=mean, p_null=p_null))
    return {"spectrum, one prior for all pairs": block.predict(changed, block.select(changed))}


def relaxed(block: Block) -> dict[str, Array]:
    """Relaxed L1 (Meinshausen 2007): blends of the L1 fit and least squares on its support, chosen by cross-fitting."""
    blends = np.linspace(0.0, 1.0, 5)
    selections = block.selections
    result = {"LASSO datamodel, relaxed": [], "spectrum, relaxed": []}
    for target in range(block.y.shape[1]):
        linear, y = block.linear, block.y[:, target]
        empty = np.zeros((len(y), 0), np.float32)
        for name, columns, new_columns, fold_coef, coef in (
            ("LASSO datamodel, relaxed", empty, np.zeros((len(block.new), 0), np.float32),
             linear.fold_coef[:, target], linear.coef[target]),
            ("spectrum, relaxed", *_spectrum_columns(block, target, selections[target])),
        ):  # fmt: skip
            x, new = np.hstack([block.setup.phi, columns]), np.hstack([block.new, new_columns])
            error = np.zeros(len(blends))
            for fold in range(N_FOLDS):
                rows = block.setup.folds == fold
                strict, loose = _both(x[~rows], y[~rows], fold_coef[fold], x[rows])
                for k, blend in enumerate(blends):
                    error[k] += ((y[rows] - (1 - blend) * strict - blend * loose) ** 2).sum()
            strict, loose = _both(x, y, coef, new)
            blend = blends[error.argmin()]
            result[name].append((1 - blend) * strict + blend * loose)
    return {name: np.column_stack(columns) for name, columns in result.items()}


def relaxed_sets(block: Block) -> dict[str, Array]:
    """The sets' penalties as they are, halved or lifted, beside the grid of strictness; chosen by cross-fitting."""
    original = selection_module._eligible

    def several(setup: Any, found: Candidates, without: int | None, grid: Array) -> tuple[Array, Array]:
        used, penalties = original(setup, found, without, grid[:3])
        return used, np.concatenate([penalties * factor for factor in (1.0, 0.5, 1e-6)])

    settings = dataclasses.replace(block.setup.settings, max_p_null_grid=(0.1, 0.5, 0.9) * 3)
    kept_settings, block.setup.settings = block.setup.settings, settings
    with _replaced(selection_module, "_eligible", several):
        selections = block.selections
    block.setup.settings = kept_settings
    return {"spectrum, sets' penalties relaxed": block.predict(block.candidates, selections)}


def second_screen(block: Block) -> dict[str, Array]:
    """Screen again with the spectrum's cross-fitted residuals; what is in the spectrum stays a candidate."""
    first = block.selections
    better = block.y - np.column_stack([chosen.predicted for chosen in first])
    pairs = find_pairs(block.setup, better, block.main_z(), ZHistograms())
    larger = find_larger(block.setup, better, pairs, ZHistograms())
    second = [joined([pair, *parts]) for pair, parts in zip(pairs, larger, strict=True)]
    both = []
    for old, new, chosen in zip(block.candidates, second, first, strict=True):
        inside = old.take((chosen.fold_sets != 0).any(axis=0) | chosen.kept)
        known = {tuple(row) for row in inside.members.tolist()}
        fresh = np.array([tuple(row) not in known for row in new.members.tolist()], dtype=bool)
        both.append(joined([inside, new.take(fresh)]))
    return {"spectrum, second screen on its residuals": block.predict(both, block.select(both))}


def bagged(block: Block) -> dict[str, Array]:
    """Boosters on bootstrap samples, stopped on what each left out: their mean prediction, and their candidates."""
    single = fit_proxy(
        block.masks, block.y, BoosterSettings(n_estimators=600), validation=block.setup.folds == 0
    ).predict(block.new_masks)
    mean = _Bag(block.masks, block.y).predict(block.new_masks)
    spectrum = block.predict(block.candidates, block.selections)
    result = {
        f"{N_BAGS} bagged boosters": mean,
        "mean of spectrum and booster": (spectrum + single) / 2,
        f"mean of spectrum and {N_BAGS} bagged boosters": (spectrum + mean) / 2,
    }
    prior = _prior(block.pair_z(block.residual))
    from_one = [
        joined(parts)
        for parts in proxy_candidates(block.setup, block.residual, range(2, 4), prior)
    ]
    result["spectrum of the proxy's candidates, no screen"] = block.predict(from_one, block.select(from_one))
    with _replaced(candidates_module, "fit_proxy", lambda masks, outputs, *_, **__: _Bag(masks, outputs)):
        parts_of_bags = proxy_candidates(block.setup, block.residual, range(2, 4), prior)
    from_bags = [joined(parts) for parts in parts_of_bags]
    result["spectrum of bagged proxies' candidates, no screen"] = block.predict(from_bags, block.select(from_bags))
    both = [
        joined([found, *(part.without([found]) for part in parts)])
        for found, parts in zip(block.candidates, parts_of_bags, strict=True)
    ]
    result["spectrum, bagged proxies' candidates added"] = block.predict(both, block.select(both))
    return result


def residual_correction(block: Block) -> dict[str, Array]:
    """ProxySHAP's correction: every coefficient of the proxy plus the mean of phi_S times the proxy's residual."""
    folds, n = block.setup.folds, block.setup.n_players
    settings, result = BoosterSettings(n_estimators=600), {}
    one = fit_proxy(block.masks, block.y, settings, validation=folds == 0)
    inside = block.y - one.predict(block.masks)
    residual, base = np.empty_like(block.y), np.zeros((len(block.new), block.y.shape[1]))
    for fold in range(N_FOLDS):
        rest = np.flatnonzero(folds != fold)
        proxy = fit_proxy(block.masks[rest], block.y[rest], settings, validation=folds[rest] == (fold + 1) % N_FOLDS)
        residual[folds == fold] = block.y[folds == fold] - proxy.predict(block.masks[folds == fold])
        base += proxy.predict(block.new_masks) / N_FOLDS
    overlap = block.new.astype(np.float64) @ block.setup.phi.T
    kernels = {"main effects": overlap, "main effects and pairs": overlap + (overlap**2 - n) / 2}
    for name, kernel in kernels.items():
        fitted = kernel @ (inside - inside.mean(axis=0)) / len(block.y)
        result[f"booster, residual correction of {name}"] = one.predict(block.new_masks) + fitted
        fitted = kernel @ (residual - residual.mean(axis=0)) / len(block.y)
        result[f"booster, cross-fitted residual correction of {name}"] = base + fitted
    result["mean of six boosters, each without a fold"] = base
    stderr = residual.std(axis=0) / np.sqrt(len(residual))
    main_z = (residual - residual.mean(axis=0)).T @ block.setup.phi / len(residual) / stderr[:, None]
    pair_z = block.pair_z(residual - residual.mean(axis=0))
    shrunken = base + block.new @ (_prior(main_z).shrink(main_z)[0] * stderr[:, None]).T
    prior = _prior(pair_z)
    columns = set_columns(block.new, block.pairs)
    for target in range(shrunken.shape[1]):
        mean = prior.shrink(pair_z[target])[0]
        shrunken[:, target] += columns @ (mean * stderr[target]).astype(np.float32)
    result["booster, shrunken residual correction of main effects and pairs"] = shrunken
    return result


TRIALS = {
    "one-prior": one_prior,
    "relaxed": relaxed,
    "relaxed-sets": relaxed_sets,
    "second-screen": second_screen,
    "bagged": bagged,
    "residual-correction": residual_correction,
}


class _Bag(Proxy):
    """Several proxies as one: mean predictions, and sets by their mean coefficient."""

    def __init__(self, masks: Array, outputs: Array) -> None:
        object.__setattr__(self, "proxies", [])
        for seed in range(N_BAGS):
            drawn = np.random.default_rng(seed).integers(0, len(masks), len(masks))
            left = np.setdiff1d(np.arange(len(masks)), drawn)
            rows = np.concatenate([drawn, left])
            held = np.arange(len(rows)) >= len(drawn)
            self.proxies.append(fit_proxy(masks[rows], outputs[rows], BoosterSettings(), validation=held))

    def predict(self, masks: Array) -> Array:
        return np.mean([proxy.predict(masks) for proxy in self.proxies], axis=0)

    def largest_sets(
        self, target: int, alpha: float, min_order: int, max_order: int, count: int
    ) -> list[tuple[int, ...]]:
        total: dict[tuple[int, ...], float] = {}
        for proxy in self.proxies:
            for members, value in proxy.spectrum(target, alpha).terms.items():
                if min_order <= len(members) <= max_order:
                    total[members] = total.get(members, 0.0) + value
        return sorted(total, key=lambda members: (-abs(total[members]), members))[:count]


def _prior(z: Array) -> EffectPrior:
    counts = np.zeros(N_Z_BINS, dtype=np.int64)
    add_to_histogram(counts, np.asarray(z))
    return EffectPrior.fit(counts, Z_STEP)


def _both(x: Array, y: Array, coef: Array, new: Array) -> tuple[Array, Array]:
    """Predictions of `new` by the given coefficients and by least squares on their support, both with intercept."""
    used = np.flatnonzero(coef)
    mean, mean_y = x.mean(axis=0, dtype=np.float64), y.mean()
    strict = mean_y + (new - mean) @ coef
    if len(used) == 0:
        return strict, strict
    solved = np.linalg.lstsq((x[:, used] - mean[used]).astype(np.float64), y - mean_y, rcond=1e-6)[0]
    return strict, mean_y + (new[:, used] - mean[used]) @ solved


def _spectrum_columns(block: Block, target: int, chosen: Selection) -> tuple[Array, Array, Array, Array]:
    somewhere = np.flatnonzero(chosen.kept | (chosen.fold_sets != 0).any(axis=0))
    members = block.candidates[target].members[somewhere]
    return (
        set_columns(block.setup.phi, members), set_columns(block.new, members),
        np.hstack([chosen.fold_main, chosen.fold_sets[:, somewhere]]),
        np.concatenate([chosen.main, chosen.sets[somewhere]]),
    )  # fmt: skip


@contextmanager
def _replaced(module: Any, name: str, value: Any) -> Iterator[None]:
    kept = getattr(module, name)
    setattr(module, name, value)
    try:
        yield
    finally:
        setattr(module, name, kept)
