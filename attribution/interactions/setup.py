"""Settings of a block's fit, and the basis, folds, row groups and weights that all its steps share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_integer, check_seed
from attribution.errors import AttributionError
from attribution.fourier.basis import Alpha, basis
from attribution.linear.link import LinkPrior
from attribution.masks.folds import N_FOLDS, assign_folds
from attribution.masks.inputs import CheckedData
from attribution.masks.inseparable import MAX_PLAYERS, error_inflation
from attribution.masks.mixed_alphas import AlphaMixture
from attribution.masks.player_subset import dense_players
from attribution.masks.rare_cells import largest_testable_order, warn_of_rare_cells
from attribution.masks.row_groups import RowGroups, make_row_groups
from attribution.masks.weights import weighted_df
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import Backend
from attribution.spex.design import SpexDesign
from attribution.spex.rows import half_folds
from attribution.types import Array

__all__ = ["MAX_ORDER", "N_FOLDS", "BlockSettings", "BlockSetup"]

# Members of the largest set considered. A set of k members takes 2^k models for each base mask to certify, and an
# experiment stops at 64 (experiments/factorial.py): a larger set could be reported, but never put to the test.
MAX_ORDER = 6

_SMALLEST, _LARGEST = 1e-13, 1e15  # standard deviations of outputs whose squares and their sums float32 can hold
_ROUNDING = 1e-13  # standard deviation of rounding errors, relative to an output's size


@dataclass(frozen=True)
class BlockSettings:
    """Settings of a block's fit.

    Attributes
    ----------
    alpha : float
        Inclusion probability of the masks; where they have several, the one at which results are reported
        (masks/mixed_alphas.py).
    max_order : int
        Members of the largest set considered, 1 to MAX_ORDER.
    seed : int
        Seed of the assignment of masks to folds.
    backend : {"booster", "lightgbm"}
        Library that fits the proxies.
    max_p_null_grid : tuple of float
        Strictness of the selection: largest probability of being null at which a set may enter the spectrum. One of
        them, or no set at all, is chosen for each target by cross-fitting.
    max_dense_players : int
        Up to this many players all take part in the joint fits; of more, the strongest (masks/player_subset.py).
    max_pair_players, max_triple_players : int
        Pairs and triples are screened among this many players: all, or those of largest main effect.
    max_sieve_players : int
        Up to this many players, a sieve tests the triples that the screen leaves out (screening/sieve.py; alpha = 1/2
        only). 0: no sieve.
    n_sieve_masks : int
        Masks on which the sieve computes every triple. Beyond 500 players twice as many, by sign alone.
    n_proxy_sets : int
        Sets of each order taken from the proxy of each half, for every target. 0: no proxy.
    max_proxy_order : int or None
        Members of the largest set that a proxy may propose; its trees have to be as deep. None: `max_order` + 1 if
        that is 4 or more, else `max_order`.
    proposer : BoosterSettings
        Settings of the proxies that propose sets. Some large steps suffice for that: with four times as many of half
        the size, no more of the planted sets were among the proposals (benchmarks/attribution.md).
    booster : BoosterSettings
        Settings of the proxy that is scored beside the spectrum; its device also runs the screens and the refits.
    link_prior : LinkPrior or None
        What curvatures are shrunken to, from targets of the whole campaign (analysis/link_prior.py); None: from the
        block's own.
    spex : SpexDesign or None
        The design that the masks are, if they are one. Candidates are then decoded (spex_candidates.py), because
        screens assume that players are included independently.
    """

    alpha: float
    max_order: int = 3
    seed: int = 0
    backend: Backend = "booster"
    max_p_null_grid: tuple[float, ...] = (0.1, 0.5, 0.9)
    max_dense_players: int = 4000
    max_pair_players: int = 2000
    max_triple_players: int = 110
    max_sieve_players: int = 1000
    n_sieve_masks: int = 256
    n_proxy_sets: int = 40
    max_proxy_order: int | None = None
    proposer: BoosterSettings = field(default_factory=lambda: proposer_settings(4))
    booster: BoosterSettings = field(default_factory=BoosterSettings)
    link_prior: LinkPrior | None = None
    spex: SpexDesign | None = None

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name in ("max_pair_players", "max_triple_players", "max_sieve_players", "n_proxy_sets"):
            check_integer(name, getattr(self, name), 0)
        for name in ("max_order", "n_sieve_masks"):
            check_integer(name, getattr(self, name), 1)
        if self.max_order > MAX_ORDER:
            raise AttributionError(f"max_order must be at most {MAX_ORDER}; got {self.max_order}.")
        if self.max_proxy_order is not None and check_integer("max_proxy_order", self.max_proxy_order, 0) > MAX_ORDER:
            raise AttributionError(f"max_proxy_order must be at most {MAX_ORDER}; got {self.max_proxy_order}.")

    @property
    def proxy_order(self) -> int:
        """Members of the largest set that a proxy may propose."""
        return default_proxy_order(self.max_order) if self.max_proxy_order is None else self.max_proxy_order


def proposer_settings(depth: int, device: str = "cpu") -> BoosterSettings:
    """Return the default settings of the proxies that propose sets.

    Parameters
    ----------
    depth : int
        Depth of the trees: members of the largest set proposed.
    device : str
        "cpu", or a torch device.

    Returns
    -------
    BoosterSettings
    """
    return BoosterSettings(max_depth=max(3, depth), learning_rate=0.1, n_estimators=100, device=device)


def default_proxy_order(max_order: int) -> int:
    """Return the members of the largest set that a proxy proposes by default.

    Parameters
    ----------
    max_order : int
        Members of the largest set that screens consider.

    Returns
    -------
    int
        One more from order 3 on, so that a default fit reaches beyond its screens; at most MAX_ORDER. A fit that is
        asked for pairs alone reports pairs alone.
    """
    return min(max_order + 1, MAX_ORDER) if max_order >= 3 else max_order


class BlockSetup:
    """Data of a block's fit, in the form that all its steps share.

    Players are numbered by their position in `players`, in every array but `all_masks`.

    Parameters
    ----------
    data : CheckedData
    settings : BlockSettings

    Attributes
    ----------
    n_untestable : int
        Sets of the wanted orders that the masks cannot test (masks/rare_cells.py); they are not considered.
    players : (n,) int64
        Players of the joint fits.
    allowed : (N_FOLDS + 1, n) bool or None
        Players that the fit without each fold, and (last row) the fit on all masks, may use. None: all.
    all_masks : (m, n_all_players) bool
    phi : (m, n) float32
        Basis function of every player.
    folds : (m,) int64
    all_folds : (N_FOLDS,) int64
        Numbers of the folds.
    half_of_fold : (N_FOLDS,) bool
        Half of the masks to which each fold belongs.
    row_groups : RowGroups
    fold_of_row_group : (u,) int64
    weight : (m,) float64
    fold_weight : (N_FOLDS,) float64
        Sum of the weights of each fold.
    weighted_df : float or None
        Degrees of freedom of a mean over all rows where weights are given; None without weights.
    row_alpha : float or (m,) float64
        Inclusion probability of the masks.
    inflation : (n,) float64
        Factor of each player's errors: above 1 where few masks separate it from another one (masks/inseparable.py).
    alpha_is_half : bool
        True if every mask has alpha = 1/2, so that phi is +1 or -1.
    mixture : AlphaMixture
        Offsets and units of outputs where masks have several alphas.

    Raises
    ------
    AttributionError
        For outputs whose spread float32 cannot represent.
    """

    def __init__(self, data: CheckedData, settings: BlockSettings) -> None:
        data = replace(data, outputs=_without_rounding_errors(data.outputs))
        self.n_untestable = 0
        if settings.spex is None:
            first = np.unique(data.groups, return_index=True)[1]  # replicates add no masks
            alphas = None if data.alphas is None else data.alphas[first]
            tested = largest_testable_order(data.masks[first], settings.max_order, alphas)
            self.n_untestable = warn_of_rare_cells(data.masks[first], tested, settings.max_order, alphas)
            # What only a proxy proposes is tested on the half of the masks that did not propose it.
            half = None if alphas is None else alphas[::2]
            by_proxy = largest_testable_order(data.masks[first[::2]], settings.proxy_order, half)
            if self.n_untestable or by_proxy < settings.proxy_order:
                settings = replace(settings, max_order=tested, max_proxy_order=min(settings.proxy_order, by_proxy))
        self.settings = settings
        self.alpha = settings.alpha
        self.row_alpha: Alpha = settings.alpha if data.alphas is None else data.alphas
        self.mixture = AlphaMixture.of(data, settings.alpha)
        data = replace(data, outputs=self.mixture.centred(data.outputs, data.alphas))
        if settings.spex is None:
            self.folds = assign_folds(data.groups, N_FOLDS, settings.seed)
        else:
            self.folds = half_folds(settings.spex, data.masks, data.groups, N_FOLDS, settings.seed)
        self.all_masks = data.masks
        self.players, self.allowed = dense_players(
            data.masks, data.outputs, self.folds, data.weight, self.row_alpha, settings.max_dense_players
        )
        # A player in no mask or in every mask has no effect to find, and its products repeat those of smaller sets.
        varying = (data.masks[:, self.players] != data.masks[:1, self.players]).any(axis=0)
        if varying.any() and not varying.all():
            self.players = self.players[varying]
            self.allowed = None if self.allowed is None else self.allowed[:, varying]
        self.n_all_players = data.masks.shape[1]
        if len(self.players) < self.n_all_players:
            # Row groups were found on all players; only columns are left out.
            data = replace(data, masks=np.ascontiguousarray(data.masks[:, self.players]))
        self.data = data
        self.phi: NDArray[np.float32] = basis(data.masks, self.row_alpha)
        self.n_masks, self.n_players = data.masks.shape
        self.n_targets = data.outputs.shape[1]
        self.weight: Array = np.ones(self.n_masks) if data.weight is None else data.weight
        self.weighted_df = weighted_df(data.weight, data.groups)
        self.fold_weight = np.bincount(self.folds, self.weight, minlength=N_FOLDS)
        self.half_of_fold = np.arange(N_FOLDS) % 2 == 1
        self.all_folds = np.arange(N_FOLDS)
        self.row_groups: RowGroups = make_row_groups(
            data.masks, data.groups, data.weight, self.row_alpha, identity=self.all_masks
        )
        self.inflation = np.ones(self.n_players)
        if 2 <= self.n_players <= MAX_PLAYERS:
            moment = self.row_groups.phi.T @ self.row_groups.phi / np.float32(self.row_groups.size)
            self.inflation = error_inflation(moment.astype(np.float64), self.row_groups.phi.mean(axis=0))[0]
        self.alpha_is_half = data.alphas is None and settings.alpha == 0.5  # phi is +-1
        fold_of_group = np.zeros(int(data.groups.max()) + 1, dtype=np.int64)
        fold_of_group[data.groups] = self.folds
        self.fold_of_row_group = fold_of_group[self.row_groups.group]


def _without_rounding_errors(outputs: Array) -> Array:
    """Replace targets whose spread is at rounding level by constants: rounding is no function of the mask.

    Raises AttributionError for outputs whose squares are lost in single precision."""
    spread = outputs.std(axis=0)
    constant = spread <= _ROUNDING * np.abs(outputs).max(axis=0)
    lost = np.flatnonzero(~constant & ~((spread >= _SMALLEST) & (spread <= _LARGEST)))
    if len(lost):
        raise AttributionError(
            f"outputs of target {lost[0]} vary by {spread[lost[0]]:.3g} (standard deviation); it must lie between "
            f"{_SMALLEST:g} and {_LARGEST:g}. Multiply outputs by a number that brings them there."
        )
    return np.where(constant, outputs[0], outputs) if constant.any() else outputs
