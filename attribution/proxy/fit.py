"""The gradient-boosted proxy mask -> output, with two backends whose agreement the tests check.

"booster" fits all targets at once (booster.py; on another device booster_torch.py, by BoosterSettings.device).
"lightgbm" is the reference: one LightGBM model per target, on the CPU whatever the device. Both are read exactly, as
forests and so as spectra (forest.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.spectrum import Spectrum
from attribution.proxy.boosted_trees import BoostedTrees, BoosterSettings
from attribution.proxy.booster import fit_booster
from attribution.proxy.forest import Forest, forest_from_levels, leaf_paths, path_terms

Backend = Literal["booster", "lightgbm"]
BACKENDS: tuple[Backend, ...] = ("booster", "lightgbm")


@dataclass(frozen=True)
class Proxy:
    """A fitted proxy.

    Attributes
    ----------
    forests : list of Forest
        One per target.
    n_players : int
        Number of players.
    trees : BoostedTrees or None
        The same trees in the booster's arrays, which predict faster; None for LightGBM's.

    Examples
    --------
    >>> masks = np.random.default_rng(0).random((400, 5)) < 0.5
    >>> outputs = (1.0 + 2.0 * masks[:, 1] * masks[:, 3])[:, None]
    >>> proxy = fit_proxy(masks, outputs, BoosterSettings(n_estimators=50))
    >>> proxy.largest_sets(0, alpha=0.5, min_order=2, max_order=3, count=1)
    [(1, 3)]
    """

    forests: list[Forest]
    n_players: int
    trees: BoostedTrees | None = None

    def predict(self, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Predict every target: masks (m, n_players) bool -> (m, n_targets) float64."""
        if self.trees is not None:
            return self.trees.predict(masks)
        return np.column_stack([forest.evaluate(masks, self.n_players) for forest in self.forests])

    def spectrum(self, target: int, alpha: float) -> Spectrum:
        """Return the exact spectrum of a target's forest."""
        return self.forests[target].to_spectrum(self.n_players, alpha)

    def largest_sets(
        self, target: int, alpha: float, min_order: int, max_order: int, count: int
    ) -> list[tuple[int, ...]]:
        """List the member sets of largest |F(S)| in a target's spectrum.

        Parameters
        ----------
        target : int
            Index of the target.
        alpha : float
            Inclusion probability of the basis.
        min_order, max_order : int
            Smallest and largest number of members.
        count : int
            Largest number of sets.

        Returns
        -------
        list of tuple of int
            Member sets, largest first; ties in lexicographic order.
        """
        found = self._largest(target, alpha, range(min_order, max_order + 1), count)
        return [members for _, members in found[:count]]

    def largest_sets_of_orders(self, target: int, alpha: float, orders: range, count: int) -> list[tuple[int, ...]]:
        """List the member sets of largest |F(S)| among those of each order.

        Parameters
        ----------
        target : int
            Index of the target.
        alpha : float
            Inclusion probability of the basis.
        orders : range
            Numbers of members.
        count : int
            Largest number of sets of each order.

        Returns
        -------
        list of tuple of int
            Member sets, largest first; ties in lexicographic order.
        """
        taken = dict.fromkeys(orders, 0)
        result = []
        for _, members in self._largest(target, alpha, orders, count):
            taken[len(members)] += 1
            if taken[len(members)] <= count:
                result.append(members)
        return result

    def _largest(
        self, target: int, alpha: float, orders: range, count: int
    ) -> list[tuple[float, tuple[int, ...]]]:
        """(|F(S)|, S), largest first: at least the `count` largest of each order."""
        found: list[tuple[float, tuple[int, ...]]] = []
        paths = leaf_paths(self.forests[target])
        for order, (sets, values) in path_terms(*paths, self.n_players, alpha)[1].items():
            if order not in orders or count == 0:
                continue
            size = np.abs(values)
            if len(size) > count:  # only these are sorted
                among = size >= np.partition(size, -count)[-count]
                sets, size = sets[among], size[among]
            found += zip(size.tolist(), map(tuple, sets.tolist()), strict=True)
        found.sort(key=lambda entry: (-entry[0], entry[1]))
        return found


