"""Held-out scores of every estimator a campaign fits: the long table target x estimator x metric."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.checks import check_masks
from attribution.errors import AttributionError
from attribution.estimators.base import Estimator
from attribution.estimators.published_proxyspex import PublishedProxySPEX
from attribution.fourier.basis import Alpha, basis, rows_of
from attribution.interactions.block import BlockFit, BlockSettings
from attribution.masks.folds import N_FOLDS
from attribution.masks.inputs import CheckedData, check_outputs
from attribution.proxy.fit import fit_proxy
from attribution.statistics.faithfulness import lds, noise_ceiling, r2_interval
from attribution.types import Array, Masks

PUBLISHED = "published"  # PublishedProxySPEX, scored on some targets only
NO_ESTIMATOR = "none"  # the estimator of metrics that belong to the target alone


@dataclass(frozen=True)
class Score:
    """A metric of one estimator on a block of targets.

    Parameters
    ----------
    value, low, high
        (t,) float64, the value and its 95% interval. A metric without an interval has low and high None.
    """

    value: Array
    low: Array | None = None
    high: Array | None = None


Scores = Mapping[tuple[str, str], Score]  # (estimator, metric) -> Score


@dataclass(frozen=True)
class FittedBlock:
    """A block of targets after its fit: everything an entry of `ESTIMATORS` may use.

    Parameters
    ----------
    data
        The fit rows.
    fitted
        Datamodel, spectra and the players that entered them.
    settings
        Of the block; `settings.alpha` is the alpha at which results are reported.
    published
        Positions of the targets on which the published ProxySPEX is scored as well. It takes seconds a target, a
        hundred times as long as everything else together.
    """

    data: CheckedData
    fitted: BlockFit
    settings: BlockSettings
    published: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def centred(self) -> Array:
        """(m, t) outputs less the mean of the masks of the same alpha; the outputs themselves with a single alpha."""
        return self.fitted.mixture.centred(self.data.outputs, self.data.alphas)

    def offsets(self, alphas: Alpha) -> Array | float:
        """What `centred` took away, at the alphas of other masks: (h, t), or 0 with a single alpha."""
        if not isinstance(alphas, np.ndarray):
            return 0.0
        return np.stack([self.fitted.mixture.offset(float(alpha)) for alpha in alphas])


Predictor = Callable[[Masks, Alpha], Array]  # (h, n) masks and their alphas -> (h, t) predicted outputs


def _datamodel(block: FittedBlock) -> Predictor:
    """The linear part of the block's fit."""
    linear, players = block.fitted.linear, block.fitted.players

    def predict(masks: Masks, alphas: Alpha) -> Array:
        predicted = basis(masks[:, players], alphas) @ linear.coef.T + linear.intercept
        return np.asarray(predicted + block.offsets(alphas))

    return predict


def _link(block: FittedBlock) -> Predictor:
    """The linear part and the curves of the block's fit: `LinkDatamodel`."""
    fitted, datamodel = block.fitted, _datamodel(block)
    used = np.flatnonzero(fitted.link_main.any(axis=0))
    return lambda masks, alphas: datamodel(masks, alphas) + fitted.link.evaluate(
        basis(masks[:, used], alphas), fitted.link_main[:, used]
    )


def _proxy(block: FittedBlock) -> Predictor:
    """Boosted trees, fitted here: candidates are searched with trees of their own (interactions/candidate_table.py)."""
    data, settings, players = block.data, block.settings, block.fitted.players
    proxy = fit_proxy(
        data.masks[:, players], block.centred, settings.booster, backend=settings.backend,
        validation=data.groups % N_FOLDS == 0, sample_weight=data.weight,
    )  # fmt: skip
    return lambda masks, alphas: np.asarray(proxy.predict(masks[:, players]) + block.offsets(alphas))


def _spectrum(block: FittedBlock) -> Predictor:
    """The block's spectra."""
    return lambda masks, alphas: block.fitted.predict(masks, alphas if isinstance(alphas, np.ndarray) else None)


def library(make: Callable[[FittedBlock], Estimator]) -> Callable[[FittedBlock], Predictor | None]:
    """Make an entry of `ESTIMATORS` from an estimator with scikit-learn's interface.

    Parameters
    ----------
    make
        Returns the unfitted estimator, from the block's settings where it needs them.

    Returns
    -------
    Callable
        Fits the estimator to all fit rows of the block and returns its predictions of other masks; None where the
        masks have several alphas.

    Examples
    --------
    >>> from attribution.estimators.ridge import RidgeDatamodel
    >>> entry = library(lambda block: RidgeDatamodel(alpha=block.settings.alpha))
    """

    def build(block: FittedBlock) -> Predictor | None:
        if block.fitted.mixture.several:
            return None  # these estimators take one alpha for all masks
        model = make(block)
        model.fit(block.data.masks, block.centred, groups=block.data.groups)

        def predict(masks: Masks, alphas: Alpha) -> Array:
            predicted = np.asarray(model.predict(masks), dtype=np.float64).reshape(len(masks), -1)
            return np.asarray(predicted + block.offsets(alphas))

        return predict

    return build


# What a campaign scores on held-out masks, in the order of its tables. A line here adds an estimator to the table
# `faithfulness`, to the report and to all readers: "ridge": library(lambda block: RidgeDatamodel(...)).
ESTIMATORS: dict[str, Callable[[FittedBlock], Predictor | None]] = {
    "datamodel": _datamodel,
    "link": _link,
    "proxy": _proxy,
    "spectrum": _spectrum,
}


