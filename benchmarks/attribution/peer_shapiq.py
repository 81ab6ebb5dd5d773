"""shapiq's ProxySPEX or ProxySHAP on masks and outputs that exist already. Run with an interpreter that has shapiq.

    python attribution/peer_shapiq.py ProxySPEX|ProxySHAP campaign.npz result.json [target ...]

shapiq draws its own masks, so its sampler is replaced by one that hands out ours, and its game by a table of the
outputs. ProxySPEX runs with its defaults in shapiq 1.4 and 1.8; ProxySHAP (1.8) in three variants: the proxy alone,
and the proxy with the residual correction of its paper, on one fold and on five.

campaign.npz: masks (m, n) bool, outputs (m, t), held_masks (h, n), held_outputs (h, t).
result.json: "version" and "variants", {variant: {target: ...}}: cpu_seconds, r2 on the held-out masks (NaN for a
correction), and the sets found with their Fourier coefficients (presence positive), largest first. "targets" holds
the variant named as the method. Targets that a result.json younger than the campaign has are not computed again.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from importlib.metadata import version

import numpy as np
import shapiq

MAX_SETS = 2000  # of a target, kept in result.json: a residual correction gives every set a value
MAX_PLAYERS_WITH_TRIPLES = 200  # a correction of all triples of more players fits in no memory
Terms = dict[tuple[int, ...], float]


class GivenMasks:
    """Stands where shapiq's CoalitionSampler stands."""

    pairing_trick = False
    # The row whose output shapiq takes for that of the empty coalition. The proxy alone uses it as a constant that is
    # subtracted from all outputs, for which any row will do; for the correction see Reference.
    empty_coalition_index = 0

    def __init__(self, masks: np.ndarray) -> None:
        self.coalitions_matrix = masks
        self.n_coalitions = len(masks)
        # How many of the 2^n coalitions each mask stands for: masks are uniform over all of them.
        weight = masks.shape[1] * math.log(2) - math.log(len(masks))
        self.log_sampling_adjustment_weights = np.full(len(masks), weight)

    def sample(self, budget: int) -> None:
        if budget != len(self.coalitions_matrix):
            raise ValueError(f"all {len(self.coalitions_matrix)} masks are handed out, not {budget}")


def proxyspex(masks: np.ndarray, outputs: np.ndarray) -> dict[str, tuple[Terms, float]]:
    """{"ProxySPEX": ({members: Fourier coefficient} as the default refines them, CPU seconds)}."""
    found: Terms = {}
    began = time.process_time()
    model = shapiq.ProxySPEX(n=masks.shape[1], index="FBII", max_order=2, random_state=0)
    model._uniform_sampler = model._sampler = GivenMasks(masks)  # the name in 1.4, the name in 1.8
    refine = model._refine

    def keep(*arguments: object) -> Terms:
        result = refine(*arguments)
        found.update({tuple(int(i) for i in members): float(np.real(v)) for members, v in result.items()})
        # What follows converts to an index and is no part of finding sets.
        raise _Found

    model._refine = keep
    try:
        model.approximate(len(masks), lambda _: outputs)
    except _Found:
        pass
    seconds = time.process_time() - began
    # shapiq's basis is (-1)^(number of members present); presence is positive here.
    return {"ProxySPEX": ({members: (-1) ** len(members) * v for members, v in found.items()}, seconds)}


class _Found(Exception):
    pass


