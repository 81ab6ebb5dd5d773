"""Ways to choose interactions, compared on a real campaign: what won is in attribution/, what lost is written down.

    python benchmarks/attribution_selection.py [--campaign digits-200.npz]

The 60 targets of highest variance, cross-fitted R2 over all 2,048 masks (five outer folds; each way sees only the
other four). docs/NEGATIVE_RESULTS.md quotes the table.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from attribution.block import BlockSettings, fit_block  # noqa: E402
from attribution.booster import BoosterSettings  # noqa: E402
from attribution.checks import check_data  # noqa: E402
from attribution.clusters import basis  # noqa: E402
from attribution.crossfit import assign_folds, fit_linear  # noqa: E402
from attribution.faithfulness import r2  # noqa: E402
from attribution.proxy import fit_proxy  # noqa: E402
from attribution.screen import set_columns  # noqa: E402

Array = np.ndarray


def pair_z(phi: Array, residual: Array, pairs: Array) -> Array:
    """(t, pairs) one-step z of every pair."""
    result = np.empty((residual.shape[1], len(pairs)), dtype=np.float32)
    for target in range(residual.shape[1]):
        r = residual[:, target].astype(np.float32)
        result[target] = ((phi * r[:, None]).T @ phi)[pairs[:, 0], pairs[:, 1]] / np.sqrt(r @ r)
    return result


def lasso_with_sets(phi: Array, y: Array, new: Array, sets: Array, folds: Array) -> Array:
    """One common penalty for main effects and sets, chosen by cross-validation: predictions of `new`."""
    columns = np.concatenate([phi, set_columns(phi, sets)], axis=1)
    fitted = fit_linear(columns, y[:, None], folds, n_penalties=15, smallest=0.02)
    return np.concatenate([new, set_columns(new, sets)], axis=1) @ fitted.coef[0] + fitted.intercept[0]


def ridge_with_sets(phi: Array, y: Array, new: Array, sets: list[tuple[int, ...]]) -> Array:
    """Ridge over main effects and sets, as published: predictions of `new`."""
    from sklearn.linear_model import RidgeCV

    padded = np.array([(*s, *([-1] * (3 - len(s)))) for s in sets], dtype=np.int64).reshape(-1, 3)
    model = RidgeCV(alphas=np.logspace(0, 4, 9)).fit(np.hstack([phi, set_columns(phi, padded)]), y)
    return model.predict(np.hstack([new, set_columns(new, padded)]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--campaign", type=Path, default=ROOT / ".." / "shared" / "campaigns" / "digits-200.npz"
    )
    parser.add_argument("--targets", type=int, default=60)
    given = parser.parse_args()
    with np.load(given.campaign) as data:
        masks = np.unpackbits(data["masks"], axis=1, bitorder="little")[:, :200].astype(bool)
        outputs = data["outputs"].astype(np.float64)
    outputs = outputs[:, np.argsort(-outputs[:1792].var(axis=0))[: given.targets]]
    phi_all = basis(masks, 0.5)
    pairs = np.column_stack(np.triu_indices(masks.shape[1], 1))
    outer = np.random.default_rng(1).permutation(len(masks)) % 5
    predicted: dict[str, Array] = {}

    def put(name: str, rows: Array, values: Array) -> None:
        predicted.setdefault(name, np.full(outputs.shape, np.nan))[rows] = values

    for fold in range(5):
        fit, held = outer != fold, outer == fold
        phi, y, new = phi_all[fit], outputs[fit], phi_all[held]
        inner = assign_folds(np.arange(len(y)), 6, fold)
        linear = fit_linear(phi, y, inner)
        base = new @ linear.coef.T + linear.intercept
        put("LASSO datamodel", held, base)
        block = fit_block(check_data(masks[fit], y, 0.5), BlockSettings(alpha=0.5))
        put("coterie's spectrum", held, np.column_stack([s.evaluate(masks[held]) for s in block.spectra]))
        settings, validation = BoosterSettings(n_rounds=600), inner == 0
        proxy = fit_proxy(masks[fit], y, settings, validation=validation)
        put("booster alone", held, proxy.predict(masks[held]))
        residual = y - linear.predicted
        second = fit_proxy(masks[fit], residual, settings, validation=validation)
        put("LASSO + booster on its residual", held, base + second.predict(masks[held]))
        z = pair_z(phi, residual, pairs)
        size = residual.std(axis=0) / np.sqrt(len(y))
        for cut in (3.5, 4.0, 4.5, 5.0):
            added, joint = base.copy(), base.copy()
            for target in range(given.targets):
                chosen = np.flatnonzero(np.abs(z[target]) > cut)
                if len(chosen):
                    added[:, target] += set_columns(new, pairs[chosen]) @ (z[target, chosen] * size[target])
                    joint[:, target] = lasso_with_sets(phi, y[:, target], new, pairs[chosen], inner)
            put(f"LASSO + pairs with z > {cut}, unshrunken", held, added)
            put(f"LASSO refit, pairs with z > {cut}, one penalty", held, joint)
        for count in (10, 100):
            screen, published = base.copy(), base.copy()
            for target in range(given.targets):
                top = np.argsort(-np.abs(z[target]))[:count]
                screen[:, target] = lasso_with_sets(phi, y[:, target], new, pairs[top], inner)
                found = proxy.largest_sets(target, 0.5, 2, 3, count)
                published[:, target] = ridge_with_sets(phi, y[:, target], new, found)
            put(f"LASSO refit, {count} strongest pairs, one penalty", held, screen)
            put(f"ridge refit, booster's {count} largest sets", held, published)
    reference = r2(outputs, predicted["LASSO datamodel"])
    print(f"{given.targets} targets of highest variance, 2,048 masks, 200 players\n")
    print("| way | mean R2 | worst target against LASSO | best |\n|---|---|---|---|")
    for name, values in sorted(predicted.items(), key=lambda entry: -r2(outputs, entry[1]).mean()):
        score = r2(outputs, values)
        gain = score - reference
        print(f"| {name} | {score.mean():.4f} | {gain.min():+.3f} | {gain.max():+.3f} |")


if __name__ == "__main__":
    main()
