"""ProxySPEX for masks and outputs that exist already (Butler et al. 2025, and METHOD.md's departures from it)."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.errors import AttributionError
from attribution.fourier.spectrum import Spectrum
from attribution.interactions.block import BlockFit, BlockSettings, fit_block
from attribution.interactions.interaction import Interaction, interactions_of
from attribution.masks.inputs import as_given, check_data, check_masks
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import BACKENDS
from attribution.statistics.false_discovery import LEVEL, Method, QValues, adjust, fit_q_values


class ProxySPEX(RegressorMixin, BaseEstimator):
    """Finds which players act together: a sparse p-biased Fourier spectrum with honest errors.

    alpha: the probability with which masks include a player. max_order: largest member set. backend: "booster"
    (all targets at once) or "lightgbm" (the reference). max_depth, learning_rate, n_rounds: of the proxy.
    max_pair_players, max_triple_players: up to this many players every pair, every triple is screened; beyond,
    those of largest main effect. max_sieve_players: up to so many players all triples are looked at by a sieve, at
    alpha 1/2; beyond 500 on targets that have two pairs as large as a triple would have to be.
    q_method: "BY" or "BH". device: "cpu" (NumPy) or a torch device such as "cuda" for the booster and the screens; it
    is never chosen for you, because rounding differs between devices (LightGBM itself stays on the CPU).

    After fit: spectra_ (one Spectrum per target), gate_p_, gate_q_ and gate_open_ (t,), effects_ and
    effect_stderrs_ (t, n) in Banzhaf units, n_considered_ the number of (set, target) in the family of q-values.
    This call is the family; a campaign of several blocks is adjusted as one by analysis.assign_q_values.

    When not to use it: with fewer than some 5 masks a player nothing but main effects will be seen.
    """

    def __init__(
        self,
        alpha: float = 0.5,
        max_order: int = 3,
        seed: int = 0,
        backend: str = "booster",
        *,
        max_depth: int | None = None,
        learning_rate: float = 0.05,
        n_rounds: int = 400,
        max_pair_players: int = 2000,
        max_triple_players: int = 110,
        max_sieve_players: int = 1000,
        q_method: str = "BH",
        device: str = "cpu",
    ) -> None:
        self.alpha = alpha
        self.max_order = max_order
        self.seed = seed
        self.backend = backend
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.n_rounds = n_rounds
        self.max_pair_players = max_pair_players
        self.max_triple_players = max_triple_players
        self.max_sieve_players = max_sieve_players
        self.q_method = q_method
        self.device = device

    def fit(
        self,
        masks: Any,
        outputs: Any,
        groups: Any = None,
        sample_weight: Any = None,
        higher_is_better: bool = True,
        player_labels: Any = None,
        target_labels: Any = None,
        alpha: Any = None,
    ) -> ProxySPEX:
        """Fit to masks (m, n) bool and outputs (m,) or (m, t) of models trained on them.

        groups: (m,) rows no split may divide (antithetic partners; replicates are recognised). sample_weight: (m,)
        positive. higher_is_better: False turns the signs when kinds are named. player_labels (n,), target_labels
        (t,): classes, for the class split. alpha: (m,) of every mask, where a campaign has several; results are then
        told at the estimator's own alpha (mixed_alphas.py says what they mean). Raises AttributionError for bad input
        or settings.
        """
        given = self.alpha if alpha is None else alpha
        data = check_data(masks, outputs, given, groups=groups, sample_weight=sample_weight)
        if alpha is not None and data.alphas is None and float(np.ravel(alpha)[0]) != float(self.alpha):
            raise AttributionError(
                f"every mask has alpha {float(np.ravel(alpha)[0])} and the estimator {self.alpha}. Give the estimator "
                "the masks' alpha, or leave alpha out."
            )
        fitted = fit_block(data, self._settings())
        n_players, n_targets = data.masks.shape[1], data.outputs.shape[1]
        sigma = fitted.spectra[0].sigma
        self.spectra_: list[Spectrum] = fitted.spectra
        self.n_features_in_ = n_players
        self.single_ = data.single
        self._fitted = fitted
        self.gate_p_ = fitted.gate_p
        self.gate_q_ = adjust(fitted.gate_p, "BH")
        self.gate_open_ = self.gate_q_ <= LEVEL
        self.effects_ = fitted.main / sigma
        self.effect_stderrs_ = fitted.main_stderr / sigma
        self.cross_fitted_ = fitted.predicted
        _, rule = fit_q_values([fitted.considered], cast(Method, self.q_method))
        self.n_considered_ = rule.n_tests
        self.fixed_size_ = data.fixed_size
        self._interactions = self._reported(
            fitted, rule, higher_is_better,
            _labels(player_labels, n_players, "player_labels"), _labels(target_labels, n_targets, "target_labels"),
        )  # fmt: skip
        return self

    def predict(self, masks: Any, alpha: Any = None) -> NDArray[np.float64]:
        """(m, n) bool -> (m,) or (m, t). alpha: (m,) of every mask, after a fit to several."""
        self._check_fitted()
        rows = check_masks(masks, self.n_features_in_)
        alphas = None if alpha is None else np.broadcast_to(np.asarray(alpha, dtype=np.float64), (len(rows),))
        predicted = self._fitted.predict(rows, alphas)
        return as_given(predicted, self.single_)

    def interactions(self, target: int = 0, *, max_q: float = 1.0) -> list[Interaction]:
        """The sets that were selected for a target with q_value <= max_q, strongest evidence first.

        Raises AttributionError for a target that was not fitted."""
        self._check_fitted()
        if not 0 <= target < len(self.spectra_):
            raise AttributionError(f"the model has targets 0..{len(self.spectra_) - 1}; got {target}.")
        return [found for found in self._interactions[target] if found.q_value <= max_q]

    def _settings(self) -> BlockSettings:
        if not isinstance(self.max_order, (int, np.integer)) or not 1 <= self.max_order <= 8:
            raise AttributionError(f"max_order must be an integer in 1..8; got {self.max_order!r}.")
        if self.backend not in BACKENDS:
            raise AttributionError(f"backend must be one of {', '.join(BACKENDS)}; got {self.backend!r}.")
        if self.q_method not in ("BY", "BH"):
            raise AttributionError(f"q_method must be 'BY' or 'BH'; got {self.q_method!r}.")
        return BlockSettings(
            alpha=float(self.alpha),
            max_order=int(self.max_order),
            seed=int(self.seed),
            backend=self.backend,
            max_pair_players=self.max_pair_players,
            max_triple_players=self.max_triple_players,
            max_sieve_players=self.max_sieve_players,
            booster=BoosterSettings(
                max_depth=max(3, int(self.max_order)) if self.max_depth is None else int(self.max_depth),
                learning_rate=self.learning_rate,
                n_rounds=self.n_rounds,
                device=self.device,
            ),
        )

    def _reported(
        self,
        fitted: BlockFit,
        rule: QValues,
        higher_is_better: bool,
        player_labels: list[int] | None,
        target_labels: list[int] | None,
    ) -> list[list[Interaction]]:
        return [
            interactions_of(
                fitted, target,
                q_values=rule.of(fitted.reported[target].p_value, fitted.reported[target].stratum),
                gate_open=bool(self.gate_open_[target]),
                higher_is_better=higher_is_better,
                player_classes=player_labels,
                target_class=None if target_labels is None else target_labels[target],
            )
            for target in range(len(fitted.spectra))
        ]  # fmt: skip

    def _check_fitted(self) -> None:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "spectra_")


def _labels(labels: Any, count: int, name: str) -> list[int] | None:
    """Labels of any kind as integer codes; None stays None. Negative integers keep meaning "no class"."""
    if labels is None:
        return None
    values = np.asarray(labels)
    if values.shape != (count,):
        raise AttributionError(f"{name} must have shape ({count},); got {values.shape}.")
    if values.dtype.kind in "iu":
        return [int(value) for value in values]
    raise AttributionError(f"{name} must be integers (class numbers); got {values.dtype}.")