def proxyshap(masks: np.ndarray, outputs: np.ndarray) -> dict[str, tuple[Terms, float]]:
    """{variant: ({members: Fourier coefficient}, CPU seconds)} of ProxySHAP's three variants.

    Its index is the Banzhaf interaction I(S), exactly what is planted: the coefficient is I(S) / 2^|S|. (k-SII, its
    default, weighs masks of all sizes alike, of which there are none near 0 and n.) XGBoost is its default proxy,
    the grid search over depth, rounds and rate its own; the corrected variants take over what that search has
    chosen, and their seconds include it.
    """
    n = masks.shape[1]

    def run(given: np.ndarray, values: np.ndarray, **settings: object) -> tuple[Terms, float]:
        began = time.process_time()
        model = shapiq.ProxySHAP(n=n, index="BII", random_state=0, **settings)
        model._sampler = GivenMasks(given)
        result = model.approximate(len(given), lambda _: values)
        chosen.update(getattr(model.proxy_model, "best_params_", {}))
        seconds = time.process_time() - began
        terms = {tuple(map(int, members)): float(v) for members, v in result.interactions.items() if members}
        return {members: v / 2 ** len(members) for members, v in terms.items()}, seconds

    chosen: dict[str, object] = {}
    alone = run(masks, outputs, max_order=3, hpo=True)
    found = {"ProxySHAP": alone}
    rows = np.concatenate([masks[:1], masks])
    values = np.concatenate([outputs[:1], outputs])
    max_order = 3 if n <= MAX_PLAYERS_WITH_TRIPLES else 2
    for name, k_folds in (("ProxySHAP, corrected", 1), ("ProxySHAP, corrected on 5 folds", 5)):
        proxy = reference_proxy(chosen)
        terms, seconds = run(
            rows, values, max_order=max_order, proxy_model=proxy, adjustment=True, k_folds=k_folds
        )
        found[name] = terms, seconds + alone[1]
    # The constant is no interaction and no index tells it.
    return {name: ({(): float(outputs.mean()), **terms}, seconds) for name, (terms, seconds) in found.items()}


def reference_proxy(settings: dict[str, object]) -> object:
    """XGBoost for the residual correction, exact on the row that stands for the empty coalition: the first.

    The correction subtracts the empty coalition's residual from all residuals, so that its own is 0. Nobody has
    trained on nothing, and whatever stood in for that output (the mean, or even the truth, where the proxy
    extrapolates) would shift all residuals by a constant much larger than they are, a noise of constant / sqrt(m)
    in every coefficient. Instead the proxy's own prediction stands in: a residual of 0. Said to shapiq by a copy
    of the first mask in front, on which the proxy predicts the output less the baseline, which is 0.
    """
    from xgboost import XGBRegressor

    class Reference(XGBRegressor):
        def predict(self, X: np.ndarray, **settings: object) -> np.ndarray:
            predicted = super().predict(X, **settings)
            predicted[0] = 0.0
            return predicted

    return Reference(random_state=0, **settings)


def evaluate(terms: Terms, masks: np.ndarray) -> np.ndarray:
    phi = 2.0 * masks - 1.0
    total = np.zeros(len(masks))
    for members, value in terms.items():
        total += value * (phi[:, list(members)].prod(axis=1) if members else 1.0)
    return total


def main() -> None:
    method, source, destination, *targets = sys.argv[1:]
    with np.load(source) as data:
        masks, outputs = data["masks"].astype(bool), data["outputs"]
        held_masks, held_outputs = data["held_masks"].astype(bool), data["held_outputs"]
    result: dict[str, dict[str, dict[str, object]]] = {}
    if os.path.exists(destination) and os.path.getmtime(destination) > os.path.getmtime(source):
        with open(destination) as kept:
            result = json.load(kept)["variants"]
    for target in map(int, targets) if targets else range(outputs.shape[1]):
        if str(target) in result.get(method, {}):
            continue
        found = {"ProxySPEX": proxyspex, "ProxySHAP": proxyshap}[method](masks, outputs[:, target])
        for variant, (terms, seconds) in found.items():
            y = held_outputs[:, target]
            error = float("nan")
            if variant == method:  # a correction gives every set a value, and no function of the mask
                error = ((y - evaluate(terms, held_masks)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
            sets = [[list(s), v] for s, v in sorted(terms.items(), key=lambda t: -abs(t[1])) if len(s) > 1]
            entry = {"cpu_seconds": seconds, "r2": 1 - error, "sets": sets[:MAX_SETS]}
            result.setdefault(variant, {})[str(target)] = entry
        with open(destination, "w") as out:
            json.dump({"version": version("shapiq"), "targets": result[method], "variants": result}, out)


if __name__ == "__main__":
    main()
