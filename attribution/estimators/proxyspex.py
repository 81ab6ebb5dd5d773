"""ProxySPEX as a scikit-learn estimator, for masks and outputs that exist already."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, RegressorMixin

from attribution.checks import (
    check_alpha,
    check_choice,
    check_integer,
    check_number,
    check_numbers,
    check_seed,
)
from attribution.containers import check_row_order
from attribution.errors import AttributionError
from attribution.estimators.base import keep_players, masks_to_predict
from attribution.fourier.spectrum import Spectrum
from attribution.interactions.block import BlockFit, BlockSettings, fit_block, fit_with_missing
from attribution.interactions.interaction import Interaction, interactions_of
from attribution.interactions.setup import MAX_ORDER, default_proxy_order
from attribution.levels import FDR_LEVEL
from attribution.masks.class_labels import class_numbers
from attribution.masks.inputs import CheckedData, as_given, check_data
from attribution.masks.missing import fill_missing
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import BACKENDS, Backend
from attribution.statistics.false_discovery import Method, QValues, adjust, fit_q_values


class ProxySPEX(RegressorMixin, BaseEstimator):
    """Estimate a sparse p-biased Fourier spectrum of mask -> output, with interactions, errors and q-values.

    Gradient-boosted trees (the proxy that names the method) propose sets of every order up to `max_proxy_order`, and
    screens that test every pair and triple propose beside them. `Interaction.proposed_by` names the proposer of each
    set. An L1 fit of all main effects and the candidates, cross-fitted over six folds, decides which candidates enter
    the spectrum.

    Parameters
    ----------
    alpha : float
        Probability with which a mask includes a player, in (0, 1).
    max_order : int
        Number of members of the largest set that is screened, 1 to 6. No screen covers more than 3.
    seed : int
        Seed of the assignment of masks to folds.
    backend : {"booster", "lightgbm"}
        Library that fits the proxies, one on either half of the masks.
    max_depth : int or None
        Depth of the proxies' trees, 1 to 8; None for max(3, max_proxy_order). Trees of depth d hold sets of up to d
        members.
    learning_rate : float
        Shrinkage of the proxies' trees, in (0, 1].
    n_estimators : int
        Largest number of trees of one target.
    max_pair_players : int
        Pairs are screened among this many players: all, or those of largest main effect.
    max_triple_players : int
        Triples are screened among this many players: all, or those of largest main effect. Fewer than 3: triples
        are not screened.
    max_sieve_players : int
        Up to this many players, a sieve tests the triples that the screen leaves out. It needs alpha = 1/2 and 512
        distinct masks. Beyond 500 players it is applied only to targets with two pairs as large as a triple would
        have to be. 0 turns it off.
    max_proxy_order : int or None
        Number of members of the largest set that a proxy may propose, 0 to 6. None: `max_order` + 1 (at most 6) if
        `max_order` is 3 or more, else `max_order`. 0 or 1: no proxy is fitted.
    n_proxy_sets : int
        Sets of each order that the proxy of each half proposes for a target: those of largest coefficient. 0: no
        proxy is fitted.
    q_method : {"BH", "BY"}
        Benjamini-Hochberg, or Benjamini-Yekutieli, which holds under any dependence between tests.
    missing : {"raise", "drop"}
        What to do with outputs that are NaN, None or NA: refuse them, or leave each row out for the targets that lack
        it (`n_missing_` counts them). A row with no output at all is left out altogether.
    device : str
        "cpu" for NumPy, or a torch device such as "cuda" for the screens, the refits and the booster. It is never
        chosen automatically, because rounding differs between devices. LightGBM always runs on the CPU.

    Attributes
    ----------
    spectra_ : list of Spectrum
        One spectrum for each of the n_targets targets: main effects and specific interactions. `predict` adds the
        saturation that `curvature_` describes.
    curvature_ : ndarray of shape (n_targets, 3)
        Curvature of what raises the output, of what lowers it, and between the two (`attribution.linear.link`).
    gate_p_ : ndarray of shape (n_targets,)
        P-value of the interaction test: a paired test of squared errors, datamodel with saturation against spectrum, on
        masks that neither has been fitted to. The spectrum it judges holds sets with a probability of being null of at
        most .5, whatever the strictness chosen for `spectra_`.
    gate_q_ : ndarray of shape (n_targets,)
        `gate_p_` adjusted over targets (Benjamini-Hochberg).
    gate_open_ : ndarray of bool, shape (n_targets,)
        `gate_q_` <= 0.05: the target has evidence of specific interactions.
    effects_ : ndarray of shape (n_targets, n_players)
        Main effects in Banzhaf units: the mean change of the output when the player is included. NaN for a player
        that every mask or no mask includes.
    effect_stderrs_ : ndarray of shape (n_targets, n_players)
        Standard errors of `effects_`, clustered by groups of masks. With weights, those for which +-1.96 of them is a
        95% interval (Student's t with one degree of freedom less than there are effective masks).
    cross_fitted_ : ndarray of shape (n_masks, n_targets)
        Predictions of the fit masks, each by a spectrum fitted without the mask's fold.
    inseparable_players_ : list of InseparablePlayers
        Groups of players that no mask separates; each is one player, and the first one named holds its effect.
    n_missing_ : ndarray of int, shape (n_targets,)
        Masks left out for each target because their output was missing.
    n_considered_ : int
        Number of (set, target) tests in the family of the q-values.
    n_untestable_ : int
        Sets of up to `max_order` players that the masks cannot test, because some combination of present and absent
        is in too few of them. They are not considered, and a warning counts them.
    fixed_size_ : bool
        True if every mask includes equally many players. The common shift of the main effects is then not
        identified, and `effects_` has mean zero for every target.
    single_ : bool
        True if `outputs` was a vector; `predict` then returns a vector.
    n_features_in_ : int
        Number of players.
    feature_names_in_ : ndarray of str, shape (n_players,)
        Column names of the masks; only if they were a data frame with names.

    Notes
    -----
    **Who proposes.** A proxy is fitted on either half of the masks, and the `n_proxy_sets` largest coefficients of each
    order in its spectrum are proposals. The screens test all pairs of up to `max_pair_players` players and all triples
    of up to `max_triple_players`; heredity singles out pairs of players with main effects and triples with two large
    pairs; the sieve tests the other triples at alpha = 1/2. A set that one of these tests keeps that test, with its
    whole family counted, and names the proxy among `Interaction.also_proposed_by`. Every other proposal of a proxy
    (sets of 4 or more members, triples and pairs of players outside the screens) is tested on the half of the masks
    that did not propose it, in a family of proposals. So proxies find what screens cannot reach, and do not change the
    test of what screens do reach.

    **Departures from the published ProxySPEX** (Butler et al. 2025, arXiv 2505.17495). Masks and outputs are given, the
    method draws none. All main effects stay in the model. Beside the proxy, sets are screened exhaustively where that
    is possible. The refit is L1 and cross-fitted, not a ridge fit of the sets that hold 95% of the energy. Estimates
    have standard errors and q-values. `PublishedProxySPEX` is the published method on the same masks.

    **Family of tests.** The q-values of one call are adjusted over that call. A campaign that is fitted in blocks of
    targets is adjusted as one family by `attribution.analysis.block_tables.assign_q_values`.

    **When not to use it.** With fewer than 5 masks for each player it finds main effects only; use `Datamodel`.

    Examples
    --------
    Players 2 and 5 are copies: either of them is enough.

    >>> import numpy as np
    >>> from attribution import ProxySPEX
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((600, 12)) < 0.5
    >>> outputs = (masks[:, 2] | masks[:, 5]) + 0.2 * rng.normal(size=600)
    >>> model = ProxySPEX(max_order=2).fit(masks, outputs)
    >>> [(found.members, found.kind) for found in model.interactions(max_q=0.05)]
    [((2, 5), 'redundancy')]
    >>> bool(abs(model.interactions()[0].value - -1.0) < 0.1)
    True
    """

    def __init__(
        self,
        alpha: float = 0.5,
        max_order: int = 3,
        seed: int = 0,
        backend: str = "booster",
        *,
        max_depth: int | None = None,
        learning_rate: float = 0.1,
        n_estimators: int = 100,
        max_pair_players: int = 2000,
        max_triple_players: int = 110,
        max_sieve_players: int = 1000,
        max_proxy_order: int | None = None,
        n_proxy_sets: int = 40,
        q_method: str = "BH",
        missing: str = "raise",
        device: str = "cpu",
    ) -> None:
        self.alpha = alpha
        self.max_order = max_order
        self.seed = seed
        self.backend = backend
        self.max_depth = max_depth
        self.learning_rate = learning_rate
        self.n_estimators = n_estimators
        self.max_pair_players = max_pair_players
        self.max_triple_players = max_triple_players
        self.max_sieve_players = max_sieve_players
        self.max_proxy_order = max_proxy_order
        self.n_proxy_sets = n_proxy_sets
        self.q_method = q_method
        self.missing = missing
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
        """Fit to the outputs of models trained on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
            True where a player is in the training set.
        outputs : array_like of float, shape (n_masks,) or (n_masks, n_targets)
            One column for each target.
        groups : array_like, shape (n_masks,), optional
            Labels of rows that must share a fold, such as antithetic partners. Equal masks always share one.
        sample_weight : array_like of float, shape (n_masks,), optional
            Positive weights of the rows.
        higher_is_better : bool
            False if a lower output is better: signs are turned before kinds are named.
        player_labels : array_like of int or str, shape (n_players,), optional
            Classes of the players, for `Interaction.class_split`. A negative number, "" and None mean no class.
        target_labels : array_like of int or str, shape (n_targets,), optional
            Classes of the targets, of the same type.
        alpha : array_like of float, shape (n_masks,), optional
            Inclusion probability of each mask, where a campaign has several. Results are then reported at the
            estimator's own `alpha`; `attribution.masks.mixed_alphas` defines the estimand.

        Returns
        -------
        ProxySPEX
            The fitted estimator.

        Raises
        ------
        AttributionError
            For invalid masks, outputs, labels or settings.
        """
        settings = self._settings()
        method = cast(Method, check_choice("q_method", self.q_method, ("BH", "BY")))
        if not isinstance(higher_is_better, (bool, np.bool_)):
            raise AttributionError(f"higher_is_better must be True or False; got {higher_is_better!r}.")
        given = self.alpha if alpha is None else alpha
        check_row_order(masks=masks, outputs=outputs, groups=groups, sample_weight=sample_weight, alpha=alpha)
        outputs, where = fill_missing(outputs, self.missing)
        data = self._checked(masks, outputs, groups, sample_weight, given)
        if alpha is not None and data.alphas is None and float(np.ravel(alpha)[0]) != float(self.alpha):
            raise AttributionError(
                f"every mask has alpha {float(np.ravel(alpha)[0])} and the estimator {self.alpha}. Give the estimator "
                "the masks' alpha, or leave alpha out."
            )
        fitted = fit_block(data, settings) if where is None else fit_with_missing(data, where, settings)
        self.inseparable_players_ = data.inseparable
        self.n_missing_ = np.zeros(data.outputs.shape[1], np.int64) if where is None else where.sum(axis=0)
        n_players, n_targets = data.masks.shape[1], data.outputs.shape[1]
        sigma = fitted.spectra[0].sigma
        self.spectra_: list[Spectrum] = fitted.spectra
        keep_players(self, data)
        self._fitted = fitted
        self.gate_p_ = fitted.gate_p
        self.gate_q_ = adjust(fitted.gate_p, "BH")
        self.gate_open_ = self.gate_q_ <= FDR_LEVEL
        self.effects_ = fitted.main / sigma
        self.effect_stderrs_ = fitted.main_stderr / sigma
        self.cross_fitted_ = fitted.predicted
        self.curvature_ = fitted.link.curvature
        _, rule = fit_q_values([fitted.z_histograms], method)
        specific_rule = fit_q_values([fitted.specific_histograms], method)[1]
        self.n_considered_ = rule.n_tests
        self.n_untestable_ = fitted.n_untestable
        self.fixed_size_ = data.fixed_size
        self._interactions = self._reported(
            fitted, rule, specific_rule, higher_is_better,
            *class_numbers(player_labels, n_players, target_labels, n_targets),
        )  # fmt: skip
        return self

    def predict(self, masks: Any, alpha: Any = None) -> NDArray[np.float64]:
        """Evaluate spectra and links on masks.

        Parameters
        ----------
        masks : array_like of bool, shape (n_masks, n_players)
        alpha : array_like of float, shape (n_masks,), optional
            Inclusion probability of each mask, after a fit to several.

        Returns
        -------
        ndarray of shape (n_masks,) or (n_masks, n_targets)
            One dimension if `fit` was given a vector.

        Raises
        ------
        AttributionError
            For a number of players other than in `fit`.
        """
        self._check_fitted()
        rows = masks_to_predict(self, masks)
        alphas = None
        if alpha is not None:
            given = check_numbers("alpha", alpha)
            if given.shape not in ((), (len(rows),)) or not ((given > 0) & (given < 1)).all():
                raise AttributionError(
                    f"alpha must be one number in (0, 1), or one for every mask, ({len(rows)},); got {given.shape}."
                )
            alphas = np.broadcast_to(given, (len(rows),))
        predicted = self._fitted.predict(rows, alphas)
        return as_given(predicted, self.single_)

    def interactions(self, target: int = 0, *, max_q: float = 1.0) -> list[Interaction]:
        """List the reported sets of a target, strongest evidence of a specific part first.

        Parameters
        ----------
        target : int
            Column of `outputs`.
        max_q : float
            Largest q-value listed.

        Returns
        -------
        list of Interaction

        Raises
        ------
        AttributionError
            For a target that was not fitted, or a `max_q` outside [0, 1].
        """
        self._check_fitted()
        target = check_integer("target", target, 0, len(self.spectra_) - 1)
        check_number("max_q", max_q, 0, 1, includes="[]")
        return [found for found in self._interactions[target] if found.q_value <= max_q]

    def _checked(self, masks: Any, outputs: Any, groups: Any, sample_weight: Any, alpha: Any) -> CheckedData:
        """Validate the input of `fit`."""
        return check_data(masks, outputs, alpha, groups=groups, sample_weight=sample_weight)

    def _settings(self) -> BlockSettings:
        max_order = check_integer("max_order", self.max_order, 1, MAX_ORDER)
        largest = default_proxy_order(max_order)
        if self.max_proxy_order is not None:
            largest = check_integer("max_proxy_order", self.max_proxy_order, 0)
        return BlockSettings(
            alpha=check_alpha(self.alpha),
            max_order=max_order,
            seed=check_seed(self.seed),
            backend=cast(Backend, check_choice("backend", self.backend, BACKENDS)),
            max_pair_players=self.max_pair_players,
            max_triple_players=self.max_triple_players,
            max_sieve_players=self.max_sieve_players,
            max_proxy_order=self.max_proxy_order,
            n_proxy_sets=self.n_proxy_sets,
            booster=BoosterSettings(device=self.device),
            proposer=BoosterSettings(
                max_depth=max(3, largest) if self.max_depth is None else self.max_depth,
                learning_rate=self.learning_rate,
                n_estimators=self.n_estimators,
                device=self.device,
            ),
        )

    def _reported(
        self,
        fitted: BlockFit,
        rule: QValues,
        specific_rule: QValues,
        higher_is_better: bool,
        player_labels: list[int] | None,
        target_labels: list[int] | None,
    ) -> list[list[Interaction]]:
        return [
            interactions_of(
                fitted, target,
                q_values=rule.of(fitted.reported[target].p_value, fitted.reported[target].strata),
                specific_q_values=specific_rule.of(
                    fitted.reported[target].specific_p_value, fitted.reported[target].strata
                ),
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
