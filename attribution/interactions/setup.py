"""Settings of a block's fit, and what all its steps share: basis, folds, row groups, weights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.basis import Alpha, basis
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import CheckedData, check_at_least
from attribution.masks.mixed_alphas import AlphaMixture
from attribution.masks.player_subset import dense_players
from attribution.masks.row_groups import RowGroups, make_row_groups
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import Backend
from attribution.types import Array

__all__ = ["MAX_ORDER", "N_FOLDS", "BlockSettings", "BlockSetup"]

# Members of the largest set considered. A set of k members takes 2^k models for each base mask to certify, and an
# experiment stops at 64 (experiments/factorial.py): a larger set could be reported, but never put to the test.
MAX_ORDER = 6

_SMALLEST, _LARGEST = 1e-13, 1e15  # spread of outputs whose squares and their sums float32 can hold
_ROUNDING = 1e-13  # of an output's size


@dataclass(frozen=True)
class BlockSettings:
    """Settings of a fit.

    alpha: of the masks; where they have several, the one that results are told at (masks/mixed_alphas.py).
    max_dense_players: the joint fits hold all players up to this many (masks/player_subset.py).
    levels: largest probability of being nil at which a set may enter the spectrum; one of them, or none at all, is
    chosen per target by cross-fitting. max_pair_players, max_triple_players: pairs and triples are screened
    exhaustively up to this many players, beyond it among those of largest main effect. max_sieve_players: up to so
    many players, all triples beyond those are looked at by a sieve (sieve.py; alpha = 1/2 only, 0: none), on
    n_sieve_masks masks at first; beyond 500 players on targets with two pairs as large as a triple would have to be.
    n_proxy_sets: larger sets taken from each half's proxy, per target (0: no proxy).
    """

    alpha: float
    max_order: int = 3
    seed: int = 0
    backend: Backend = "booster"
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    max_dense_players: int = 4000
    max_pair_players: int = 2000
    max_triple_players: int = 110
    max_sieve_players: int = 1000
    n_sieve_masks: int = 256
    n_proxy_sets: int = 40
    booster: BoosterSettings = field(default_factory=BoosterSettings)

    def __post_init__(self) -> None:
        check_at_least("seed", self.seed, 0)
        for name in ("max_pair_players", "max_triple_players", "max_sieve_players", "n_proxy_sets"):
            check_at_least(name, getattr(self, name), 0)
        for name in ("max_order", "max_dense_players", "n_sieve_masks"):
            check_at_least(name, getattr(self, name), 1)
        if self.max_order > MAX_ORDER:
            raise AttributionError(f"max_order must be at most {MAX_ORDER}; got {self.max_order}.")


class BlockSetup:
    """phi (m, n) float32; folds (m,), fold_of_row_group (u,); half_of_fold (k,) bool; weight (m,), fold_weight (k,).
    row_alpha: of the masks; mixture: what several of them mean for outputs and units.

    players (n,): the players of the joint fits. Everything here is numbered by them; `all_masks` holds every player,
    and allowed (k + 1, n) says which of them each fit may use (None: all)."""

    def __init__(self, data: CheckedData, settings: BlockSettings) -> None:
        data = replace(data, outputs=_that_vary(data.outputs))
        self.settings = settings
        self.alpha = settings.alpha
        self.row_alpha: Alpha = settings.alpha if data.alphas is None else data.alphas
        self.mixture = AlphaMixture.of(data, settings.alpha)
        data = replace(data, outputs=self.mixture.centred(data.outputs, data.alphas))
        self.folds = assign_folds(data.groups, N_FOLDS, settings.seed)
        self.all_masks = data.masks
        self.players, self.allowed = dense_players(
            data.masks, data.outputs, self.folds, data.weight, self.row_alpha, settings.max_dense_players
        )
        self.n_all_players = data.masks.shape[1]
        if len(self.players) < self.n_all_players:
            # Row groups were found on all players; only columns are left out.
            data = replace(data, masks=np.ascontiguousarray(data.masks[:, self.players]))
        self.data = data
        self.phi: NDArray[np.float32] = basis(data.masks, self.row_alpha)
        self.n_masks, self.n_players = data.masks.shape
        self.n_targets = data.outputs.shape[1]
        self.weight: Array = np.ones(self.n_masks) if data.weight is None else data.weight
        self.fold_weight = np.bincount(self.folds, self.weight, minlength=N_FOLDS)
        self.half_of_fold = np.arange(N_FOLDS) % 2 == 1
        self.every = np.arange(N_FOLDS)
        self.row_groups: RowGroups = make_row_groups(
            data.masks, data.groups, data.weight, self.row_alpha, identity=self.all_masks
        )
        self.halves = data.alphas is None and settings.alpha == 0.5  # phi is +-1
        fold_of_group = np.zeros(int(data.groups.max()) + 1, dtype=np.int64)
        fold_of_group[data.groups] = self.folds
        self.fold_of_row_group = fold_of_group[self.row_groups.group]


def _that_vary(outputs: Array) -> Array:
    """Outputs with those that vary in their last digits only made constant: rounding is no function of the mask.

    Raises AttributionError for outputs whose squares single precision would lose: nothing would be found in them."""
    spread = outputs.std(axis=0)
    constant = spread <= _ROUNDING * np.abs(outputs).max(axis=0)
    lost = np.flatnonzero(~constant & ~((spread >= _SMALLEST) & (spread <= _LARGEST)))
    if len(lost):
        raise AttributionError(
            f"outputs of target {lost[0]} vary by {spread[lost[0]]:.3g} (standard deviation); it must lie between "
            f"{_SMALLEST:g} and {_LARGEST:g}. Multiply outputs by a number that brings them there."
        )
    return np.where(constant, outputs[0], outputs) if constant.any() else outputs
