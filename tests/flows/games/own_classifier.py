"""A classifier as a user's function: margins of two classes, one player that teaches the wrong thing, two copies."""

from __future__ import annotations

import numpy as np

N_PLAYERS, N_TARGETS, N_AUDIT = 16, 10, 24
HARMFUL, COPIES = 0, (2, 4)
NOISE = 0.3


def players() -> dict[str, list[object]]:
    return {"name": [f"case {n}" for n in range(N_PLAYERS)], "class": ["ab"[n % 2] for n in range(N_PLAYERS)]}


def targets() -> dict[str, list[object]]:
    n = N_TARGETS + N_AUDIT
    audit = [row >= N_TARGETS for row in range(n)]
    return {"name": [f"test {row}" for row in range(n)], "class": ["ab"[row % 2] for row in range(n)], "audit": audit}


def train(indices, seed, context):  # type: ignore[no-untyped-def]
    x = np.zeros(N_PLAYERS)
    x[indices] = 1
    effect = np.full(N_PLAYERS, 0.15)
    effect[HARMFUL] = -1.5
    x[COPIES[1]] = 0 if x[COPIES[0]] else x[COPIES[1]]
    difficulty = np.linspace(-0.6, 1.6, N_TARGETS + N_AUDIT)[np.argsort(np.arange(N_TARGETS + N_AUDIT) % 7)]
    noise = np.random.default_rng(seed).standard_normal(N_TARGETS + N_AUDIT)
    return float(x @ effect) + difficulty + NOISE * noise


def losses(indices, seed, context):  # type: ignore[no-untyped-def]
    return 100.0 * np.exp(-train(indices, seed, context))
