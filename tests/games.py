"""Games with known answers: functions of masks whose exact Möbius form or spectrum is known beforehand.

Each game evaluates its function directly, never through its spectrum, so that a test of one against the other
can fail. `noise_sd` plays the part of seed noise; `noise_ceiling` is the R^2 a perfect function of the mask
would reach on single noisy outputs. Test and benchmark support, not a part of the packages.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.spectrum import Spectrum
from attribution.proxy.forest import Forest
from tests.tree_recursion import tree_to_spectrum

Members = tuple[int, ...]
Function = Callable[[NDArray[np.bool_]], NDArray[np.float64]]


@dataclass(frozen=True)
class Game:
    """A function of masks with a known spectrum at one alpha, and Gaussian noise of a chosen size.

    evaluate(masks): (n_masks, n_players) bool -> (n_masks,) float64, without noise.
    spectrum: the exact spectrum at `alpha`.
    planted: the interactions somebody should find, largest sets included.
    """

    name: str
    n_players: int
    function: Function = field(repr=False, compare=False)
    spectrum: Spectrum = field(repr=False)
    planted: tuple[Members, ...] = ()
    noise_sd: float = 0.0

    @property
    def alpha(self) -> float:
        return self.spectrum.alpha

    def evaluate(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        return self.function(np.asarray(masks, dtype=np.bool_))

    def moebius(self) -> dict[Members, float]:
        return self.spectrum.moebius()

    @property
    def noise_ceiling(self) -> float:
        """Var[f] / (Var[f] + noise variance) under Bernoulli(alpha) masks."""
        signal = self.spectrum.variance()
        return signal / (signal + self.noise_sd**2) if signal > 0 else 0.0

    def at_alpha(self, alpha: float) -> Game:
        """The same function and noise, its masks drawn at another alpha."""
        return replace(self, spectrum=self.spectrum.at_alpha(alpha))

    def with_noise(self, noise_sd: float) -> Game:
        return replace(self, noise_sd=float(noise_sd))

    def with_noise_ceiling(self, noise_ceiling: float) -> Game:
        """As much noise as leaves a perfect predictor this R^2 in expectation; 1.0 means none."""
        if not 0.0 < noise_ceiling <= 1.0:
            raise ValueError(f"a noise ceiling lies in (0, 1]; got {noise_ceiling}.")
        return self.with_noise(math.sqrt(self.spectrum.variance() * (1.0 / noise_ceiling - 1.0)))

    def draw_masks(self, n_masks: int, seed: int) -> NDArray[np.bool_]:
        """(n_masks, n_players) bool, Bernoulli(alpha)."""
        generator = np.random.default_rng((seed, 0))
        return generator.random((n_masks, self.n_players), dtype=np.float32) < np.float32(self.alpha)

    def observe(self, masks: NDArray[np.bool_], seed: int, n_replicates: int = 1) -> NDArray[np.float64]:
        """Noisy outputs, (n_masks,) float64, or (n_masks, n_replicates) for more than one replicate."""
        noise = np.random.default_rng((seed, 1)).normal(size=(len(masks), n_replicates)) * self.noise_sd
        outputs = self.evaluate(masks)[:, None] + noise
        return outputs[:, 0] if n_replicates == 1 else outputs

    def sample(self, n_masks: int, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Masks and noisy outputs of a small campaign."""
        masks = self.draw_masks(n_masks, seed)
        return masks, self.observe(masks, seed)


def all_masks(n_players: int) -> NDArray[np.bool_]:
    """Every mask, (2^n_players, n_players) bool; the mask of row k holds the bits of k, lowest first."""
    return (np.arange(1 << n_players)[:, None] >> np.arange(n_players)[None, :] & 1).astype(np.bool_)


def mask_probabilities(masks: NDArray[np.bool_], alpha: float) -> NDArray[np.float64]:
    """(n_masks,) probability of each mask under Bernoulli(alpha)."""
    return np.asarray(np.where(masks, alpha, 1.0 - alpha).prod(axis=1))