def fit_proxy(
    masks: NDArray[np.bool_],
    outputs: NDArray[np.float64],
    settings: BoosterSettings,
    *,
    backend: Backend = "booster",
    validation: NDArray[np.bool_] | None = None,
    sample_weight: NDArray[np.float64] | None = None,
) -> Proxy:
    """Fit a proxy to every target.

    Parameters
    ----------
    masks : (m, n) bool
        Masks of all players.
    outputs : (m, t) float64
        Outputs of all targets.
    settings : BoosterSettings
        How the trees are grown.
    backend : "booster" or "lightgbm"
        Program that grows them.
    validation : (m,) bool or None
        Rows that are not fitted on and stop the boosting early; None: all rounds are kept.
    sample_weight : (m,) float64 or None
        Positive weights.

    Returns
    -------
    Proxy
        The fitted forests.

    Raises
    ------
    AttributionError
        If the backend is unknown or the device does not exist.
    ImportError
        If backend is "lightgbm" and LightGBM is not installed.
    """
    if backend == "booster":
        trees = fit_booster(masks, outputs, settings, validation=validation, sample_weight=sample_weight)
        return Proxy(
            [
                forest_from_levels(
                    trees.players[: trees.n_trees[target], target].astype(np.int64),
                    trees.leaves[: trees.n_trees[target], target].astype(np.float64),
                    bias=float(trees.bias[target]),
                )
                if trees.n_trees[target]
                else _constant(float(trees.bias[target]))
                for target in range(outputs.shape[1])
            ],
            masks.shape[1],
            trees,
        )
    if backend == "lightgbm":
        return _fit_lightgbm(masks, outputs, settings, validation, sample_weight)
    raise AttributionError(f"backend must be one of {', '.join(BACKENDS)}; got {backend!r}.")


def _fit_lightgbm(
    masks: NDArray[np.bool_],
    outputs: NDArray[np.float64],
    settings: BoosterSettings,
    validation: NDArray[np.bool_] | None,
    sample_weight: NDArray[np.float64] | None,
) -> Proxy:
    """Fit one LightGBM model per target."""
    import lightgbm

    from attribution.proxy.lightgbm import forest_from_lightgbm

    held = np.zeros(len(masks), dtype=bool) if validation is None else validation
    stops = settings.early_stopping_rounds > 0 and bool(held.any())
    X = masks.astype(np.float32)
    parameters = {
        "objective": "l2",
        "max_depth": settings.max_depth,
        "num_leaves": 2**settings.max_depth,
        "learning_rate": settings.learning_rate,
        "min_data_in_leaf": settings.min_child_samples,
        "lambda_l2": settings.reg_lambda,
        "num_threads": 1,
        "verbose": -1,
        "deterministic": True,
        "force_col_wise": True,
    }
    forests = []
    for target in range(outputs.shape[1]):
        fit_y, held_y = outputs[~held, target], outputs[held, target]
        weight = sample_weight
        mean = float(np.average(fit_y, weights=None if weight is None else weight[~held]))
        if np.ptp(fit_y) == 0.0:
            forests.append(_constant(mean))
            continue
        data = lightgbm.Dataset(X[~held], fit_y - mean, weight=None if weight is None else weight[~held])
        callbacks: list[Any] = []
        sets: list[Any] = []
        if stops:
            sets = [
                lightgbm.Dataset(
                    X[held], held_y - mean, weight=None if weight is None else weight[held], reference=data
                )
            ]
            callbacks = [lightgbm.early_stopping(settings.early_stopping_rounds, verbose=False)]
        model = lightgbm.train(parameters, data, settings.n_estimators, valid_sets=sets, callbacks=callbacks)
        forest = forest_from_lightgbm(model)
        forests.append(
            Forest(
                forest.player, forest.absent, forest.present, forest.value, forest.roots, forest.bias + mean
            )
        )
    return Proxy(forests, masks.shape[1])


def _constant(bias: float) -> Forest:
    """Return a forest without trees."""
    empty = np.zeros(0, dtype=np.int64)
    return Forest(empty, empty, empty, np.zeros(0), empty, bias)