def held_out(
    block: FittedBlock,
    holdout_masks: Any,
    holdout_outputs: Any,
    holdout_replicates: Any = None,
    holdout_alpha: Any = None,
) -> Scores:
    """Score every estimator of `ESTIMATORS` on masks that no step of the fit has used.

    Parameters
    ----------
    block
        The fit.
    holdout_masks, holdout_outputs
        (h, n) bool and (h, t). Rows with NaN are left out. None: every score is NaN and nothing is fitted.
    holdout_replicates
        (h, t), the same masks trained again, for the noise ceiling.
    holdout_alpha
        One number or (h,), the held-out masks' alphas.

    Returns
    -------
    Scores
        `r2` (with a bootstrap interval over masks) and `lds` of each estimator, and `noise_ceiling` of the target.

    Raises
    ------
    AttributionError
        For held-out rows whose shapes do not fit the block.
    """
    n_targets = block.data.outputs.shape[1]
    unknown = np.full(n_targets, np.nan)
    scores: dict[tuple[str, str], Score] = {}
    if holdout_masks is None or holdout_outputs is None or len(holdout_masks) == 0:
        scores[NO_ESTIMATOR, "noise_ceiling"] = Score(unknown, unknown, unknown)
        for name in ESTIMATORS:
            scores |= {(name, "r2"): Score(unknown, unknown, unknown), (name, "lds"): Score(unknown)}
        return scores
    masks = check_masks(holdout_masks, block.data.masks.shape[1], "holdout_masks")
    outputs = np.asarray(holdout_outputs, dtype=np.float64)
    if outputs.shape != (len(masks), n_targets):
        raise AttributionError(
            f"holdout_outputs must have shape ({len(masks)}, {n_targets}) like the masks and targets; got "
            f"{outputs.shape}."
        )
    replicates = None if holdout_replicates is None else np.asarray(holdout_replicates, dtype=np.float64)
    ceiling = noise_ceiling(outputs, replicates)
    scores[NO_ESTIMATOR, "noise_ceiling"] = Score(ceiling.value, ceiling.low, ceiling.high)
    alphas = _holdout_alphas(block.fitted, len(masks), holdout_alpha)
    known = np.isfinite(outputs).all(axis=1)
    alphas = rows_of(alphas, known)
    masks, outputs = masks[known], check_outputs(outputs[known], int(known.sum()), "holdout_outputs")
    for name, build in ESTIMATORS.items():
        predict = build(block)
        if predict is None:
            scores |= {(name, "r2"): Score(unknown, unknown, unknown), (name, "lds"): Score(unknown)}
            continue
        predicted = predict(masks, alphas)
        if predicted.shape != outputs.shape:
            raise AttributionError(
                f"estimator {name!r} predicts {predicted.shape} for {len(masks)} masks and {n_targets} targets; "
                f"predict must return {outputs.shape}."
            )
        found = r2_interval(outputs, predicted, seed=block.settings.seed)
        scores[name, "r2"] = Score(found.value, found.low, found.high)
        scores[name, "lds"] = Score(lds(outputs, predicted))
    if len(block.published) and not block.fitted.mixture.several:
        scores |= _published(block, masks, outputs)
    return scores


def _published(block: FittedBlock, masks: Masks, outputs: Array) -> Scores:
    """Scores of the published ProxySPEX; NaN on targets that are not among `block.published`."""
    chosen, data = block.published, block.data
    model = PublishedProxySPEX(alpha=block.settings.alpha, seed=block.settings.seed)
    model.fit(data.masks, data.outputs[:, chosen], groups=data.groups)
    predicted = model.predict(masks).reshape(len(masks), -1)
    found = r2_interval(outputs[:, chosen], predicted, seed=block.settings.seed)
    unknown = np.full(outputs.shape[1], np.nan)
    columns = [unknown.copy() for _ in range(4)]
    measured = (found.value, found.low, found.high, lds(outputs[:, chosen], predicted))
    for column, values in zip(columns, measured, strict=True):
        column[chosen] = values
    return {(PUBLISHED, "r2"): Score(*columns[:3]), (PUBLISHED, "lds"): Score(columns[3])}


def score_rows(targets: NDArray[np.int64], scores: Scores) -> dict[str, Any]:
    """Return scores as columns of the table `faithfulness`, target by target.

    Parameters
    ----------
    targets
        (t,) int64.
    scores
        {(estimator, metric): Score of t values}.
    """
    unknown = np.full(len(targets), np.nan)

    def numbers(bound: str) -> Array:
        held = [getattr(score, bound) for score in scores.values()]
        columns = [unknown if values is None else np.asarray(values, dtype=np.float64) for values in held]
        return np.column_stack([np.zeros((len(targets), 0)), *columns]).ravel()

    names = [key for _ in targets for key in scores]
    values = numbers("value")
    # The published method has no row where it was not fitted.
    rows = np.array([name != PUBLISHED for name, _ in names], dtype=bool) | np.isfinite(values)
    return {
        "target": np.repeat(targets, len(scores)).astype(np.int32)[rows],
        "estimator": [estimator for (estimator, _), kept in zip(names, rows, strict=True) if kept],
        "metric": [metric for (_, metric), kept in zip(names, rows, strict=True) if kept],
        "value": values[rows],
        "low": numbers("low")[rows],
        "high": numbers("high")[rows],
    }


def _holdout_alphas(fitted: BlockFit, n_masks: int, given: Any) -> Alpha:
    """The held-out masks' alpha, or one for each where the fit has several."""
    reference = fitted.spectra[0].alpha
    if not fitted.mixture.several:
        return reference
    alphas = np.asarray(reference if given is None else given, dtype=np.float64)
    if alphas.ndim > 1 or (alphas.ndim == 1 and len(alphas) != n_masks):
        raise AttributionError(f"holdout_alpha must be one number or {n_masks}; got shape {alphas.shape}.")
    return np.broadcast_to(alphas, (n_masks,)).copy()
