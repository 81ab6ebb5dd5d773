"""The spectrum of a forest by the recursion of docs/METHOD.md: slow, short, what the fast one is compared with."""

from __future__ import annotations

import math

from attribution.fourier.member_sets import Terms
from attribution.fourier.spectrum import Spectrum
from attribution.proxy.forest import Forest


def tree_to_spectrum(forest: Forest, n_players: int, alpha: float) -> Spectrum:
    """A forest's spectrum by recursion over its nodes.

    A leaf is {(): value}; a split on i with branches A (absent) and B (present) gives F[T] = (1 - p) A[T] + p B[T] and
    F[T + i] = sigma (B[T] - A[T]) (docs/METHOD.md). A branch that splits on i again is first reduced to the consistent
    side.
    """
    p, sigma = alpha, math.sqrt(alpha * (1 - alpha))

    def branch(node: int, sides: dict[int, bool]) -> Terms:
        player = int(forest.player[node])
        if player < 0:
            return {(): float(forest.value[node])}
        if player in sides:
            return branch(int((forest.present if sides[player] else forest.absent)[node]), sides)
        without = branch(int(forest.absent[node]), {**sides, player: False})
        with_it = branch(int(forest.present[node]), {**sides, player: True})
        terms: Terms = {}
        for members in without.keys() | with_it.keys():
            a, b = without.get(members, 0.0), with_it.get(members, 0.0)
            terms[members] = (1 - p) * a + p * b
            terms[tuple(sorted((*members, player)))] = sigma * (b - a)
        return terms

    total: Terms = {(): forest.bias}
    for root in forest.roots:
        for members, value in branch(int(root), {}).items():
            total[members] = total.get(members, 0.0) + value
    return Spectrum(total, n_players, p)
