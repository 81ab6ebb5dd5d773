"""Functions as a user would write them: a known game with two planted pairs and noise, and every fault there is."""

from __future__ import annotations

import numpy as np

N_PLAYERS, N_TARGETS = 16, 5
REDUNDANT, SYNERGY = (0, 1), (2, 3)  # on target 0, on target 1
NOISE = 0.05


def outputs_of(masks: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """(m, N_TARGETS) float64: main effects, an OR on target 0, an AND on target 1, and noise of the seed."""
    x = masks.astype(np.float64)
    outputs = x @ np.linspace(0.1, 0.6, N_PLAYERS)[:, None] * np.linspace(1.0, 2.0, N_TARGETS)
    outputs[:, 0] += 2.0 * x[:, list(REDUNDANT)].max(axis=1)
    outputs[:, 1] += 2.0 * x[:, list(SYNERGY)].min(axis=1)
    noise = np.array([np.random.default_rng(int(seed)).standard_normal(N_TARGETS) for seed in seeds])
    return outputs + NOISE * noise


def setup() -> dict[str, int]:
    return {"n_players": N_PLAYERS}


def players() -> dict[str, list[object]]:
    return {
        "name": [f"patient {number}" for number in range(N_PLAYERS)],
        "class": [("ill", "well")[number % 2] for number in range(N_PLAYERS)],
        "age": [40 + number for number in range(N_PLAYERS)],
    }


def targets() -> dict[str, list[object]]:
    return {
        "name": [f"visit {number}" for number in range(N_TARGETS)],
        "class": [("ill", "well")[number % 2] for number in range(N_TARGETS)],
        "audit": [number == N_TARGETS - 1 for number in range(N_TARGETS)],
        "text": [f"the patient came <b>in</b> on day {number} & left" for number in range(N_TARGETS)],
    }


def train(indices, seed, context):  # type: ignore[no-untyped-def]
    mask = np.zeros((1, context.data["n_players"]), dtype=bool)
    mask[0, indices] = True
    return outputs_of(mask, np.array([seed]))[0]


def takes_its_time(indices, seed, context):  # type: ignore[no-untyped-def]
    import time

    time.sleep(0.02)
    return train(indices, seed, context)


# --- faults --------------------------------------------------------------------------------------------------


def sometimes_raises(indices, seed, context):  # type: ignore[no-untyped-def]
    if 0 not in indices and 1 not in indices:
        raise ValueError("patients 0 and 1 are both missing")
    return train(indices, seed, context)


def always_raises(indices, seed, context):  # type: ignore[no-untyped-def]
    raise RuntimeError("no licence")


def not_a_number(indices, seed, context):  # type: ignore[no-untyped-def]
    outputs = train(indices, seed, context)
    outputs[2] = np.nan if 0 in indices else outputs[2]
    return outputs


def too_short(indices, seed, context):  # type: ignore[no-untyped-def]
    return train(indices, seed, context)[:3]


def returns_none(indices, seed, context):  # type: ignore[no-untyped-def]
    return None


def returns_text(indices, seed, context):  # type: ignore[no-untyped-def]
    return ["a"] * N_TARGETS


def as_list(indices, seed, context):  # type: ignore[no-untyped-def]
    return train(indices, seed, context).tolist()


def as_tensor(indices, seed, context):  # type: ignore[no-untyped-def]
    import torch

    return torch.tensor(train(indices, seed, context), requires_grad=True)


def with_score(indices, seed, context):  # type: ignore[no-untyped-def]
    return train(indices, seed, context), 0.25


def ignores_its_seed(indices, seed, context):  # type: ignore[no-untyped-def]
    return train(indices, np.random.default_rng().integers(2**31), context)


def sleeps(indices, seed, context):  # type: ignore[no-untyped-def]
    import time

    time.sleep(30 if 0 in indices else 0)
    return train(indices, seed, context)


def needs_more(indices, seed, context, learning_rate):  # type: ignore[no-untyped-def]
    return train(indices, seed, context)


def hears_its_seed_alone(indices, seed, context):  # type: ignore[no-untyped-def]
    return np.random.default_rng(seed).standard_normal(N_TARGETS)


not_a_function = 3
