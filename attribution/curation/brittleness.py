"""The smallest removal that flips a prediction, found on the surrogate (Datamodels' counterfactual test).

Ilyas et al. 2022, section 4.1, remove the training examples of largest weight until the linear datamodel predicts a
flipped sign. With interactions the order matters: of two copies neither is worth much while the other is there, so the
search also removes whole member sets at once and takes the step that lowers the margin most per player removed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from attribution.curation.surrogate import State, Surrogate
from attribution.errors import AttributionError
from attribution.types import Array


@dataclass(frozen=True)
class Removal:
    """order: players in the order in which they leave. predicted: (len(order),) margin after each; needed: how many
    flip the prediction, -1 when none of the removals allowed does."""

    order: tuple[int, ...]
    predicted: Array
    needed: int


def removal_order(surrogate: Surrogate, margin_full: float, max_removals: int) -> Removal:
    """Players whose removal lowers the margin fastest, from the full training set.

    margin_full: the measured margin with all players; the surrogate only says how it changes (its own value at the
    full set is an extrapolation). Steps are single players or what is left of a member set, by predicted loss per
    player; the search ends when nothing lowers the margin any more. A final pass puts players back that the flip does
    not need. Raises AttributionError for fewer than one removal.
    """
    if max_removals < 1:
        raise AttributionError(f"at least one removal must be allowed; got {max_removals}.")
    state = State(surrogate)
    start = state.value
    order: list[int] = []
    predicted: list[float] = []
    while len(order) < max_removals:
        step = _best_step(state, surrogate, max_removals - len(order))
        if step is None:
            break
        for player in step:
            state.flip(player)
            order.append(player)
            predicted.append(margin_full + state.value - start)
    below = [at for at, margin in enumerate(predicted) if margin < 0]
    needed = below[0] + 1 if below else -1
    if needed > 1:
        order[:needed], predicted[:needed] = _without_idle(surrogate, order[:needed], margin_full)
        needed = next(at for at, margin in enumerate(predicted) if margin < 0) + 1
    return Removal(tuple(order), np.array(predicted), needed)


def _best_step(state: State, surrogate: Surrogate, room: int) -> list[int] | None:
    gains = np.where(state.present, state.gains(), np.inf)
    player = int(gains.argmin())
    best, loss = ([player], float(gains[player])) if gains[player] < 0 else (None, 0.0)
    for members in surrogate.sets:
        left = [p for p in members if state.present[p]]
        if not 2 <= len(left) <= room:
            continue
        # Only sets whose members gain by going together can beat the single player.
        before = state.value
        for p in left:
            state.flip(p)
        together = (state.value - before) / len(left)
        for p in left:
            state.flip(p)
        if together < loss - 1e-12:
            best, loss = left, together
    return best


def _without_idle(surrogate: Surrogate, order: list[int], margin_full: float) -> tuple[list[int], list[float]]:
    """The same players, those first that the flip needs; a player whose return keeps the margin below 0 goes last."""
    state = State(surrogate)
    start = state.value
    for player in order:
        state.flip(player)
    idle = []
    for player in sorted(order, key=lambda p: float(state.gains()[p])):
        state.flip(player)
        if margin_full + state.value - start < 0:
            idle.append(player)
        else:
            state.flip(player)
    arranged = [player for player in order if player not in idle] + idle
    state, predicted = State(surrogate), []
    for player in arranged:
        state.flip(player)
        predicted.append(margin_full + state.value - start)
    return arranged, predicted


def removals_to_try(needed: int, max_removals: int, n_available: int) -> list[int]:
    """Sizes to confirm by retraining: a ladder about what the surrogate says, coarse far from it; ascending."""
    centre = needed if needed > 0 else max_removals
    factors = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0, 2.7)
    sizes = {max(1, round(centre * factor)) for factor in factors}
    return sorted(size for size in sizes if size <= min(max_removals, n_available))


def smallest_flip(tried: list[int], margins: Array) -> int:
    """Smallest tried size from which on the mean margin stays below 0; margins: (sizes,) means over seeds. -1 if none.

    "From which on": a single size that happens to dip below 0 among others above it is noise.
    """
    below = np.asarray(margins) < 0
    found = -1
    for size, flipped in zip(reversed(tried), reversed(below.tolist()), strict=True):
        if not flipped:
            break
        found = size
    return found
