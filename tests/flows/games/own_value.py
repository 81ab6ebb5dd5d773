"""Value functions as a user would write them: a known function with two planted sets, and every fault there is."""

from __future__ import annotations

import numpy as np

N_PLAYERS, N_TARGETS = 14, 3
REDUNDANT, SYNERGY = (0, 1), (2, 3, 4)  # on target 0, on target 1


def outputs_of(masks: np.ndarray) -> np.ndarray:
    """(m, N_TARGETS) float64: main effects, an OR on target 0, an AND on target 1."""
    x = masks.astype(np.float64)
    outputs = x @ np.linspace(0.1, 0.6, N_PLAYERS)[:, None] * np.linspace(1.0, 2.0, N_TARGETS) - 2.0
    outputs[:, 0] += 2.0 * x[:, list(REDUNDANT)].max(axis=1)
    outputs[:, 1] += 4.0 * x[:, list(SYNERGY)].min(axis=1)
    return outputs


def players() -> list[dict[str, str]]:
    return [{"name": f"word {number}", "sentence": str(number // 2)} for number in range(N_PLAYERS)]


def targets() -> dict[str, list[object]]:
    return {"name": [f"topic {number}" for number in range(N_TARGETS)], "text": ["about <b>this</b>"] * N_TARGETS}


def setup() -> int:
    return N_PLAYERS


def value(masks, context):  # type: ignore[no-untyped-def]
    assert masks.shape[1] == context.data and masks.dtype == bool
    return outputs_of(masks)


def one_target(masks, context):  # type: ignore[no-untyped-def]
    return outputs_of(masks)[:, 0]


# --- faults --------------------------------------------------------------------------------------------------


def raises(masks, context):  # type: ignore[no-untyped-def]
    raise RuntimeError("no licence")


def transposed(masks, context):  # type: ignore[no-untyped-def]
    return outputs_of(masks).T


def returns_none(masks, context):  # type: ignore[no-untyped-def]
    return None


def returns_text(masks, context):  # type: ignore[no-untyped-def]
    return [["a"] * N_TARGETS] * len(masks)


def not_finite(masks, context):  # type: ignore[no-untyped-def]
    outputs = outputs_of(masks)
    outputs[~masks[:, 0], 1] = np.inf
    return outputs


def reads_the_others(masks, context):  # type: ignore[no-untyped-def]
    return outputs_of(masks) + np.random.default_rng().random()


def takes_indices(indices, seed, context):  # type: ignore[no-untyped-def]
    return outputs_of(indices)