def from_moebius(
    moebius: dict[Members, float],
    n_players: int,
    alpha: float = 0.5,
    noise_sd: float = 0.0,
    name: str = "moebius",
) -> Game:
    """A sum of unanimity games: f(x) = sum_S M(S) [all of S present]."""

    def function(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = np.zeros(len(masks))
        for members, value in moebius.items():
            total += value * masks[:, list(members)].all(axis=1)
        return total

    planted = tuple(sorted(members for members in moebius if len(members) > 1))
    return Game(
        name, n_players, function, Spectrum.from_moebius(moebius, n_players, alpha), planted, noise_sd
    )


def sum_of_unanimity(
    n_players: int, n_terms: int, max_order: int, seed: int, alpha: float = 0.5, noise_sd: float = 0.0
) -> Game:
    """n_terms unanimity games on random sets of 1..max_order players with standard normal weights."""
    generator = np.random.default_rng(seed)
    moebius: dict[Members, float] = {(): float(generator.normal())}
    for _ in range(n_terms):
        members = _random_set(generator, n_players, int(generator.integers(1, max_order + 1)))
        moebius[members] = moebius.get(members, 0.0) + float(generator.normal())
    return from_moebius(moebius, n_players, alpha, noise_sd, "sum_of_unanimity")


def random_trees(
    n_players: int, n_trees: int, depth: int, seed: int, alpha: float = 0.5, noise_sd: float = 0.0
) -> Game:
    """A sum of complete random trees; players may come back on their own path, as boosters let them."""
    forest = random_forest(n_players, n_trees, depth, seed)
    spectrum = tree_to_spectrum(forest, n_players, alpha)
    planted = tuple(sorted(members for members in spectrum.terms if len(members) > 1))
    return Game(
        "random_trees",
        n_players,
        lambda masks: forest.evaluate(masks, n_players),
        spectrum,
        planted,
        noise_sd,
    )


def random_forest(n_players: int, n_trees: int, depth: int, seed: int) -> Forest:
    """Random trees in flat arrays; an inner node below the root is a leaf with probability 0.2."""
    generator = np.random.default_rng(seed)
    player, absent, present, value, roots = [], [], [], [], []

    def grow(level: int) -> int:
        node = len(player)
        leaf = level == depth or (level > 0 and generator.random() < 0.2)
        player.append(-1 if leaf else int(generator.integers(n_players)))
        value.append(float(generator.normal()))
        absent.append(-1)
        present.append(-1)
        if not leaf:
            absent[node] = grow(level + 1)
            present[node] = grow(level + 1)
        return node

    for _ in range(n_trees):
        roots.append(grow(0))
    return Forest(*(np.array(part) for part in (player, absent, present, value, roots)), bias=0.25)


def from_spectrum(spectrum: Spectrum, noise_sd: float = 0.0, name: str = "fourier") -> Game:
    """A game planted in the Fourier basis at its own alpha, evaluated term by term."""
    alpha, sigma = spectrum.alpha, spectrum.sigma

    def function(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = np.zeros(len(masks))
        for members, value in spectrum.terms.items():
            total += value * ((masks[:, list(members)] - alpha) / sigma).prod(axis=1)
        return total

    planted = tuple(sorted(members for members in spectrum.terms if len(members) > 1))
    return Game(name, spectrum.n_players, function, spectrum, planted, noise_sd)


def synthetic_peak(
    n_players: int, seed: int, alpha: float = 0.5, noise_sd: float = 0.0, n_sets: int = 10, order: int = 5
) -> Game:
    """Synthetic Peak of the ProxySPEX paper (arXiv 2505.17495): Fourier terms on 10 random sets of five,
    nothing below them. No subset of a planted set carries signal, so a greedy tree has no first step to take:
    the known blind spot. Coefficients are uniform on +-[0.5, 1], ours, so that every planted set matters."""
    generator = np.random.default_rng(seed)
    sets = _distinct_sets(generator, n_players, n_sets, order)
    terms = {members: _signed(generator) for members in sets}
    return from_spectrum(Spectrum.from_terms(terms, n_players, alpha), noise_sd, "synthetic_peak")


def complete_hierarchy(
    n_players: int, seed: int, alpha: float = 0.5, noise_sd: float = 0.0, n_sets: int = 10, order: int = 5
) -> Game:
    """Complete Hierarchy of the ProxySPEX paper: the sets of Synthetic Peak with every subset of each of
    them.

    Coefficients as there; the sets are the same for the same seed."""
    generator = np.random.default_rng(seed)
    terms: dict[Members, float] = {}
    sets = _distinct_sets(generator, n_players, n_sets, order)
    for members in sets:
        terms[members] = _signed(generator)
    for members in sets:
        for size in range(1, order):
            for subset in combinations(members, size):
                if subset not in terms:
                    terms[subset] = _signed(generator)
    return from_spectrum(Spectrum.from_terms(terms, n_players, alpha), noise_sd, "complete_hierarchy")


def gate_game(
    truth: Callable[[NDArray[np.bool_]], NDArray[np.bool_]],
    members: Members,
    n_players: int,
    alpha: float,
    effect: float,
    noise_sd: float,
    name: str,
) -> Game:
    """effect * truth(the members' bits), with the Möbius form counted out over the members' 2^k cells."""
    cells = list(product((False, True), repeat=len(members)))
    values = {cell: float(truth(np.array([cell]))[0]) for cell in cells}
    moebius: dict[Members, float] = {}
    for cell in cells:
        inside = [position for position, bit in enumerate(cell) if bit]
        total = 0.0
        for size in range(len(inside) + 1):
            for chosen in combinations(inside, size):
                total += (-1) ** (len(inside) - size) * values[
                    tuple(p in chosen for p in range(len(members)))
                ]
        if total != 0.0:
            moebius[tuple(members[position] for position in inside)] = effect * total

    def function(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        return effect * truth(masks[:, list(members)]).astype(np.float64)

    planted = (members,) if len(members) > 1 else ()
    return Game(
        name, n_players, function, Spectrum.from_moebius(moebius, n_players, alpha), planted, noise_sd
    )


def copies(
    k: int, n_players: int | None = None, alpha: float = 0.5, effect: float = 1.0, noise_sd: float = 0.0
) -> Game:
    """k copies of one example: any one of players 0..k-1 has the whole effect (OR). Redundant: J = 1 - k."""
    return gate_game(
        lambda bits: bits.any(axis=1), tuple(range(k)), n_players or k, alpha, effect, noise_sd, f"or{k}"
    )


def conjunction(
    k: int, n_players: int | None = None, alpha: float = 0.5, effect: float = 1.0, noise_sd: float = 0.0
) -> Game:
    """All of players 0..k-1 are needed (AND). Synergistic: J = I = 1."""
    return gate_game(
        lambda bits: bits.all(axis=1), tuple(range(k)), n_players or k, alpha, effect, noise_sd, f"and{k}"
    )


def majority(
    k: int = 3, n_players: int | None = None, alpha: float = 0.5, effect: float = 1.0, noise_sd: float = 0.0
) -> Game:
    """More than half of players 0..k-1 are needed (MAJ)."""
    return gate_game(
        lambda bits: bits.sum(axis=1) * 2 > k,
        tuple(range(k)),
        n_players or k,
        alpha,
        effect,
        noise_sd,
        f"maj{k}",
    )


def duplicates(
    n_players: int,
    pairs: Sequence[tuple[int, int]],
    seed: int,
    alpha: float = 0.5,
    noise_sd: float = 0.0,
    effect: float = 1.0,
    background: float = 0.3,
) -> Game:
    """f = sum over pairs of effect * max(x_i, x_j), plus normal main effects of sd `background` elsewhere."""
    taken = {player for pair in pairs for player in pair}
    if len(taken) != 2 * len(pairs):
        raise ValueError(f"the pairs of duplicates must not share players; got {list(pairs)}.")
    clusters = [(min(pair), max(pair)) for pair in pairs]
    return clusters_of_copies(n_players, clusters, seed, alpha, noise_sd, effect, background, "duplicates")


def clusters_of_copies(
    n_players: int,
    clusters: Sequence[Members],
    seed: int,
    alpha: float = 0.5,
    noise_sd: float = 0.0,
    effect: float = 1.0,
    background: float = 0.3,
    name: str = "clusters_of_copies",
) -> Game:
    """Each cluster adds `effect` once if any of its members is present; all other players have main effects.

    For a cluster of k at alpha, one member has the main effect I = effect (1 - alpha)^{k-1} and a pair inside
    it I = -effect (1 - alpha)^{k-2}: at alpha = 1/2 METHOD.md's 2^{1-k} and -2^{2-k}. Large clusters hide.
    """
    weights = np.random.default_rng(seed).normal(0.0, background, size=n_players)
    for members in clusters:
        weights[list(members)] = 0.0
    moebius: dict[Members, float] = {(player,): float(weights[player]) for player in np.flatnonzero(weights)}
    for members in clusters:
        for size in range(1, len(members) + 1):
            for subset in combinations(members, size):
                moebius[subset] = effect * (-1.0) ** (size - 1)

    def function(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = masks @ weights
        for members in clusters:
            total = total + effect * masks[:, list(members)].any(axis=1)
        return total

    moebius = {tuple(int(p) for p in members): value for members, value in moebius.items()}
    spectrum = Spectrum.from_moebius(moebius, n_players, alpha)
    return Game(name, n_players, function, spectrum, tuple(clusters), noise_sd)


def planted_interactions(
    n_players: int,
    seed: int,
    alpha: float = 0.5,
    noise_ceiling: float = 0.6,
    n_pairs: int = 15,
    n_triples: int = 5,
    interaction_share: float = 0.2,
    redundant_share: float = 0.5,
) -> Game:
    """Main effects dominate; pairs and triples of distinct players are planted in the Fourier basis.

    Every player has a standard normal main effect before scaling; interactions together make up
    `interaction_share` of Var[f] = 1, each the same share. A `redundant_share` of the pairs has the sign
    opposite to its members' (made alike), as near-duplicates do; the rest have random signs. Planted players
    have main effects of at least 0.5 before scaling. interaction_share = 0 plants nothing: the null.
    Noise leaves a perfect predictor the R^2 `noise_ceiling`.
    """
    if 2 * n_pairs + 3 * n_triples > n_players:
        raise ValueError(f"{n_pairs} pairs and {n_triples} triples need more than {n_players} players.")
    generator = np.random.default_rng(seed)
    effects = generator.normal(size=n_players)
    order = generator.permutation(n_players)
    pairs = [tuple(sorted(int(p) for p in order[2 * k : 2 * k + 2])) for k in range(n_pairs)]
    rest = order[2 * n_pairs :]
    triples = [tuple(sorted(int(p) for p in rest[3 * k : 3 * k + 3])) for k in range(n_triples)]
    sets = [*pairs, *triples] if interaction_share > 0 else []
    for members in sets:
        for player in members:
            effects[player] = math.copysign(max(0.5, abs(effects[player])), effects[player])
    values: dict[Members, float] = {}
    for rank, members in enumerate(sets):
        sign = float(generator.choice((-1.0, 1.0)))
        if rank < redundant_share * n_pairs:
            effects[list(members)] = np.abs(effects[list(members)]) * -sign
        values[members] = sign * math.sqrt(interaction_share / len(sets))
    effects *= math.sqrt((1.0 - (interaction_share if sets else 0.0)) / float(effects @ effects))
    terms = {(player,): float(effects[player]) for player in range(n_players)} | values
    spectrum = Spectrum.from_terms(terms, n_players, alpha)
    sigma = spectrum.sigma

    def function(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        total = masks @ (effects / sigma) - alpha / sigma * effects.sum()
        for members, value in values.items():
            total = total + value * ((masks[:, list(members)] - alpha) / sigma).prod(axis=1)
        return total

    game = Game("planted_interactions", n_players, function, spectrum, tuple(sets))
    return game.with_noise_ceiling(noise_ceiling)


def _random_set(generator: np.random.Generator, n_players: int, order: int) -> Members:
    return tuple(sorted(int(player) for player in generator.choice(n_players, size=order, replace=False)))


def _distinct_sets(generator: np.random.Generator, n_players: int, count: int, order: int) -> list[Members]:
    if math.comb(n_players, order) < count:
        raise ValueError(f"{n_players} players have fewer than {count} sets of {order}.")
    sets: dict[Members, None] = {}
    while len(sets) < count:
        sets[_random_set(generator, n_players, order)] = None
    return list(sets)


def _signed(generator: np.random.Generator) -> float:
    return float(generator.choice((-1.0, 1.0)) * generator.uniform(0.5, 1.0))
