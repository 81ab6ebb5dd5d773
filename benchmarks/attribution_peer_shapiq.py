"""shapiq's ProxySPEX (or ProxySHAP) on masks and outputs that exist already. Run with an interpreter that has shapiq.

    python attribution_peer_shapiq.py ProxySPEX|ProxySHAP campaign.npz result.json [target ...]

shapiq draws its own masks, so its sampler is replaced by one that hands out ours, and its game by a table of the
outputs. campaign.npz: masks (m, n) bool, outputs (m, t), held_masks (h, n), held_outputs (h, t).
result.json: per target cpu_seconds, r2 on the held-out masks (ProxySPEX), and the sets found with their Fourier
coefficients (presence positive; ProxySHAP: k-SII), largest first.
"""

from __future__ import annotations

import json
import sys
import time

import numpy as np
import shapiq


class GivenMasks:
    """Stands where shapiq's CoalitionSampler stands."""

    def __init__(self, masks: np.ndarray) -> None:
        self.coalitions_matrix = masks
        self.n_coalitions = len(masks)

    def sample(self, budget: int) -> None:
        if budget != len(self.coalitions_matrix):
            raise ValueError(f"all {len(self.coalitions_matrix)} masks are handed out, not {budget}")


def proxyspex(masks: np.ndarray, outputs: np.ndarray) -> tuple[dict[tuple[int, ...], float], float]:
    """{members: Fourier coefficient} as shapiq's default ProxySPEX refines them, and its CPU seconds."""
    found: dict[tuple[int, ...], float] = {}
    began = time.process_time()
    model = shapiq.ProxySPEX(n=masks.shape[1], index="FBII", max_order=2, random_state=0)
    model._uniform_sampler = GivenMasks(masks)
    refine = model._refine

    def keep(*arguments: object) -> dict[tuple[int, ...], float]:
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
    return {members: (-1) ** len(members) * value for members, value in found.items()}, seconds


class _Found(Exception):
    pass


def proxyshap(masks: np.ndarray, outputs: np.ndarray) -> tuple[dict[tuple[int, ...], float], float]:
    """{members: k-SII value} of shapiq's ProxySHAP with LightGBM as proxy, and its CPU seconds."""
    # It wants the empty coalition's value; the mean output stands in and shifts nothing but the constant.
    rows = np.concatenate([np.zeros((1, masks.shape[1]), dtype=bool), masks])
    values = np.concatenate([[outputs.mean()], outputs])
    began = time.process_time()
    model = shapiq.ProxySHAP(
        n=masks.shape[1], max_order=3, index="k-SII", proxy_model="lightgbm", random_state=0
    )
    given = GivenMasks(rows)
    given.empty_coalition_index = 0
    given.log_sampling_adjustment_weights = np.zeros(len(rows))
    model._sampler = given
    result = model.approximate(len(rows), lambda _: values)
    seconds = time.process_time() - began
    return {tuple(s): float(result.values[k]) for s, k in result.interaction_lookup.items()}, seconds


def evaluate(terms: dict[tuple[int, ...], float], masks: np.ndarray) -> np.ndarray:
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
    result = {}
    for target in map(int, targets) if targets else range(outputs.shape[1]):
        terms, seconds = {"ProxySPEX": proxyspex, "ProxySHAP": proxyshap}[method](masks, outputs[:, target])
        y = held_outputs[:, target]
        error = ((y - evaluate(terms, held_masks)) ** 2).sum() / ((y - y.mean()) ** 2).sum()
        if method == "ProxySHAP":  # an index, not a function of the mask
            error = float("nan")
        sets = sorted(((v, s) for s, v in terms.items() if len(s) > 1), key=lambda entry: -abs(entry[0]))
        result[target] = {"cpu_seconds": seconds, "r2": 1 - error, "sets": [[list(s), v] for v, s in sets]}
        with open(destination, "w") as out:
            json.dump({"version": getattr(shapiq, "__version__", "1.4"), "targets": result}, out)


if __name__ == "__main__":
    main()
