"""The published ProxySPEX on given masks: tuned trees, their spectrum, 95% of its energy, a ridge refit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import check_integer, check_number, check_seed
from attribution.errors import AttributionError
from attribution.estimators.base import keep_players, masks_to_predict, one_alpha
from attribution.fourier.basis import basis
from attribution.fourier.member_sets import Members, Terms
from attribution.fourier.spectrum import Spectrum
from attribution.masks.folds import assign_folds
from attribution.masks.inputs import CheckedData, as_given, check_data
from attribution.proxy.boosted_trees import BoostedTrees, BoosterSettings
from attribution.proxy.booster import fit_booster
from attribution.proxy.forest import Forest, forest_from_levels
from attribution.screening.screen import set_columns
from attribution.types import Array

# The published grid of ridge penalties: 100 values from 1e-6 to 1e6, chosen by leaving single rows out.
RIDGE_PENALTIES = np.logspace(-6, 6, 100)


class PublishedProxySPEX(RegressorMixin, BaseEstimator):
    """ProxySPEX as its authors published it, as a peer of `ProxySPEX` on the same masks.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    max_depth : sequence of int
        Depths of the trees that cross-validation chooses from, each 1 to 8.
    n_estimators : sequence of int
        Numbers of trees that it chooses from.
    learning_rate : sequence of float
        Shrinkages that it chooses from, each in (0, 1].
    energy : float
        Share of the spectrum's energy (sum of squared coefficients without the empty set's) that is kept, in (0, 1].
    n_folds : int
        Folds of the cross-validation.
    seed : int
        Seed of the assignment of masks to folds.

    Attributes
    ----------
    spectra_ : list of Spectrum
        One for each target; `predict` evaluates it.
    chosen_ : list of (int, int, float)
        Depth, number of trees and learning rate of each target.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    Butler et al. 2025 (arXiv 2505.17495), with the defaults of the authors' implementation in shapiq:

    1. Gradient-boosted trees of mask -> output; depth, number and shrinkage by 5-fold cross-validation of R2.
    2. The exact Fourier transform of the trees.
    3. The largest coefficients that hold 95% of the energy.
    4. A ridge refit of these terms, without an intercept of its own, its penalty by leave-one-out.

    **Departures.** Masks are given, where the authors draw their own. Trees are grown level by level by the booster of
    this package (the authors use LightGBM, leaf by leaf, at most 31 leaves of 32). Folds never divide a group of masks.
    At alpha other than 1/2 the basis is the p-biased one; at 1/2 it is theirs up to signs, which a ridge fit ignores.

    **When to use it.** To compare with the paper.

    **When not to use it.** As evidence for a set: it has neither errors nor q-values, and the energy rule drops
    interactions wherever main effects dominate. `ProxySPEX` has both.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution.estimators import PublishedProxySPEX
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((300, 6)) < 0.5
    >>> outputs = masks[:, 0] * masks[:, 1] + 0.1 * rng.normal(size=300)
    >>> model = PublishedProxySPEX(max_depth=[2], n_estimators=[100], learning_rate=[0.1]).fit(masks, outputs)
    >>> bool(abs(model.spectra_[0].banzhaf((0, 1)) - 1.0) < 0.2)
    True
    """

    def __init__(
        self,
        alpha: float = 0.5,
        max_depth: Sequence[int] = (3, 5),
        n_estimators: Sequence[int] = (500, 1000),
        learning_rate: Sequence[float] = (0.01, 0.1),
        energy: float = 0.95,
        n_folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.alpha = alpha
        self.max_depth = max_depth
        self.n_estimators = n_estimators
        self.learning_rate = learning_rate
        self.energy = energy
        self.n_folds = n_folds
        self.seed = seed

    def fit(self, masks: Any, outputs: Any, groups: Any = None) -> PublishedProxySPEX:
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Labels of rows that must share a fold. Equal masks always share one.

        Returns
        -------
        PublishedProxySPEX
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs or settings.
        """
        data = check_data(masks, outputs, one_alpha(self.alpha), groups=groups)
        check_number("energy", self.energy, 0.0, 1.0, includes="]")
        n_folds = check_integer("n_folds", self.n_folds, 2)
        seed = check_seed(self.seed)
        counts = sorted(check_integer("n_estimators", count, 1) for count in _values("n_estimators", self.n_estimators))
        depths = [check_integer("max_depth", depth, 1) for depth in _values("max_depth", self.max_depth)]
        rates = [
            check_number("learning_rate", rate, 0.0, 1.0, includes="]")
            for rate in _values("learning_rate", self.learning_rate)
        ]
        grid = list(product(depths, rates))
        n_targets = data.outputs.shape[1]
        scores = np.zeros((len(grid), len(counts), n_targets))
        folds = assign_folds(data.groups, n_folds, seed)
        for place, (depth, rate) in enumerate(grid):
            for fold in range(n_folds):
                held = folds == fold
                trees = self._trees(data, ~held, depth, rate, counts[-1])
                for at, count in enumerate(counts):
                    # A booster of fewer trees is the beginning of one of more.
                    predicted = _first_trees(trees, count).predict(data.masks[held])
                    scores[place, at] += _r2(data.outputs[held], predicted) / n_folds
        best = scores.reshape(-1, n_targets).argmax(axis=0)
        self.chosen_ = [(grid[k // len(counts)][0], counts[k % len(counts)], grid[k // len(counts)][1]) for k in best]
        self.spectra_: list[Spectrum] = [Spectrum({}, data.masks.shape[1], float(self.alpha))] * n_targets
        everything = np.ones(len(data.masks), dtype=bool)
        for choice in set(self.chosen_):
            targets = [target for target, own in enumerate(self.chosen_) if own == choice]
            part = replace(data, outputs=np.ascontiguousarray(data.outputs[:, targets]))
            trees = self._trees(part, everything, choice[0], choice[2], choice[1])
            for at, target in enumerate(targets):
                self.spectra_[target] = self._refit(data, target, _forest(trees, at))
        keep_players(self, data)
        return self

    def predict(self, masks: Any) -> NDArray[np.float64]:
        """Evaluate the spectra on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)

        Returns
        -------
        ndarray of shape (n_masks,) or (n_masks, n_targets)
            One dimension if `fit` was given a vector.

        Raises
        ------
        AttributionError
            For a number of players other than in `fit`.
        """
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "spectra_")
        rows = masks_to_predict(self, masks)
        return as_given(np.column_stack([spectrum.evaluate(rows) for spectrum in self.spectra_]), self.single_)

    def _trees(self, data: CheckedData, rows: NDArray[np.bool_], depth: int, rate: float, count: int) -> BoostedTrees:
        settings = BoosterSettings(
            max_depth=depth, learning_rate=rate, n_estimators=count, early_stopping_rounds=0
        )
        return fit_booster(data.masks[rows], data.outputs[rows], settings)

    def _refit(self, data: CheckedData, target: int, forest: Forest) -> Spectrum:
        """Keep the terms that hold the energy, and fit them by ridge."""
        from sklearn.linear_model import RidgeCV

        n_players = data.masks.shape[1]
        terms = forest.to_spectrum(n_players, float(self.alpha)).terms
        kept = _of_energy(terms, float(self.energy))
        width = max((len(members) for members in kept), default=0)
        padded = np.array([members + (-1,) * (width - len(members)) for members in kept], dtype=np.int64)
        columns = np.ones((len(data.masks), 1))
        if width:
            phi = basis(data.masks, self.alpha)
            columns = np.concatenate([columns, set_columns(phi, padded.reshape(len(kept), width))], axis=1)
        ridge = RidgeCV(alphas=RIDGE_PENALTIES, fit_intercept=False).fit(columns, data.outputs[:, target])
        fitted: Terms = dict(zip([(), *kept], ridge.coef_.tolist(), strict=True))
        return Spectrum(fitted, n_players, float(self.alpha))


def _values(name: str, values: Any) -> list[Any]:
    """The values of a grid's setting."""
    if not isinstance(values, (list, tuple, np.ndarray)) or not len(values):
        raise AttributionError(f"{name} must be a list of one value or more; got {values!r}.")
    return list(values)


def _of_energy(terms: Any, energy: float) -> list[Members]:
    """The largest terms whose squares sum to at least this share of all squares, the empty set's left out."""
    ordered = sorted((members for members in terms if members), key=lambda own: (-abs(terms[own]), own))
    squares = np.cumsum([terms[members] ** 2 for members in ordered])
    if not ordered or squares[-1] == 0.0:
        return []
    return ordered[: int(np.searchsorted(squares, energy * squares[-1])) + 1]


def _first_trees(trees: BoostedTrees, count: int) -> BoostedTrees:
    return replace(trees, n_trees=np.minimum(trees.n_trees, count))


def _forest(trees: BoostedTrees, target: int) -> Forest:
    """The forest of one target."""
    rounds = slice(0, int(trees.n_trees[target]))
    return forest_from_levels(
        trees.players[rounds, target].astype(np.int64), trees.leaves[rounds, target].astype(np.float64),
        bias=float(trees.bias[target]),
    )  # fmt: skip


def _r2(outputs: Array, predicted: Array) -> Array:
    """R2 of each target; 0 where the outputs do not vary."""
    spread = ((outputs - outputs.mean(axis=0)) ** 2).sum(axis=0)
    error = ((outputs - predicted) ** 2).sum(axis=0)
    return np.asarray(np.where(spread > 0, 1.0 - error / np.where(spread > 0, spread, 1.0), 0.0))
