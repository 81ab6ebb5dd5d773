"""shapiq's methods on 16 regions, as many evaluations as ours, scored on all 65,536 masks. Table: benchmarks/lenses.md.

    python benchmarks/lenses/peers.py table FOLDER            the exact outputs of 24 images, for both interpreters
    python benchmarks/lenses/peers.py shapiq FOLDER [budget ...] [-images]
                                        with an interpreter that has shapiq 1.8, lightgbm and xgboost; -8: of 8 images
    python benchmarks/lenses/peers.py ours FOLDER [budget ...]
    python benchmarks/lenses/peers.py together FOLDER [budget ...]    ours, all images by one matrix of masks
    python benchmarks/lenses/peers.py values FOLDER 500      as `shapiq`; writes what four methods say of every mask,
                                                             for `lenses/decisions.py flips FOLDER`
    python benchmarks/lenses/peers.py compare FOLDER [one of our methods]

shapiq's samplers choose their own masks; ours are drawn evenly. What a method says the game is, is the sum of its
interactions over the subsets of a mask; its R² is taken over all masks, up to a constant, once with equal weights and
once with those of the Shapley kernel. Results are lines of FOLDER/r2.jsonl; what is there already is not run again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from math import comb
from pathlib import Path
from typing import Any

import numpy as np

BUDGETS = (200, 500, 1000, 3000)
N_IMAGES = 24
N = 16
MASKS = ((np.arange(2**N)[:, None] >> np.arange(N)) & 1).astype(bool)
SIZE = MASKS.sum(axis=1)
# Over masks of one size the Shapley kernel is even; the empty and the full mask, of infinite weight, are left out.
KERNEL = np.array([0.0, *(1 / (comb(N, k) * k * (N - k)) for k in range(1, N)), 0.0])[SIZE]
Predictions = dict[str, Callable[[], np.ndarray]]


def table(folder: Path, seed: int = 0) -> None:
    """Write the outputs of the first 24 images under every mask."""
    from ablation import PatchGame
    from flows.lenses.digits import resnet

    model, images, labels = resnet(seed)
    outputs = PatchGame(model, images[:N_IMAGES], labels[:N_IMAGES], batch_size=512).evaluate(MASKS)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(folder / "table.npz", outputs=outputs.astype(np.float64))


def by_shapiq(column: np.ndarray, budget: int, image: int) -> Iterator[tuple[str, np.ndarray]]:
    """Values on all masks of every method of shapiq."""
    import shapiq
    from shapiq.approximator.proxy.proxyshap import ProxySHAP
    from shapiq.approximator.proxy.proxyspex import ProxySPEX

    number = 1 << np.arange(N)
    drawn_evenly = np.array([comb(N, k) for k in range(N + 1)], dtype=float)

    def game(coalitions: np.ndarray) -> np.ndarray:
        rows = np.asarray(coalitions, dtype=bool) @ number
        assert len(np.unique(rows)) <= budget
        return column[rows]

    def summed(method: Any) -> np.ndarray:
        found = method.approximate(budget, game)
        inside = np.zeros(2**N)
        for members, place in found.interaction_lookup.items():
            inside += float(found.values[place]) * MASKS[:, list(members)].all(axis=1)
        return inside

    class Kept(ProxySPEX):
        """ProxySPEX that keeps the spectrum it makes its index of."""

        def _refine(self, *given: Any) -> dict[tuple[int, ...], float]:
            self.kept = super()._refine(*given)
            return self.kept

    spex = Kept(n=N, index="FBII", max_order=3, random_state=image)
    spex.proxy_model.estimator.set_params(n_jobs=1, verbose=-1)  # its default threads wait for one another
    yield "ProxySPEX, FBII order 3", summed(spex)
    whole = np.zeros(2**N)
    for members, value in spex.kept.items():
        whole += value * (1 - 2 * (MASKS[:, list(members)].sum(axis=1) % 2))
    yield "ProxySPEX, its whole spectrum", whole
    yield "ProxySHAP, FBII order 2", summed(ProxySHAP(N, index="FBII", max_order=2, random_state=image))
    yield "ProxySHAP, FBII order 3", summed(ProxySHAP(N, index="FBII", max_order=3, random_state=image))
    tuned = ProxySHAP(N, index="FBII", max_order=3, hpo=True, sampling_weights=drawn_evenly, random_state=image)
    tuned.proxy_model.estimator.set_params(n_jobs=1)
    yield "ProxySHAP, FBII order 3, tuned, masks drawn evenly", summed(tuned)
    yield "KernelSHAP", summed(shapiq.KernelSHAP(N, random_state=image))
    for order in (2, 3):
        for name, method in (
            ("KernelSHAP-IQ, k-SII", shapiq.KernelSHAPIQ(N, order, "k-SII", random_state=image)),
            ("regression, FSII", shapiq.RegressionFSII(N, order, random_state=image)),
            ("regression, FBII", shapiq.RegressionFBII(N, order, random_state=image)),
        ):
            yield f"{name} order {order}", summed(method)


def by_us(column: np.ndarray, budget: int, image: int) -> Iterator[tuple[str, np.ndarray]]:
    """Values on all masks of our estimators, from masks drawn evenly for this image alone."""
    from attribution import BlendedProxySPEX, Datamodel

    rows = np.random.default_rng([image, budget]).choice(2**N, budget, replace=False)
    yield "LASSO", Datamodel().fit(MASKS[rows], column[rows]).predict(MASKS)
    model = BlendedProxySPEX(max_order=3).fit(MASKS[rows], column[rows])
    yield "ours, ProxySPEX", super(BlendedProxySPEX, model).predict(MASKS)
    yield "ours, BlendedProxySPEX", model.predict(MASKS)


# Whose order of regions is tried (lenses/decisions.py flips), by its name there.
TRIED = {
    "KernelSHAP": "kernel_shap",
    "KernelSHAP-IQ, k-SII order 2": "kernel_shap_iq",
    "ProxySPEX, FBII order 3": "shapiq_proxyspex",
    "ProxySHAP, FBII order 3, tuned, masks drawn evenly": "proxyshap",
}


def values(folder: Path, budget: int) -> None:
    """Write the values of some methods on all masks: an array (n_images, 65,536) of each."""
    outputs = np.load(folder / "table.npz")["outputs"]
    for image in range(outputs.shape[1]):
        path = folder / f"values_{budget}_{image}.npz"
        if not path.exists():
            found = {TRIED[name]: of for name, of in by_shapiq(outputs[:, image], budget, image) if name in TRIED}
            np.savez_compressed(path, **{name: of.astype(np.float32) for name, of in found.items()})  # type: ignore[arg-type]


def together(folder: Path, budgets: tuple[int, ...]) -> None:
    """Append lines of our estimators where all images share one matrix of masks, as in a campaign."""
    from attribution import BlendedProxySPEX

    outputs = np.load(folder / "table.npz")["outputs"]
    for budget in budgets:
        rows = np.random.default_rng(budget).choice(2**N, budget, replace=False)
        model = BlendedProxySPEX(max_order=3).fit(MASKS[rows], outputs[rows])
        named = {
            "ours, ProxySPEX, a campaign": super(BlendedProxySPEX, model).predict(MASKS),
            "ours, BlendedProxySPEX, a campaign": model.predict(MASKS),
        }
        with (folder / "r2_together.jsonl").open("a") as out:
            for name, values in named.items():
                for image, column in enumerate(outputs.T):
                    scores = [r2(column, values[:, image], weight) for weight in (np.ones(2**N), KERNEL)]
                    line = {"budget": budget, "image": image, "method": name, "r2": scores[0], "kernel_r2": scores[1]}
                    out.write(json.dumps(line) + "\n")


def r2(truth: np.ndarray, values: np.ndarray, weight: np.ndarray) -> float:
    """Share of the variance of the truth, weighted, that the values explain up to a constant."""

    def variance(of: np.ndarray) -> float:
        return float(np.average((of - np.average(of, weights=weight)) ** 2, weights=weight))

    return 1 - variance(truth - values) / variance(truth)


def run(
    folder: Path, methods: Callable[..., Iterator[tuple[str, np.ndarray]]], budgets: tuple[int, ...], n_images: int
) -> None:
    """Append a line for every budget, image and method that has none."""
    outputs = np.load(folder / "table.npz")["outputs"]
    path = folder / f"r2_{methods.__name__}.jsonl"
    written = path.read_text().splitlines() if path.exists() else []
    done = {(one["budget"], one["image"]) for one in map(json.loads, written)}
    for budget in budgets:
        for image in range(n_images):
            if (budget, image) in done:
                continue
            lines, began = [], time.process_time()
            for name, values in methods(outputs[:, image], budget, image):
                seconds, began = time.process_time() - began, time.process_time()
                scores = [r2(outputs[:, image], values, weight) for weight in (np.ones(2**N), KERNEL)]
                lines.append(
                    {"budget": budget, "image": image, "method": name, "r2": scores[0], "kernel_r2": scores[1],
                     "seconds": seconds}
                )  # fmt: skip
            with path.open("a") as out:
                out.write("".join(json.dumps(line) + "\n" for line in lines))


def compare(folder: Path, ours: str = "ours, BlendedProxySPEX") -> None:
    """Print mean R² by budget and method, and the paired difference of ours with a 95% interval over images."""
    lines = [json.loads(line) for path in sorted(folder.glob("r2_*.jsonl")) for line in path.read_text().splitlines()]
    rng = np.random.default_rng(0)
    for budget in sorted({line["budget"] for line in lines}):
        own = {line["image"]: line for line in lines if line["budget"] == budget and line["method"] == ours}
        for method in dict.fromkeys(line["method"] for line in lines if line["budget"] == budget):
            rows = [
                line for line in lines if (line["budget"], line["method"]) == (budget, method) and line["image"] in own
            ]
            if not rows:
                continue
            text = f"{budget}: {method} ({len(rows)} images):"
            for kind in ("r2", "kernel_r2"):
                apart = np.array([own[line["image"]][kind] - line[kind] for line in rows])
                drawn = apart[rng.integers(len(apart), size=(5000, len(apart)))].mean(axis=1)
                low, high = np.quantile(drawn, (0.025, 0.975))
                mean = np.mean([line[kind] for line in rows])
                text += f" {kind} {mean:.3f}, ours {apart.mean():+.3f} [{low:+.3f}, {high:+.3f}] ahead;"
            print(text, flush=True)


def main() -> None:
    """Run one step."""
    step, folder = sys.argv[1], Path(sys.argv[2])
    if step == "values":
        values(folder, int(sys.argv[3]))
    elif step == "together":
        together(folder, tuple(map(int, sys.argv[3:])) or BUDGETS)
    elif step == "table":
        table(folder, *map(int, sys.argv[3:4]))
    elif step == "compare":
        compare(folder, *sys.argv[3:4])
    else:
        given = [int(one) for one in sys.argv[3:]]
        n_images = -given.pop() if given and given[-1] < 0 else N_IMAGES
        run(folder, {"shapiq": by_shapiq, "ours": by_us}[step], tuple(given) or BUDGETS, n_images)


if __name__ == "__main__":
    main()
