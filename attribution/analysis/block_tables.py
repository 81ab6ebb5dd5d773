"""One block of targets from masks and outputs to table columns, and the campaign-wide step over all blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.fourier.basis import Alpha, basis, rows_of
from attribution.interactions.block import BlockFit, BlockSettings, fit_block
from attribution.interactions.interaction import interactions_of
from attribution.masks.inputs import CheckedData, check_data, check_masks, check_outputs
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import Backend, fit_proxy
from attribution.statistics import faithfulness
from attribution.statistics.false_discovery import LEVEL, Method, adjust, fit_q_values
from attribution.statistics.p_values import two_sided_p
from attribution.statistics.z_histogram import Stratum, ZHistograms
from attribution.types import Array

Columns = dict[str, Any]

OPEN, CLOSED = "interactions", "no evidence"


@dataclass(frozen=True)
class BlockAnalysis:
    """The tables' columns for one block of targets (DESIGN.md), and the counts for the campaign-wide step.

    effects, interactions, faithfulness: {column: values}. q_value, gate_q, gate_open and verdict are those of this
    block alone until `assign_q_values` has seen all blocks. fixed_size: the masks were of one size, so the common
    shift of the main effects and each player's row sum of pair terms are not identified (minimum norm is reported).
    strata: of each row of `interactions`, the stratum of the family of q-values (statistics/false_discovery.py).
    residuals: (m, t) of the datamodel, out of fold, for the tests over all targets (analysis/pooled_table.py).
    """

    effects: Columns
    interactions: Columns
    faithfulness: Columns
    z_histograms: ZHistograms
    fixed_size: bool
    strata: list[Stratum] = field(default_factory=list)
    residuals: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))


def analyse_targets(
    masks: Any,
    outputs: Any,
    *,
    holdout_masks: Any = None,
    holdout_outputs: Any = None,
    holdout_replicates: Any = None,
    alpha: Any = 0.5,
    reference_alpha: float | None = None,
    holdout_alpha: Any = None,
    max_order: int = 3,
    seed: int = 0,
    groups: Any = None,
    player_classes: Sequence[int] | NDArray[np.int64] | None = None,
    target_classes: Sequence[int] | NDArray[np.int64] | None = None,
    target_ids: Sequence[int] | NDArray[np.int64] | None = None,
    higher_is_better: bool = True,
    backend: str = "booster",
    device: str = "cpu",
    sampler: str | None = None,
    settings: Mapping[str, Any] | None = None,
) -> BlockAnalysis:
    """Fit, test and score a block of targets.

    masks: (m, n) bool, outputs (m, t): the fit rows. holdout_masks (h, n), holdout_outputs (h, t): scored only;
    rows with NaN are left out. holdout_replicates: (h, t), the same masks trained again (NaN where not), for the
    noise ceiling. alpha: of the masks, or (m,) one of each (several alphas: mixed_alphas.py); holdout_alpha: (h,)
    those of the held-out masks; reference_alpha: the one results are told at, by default the commonest. groups: (m,)
    rows no split may divide. player_classes (n,), target_classes (t,): negative means none. target_ids: (t,) names of
    the targets in the tables. sampler: "bernoulli", "fixed_size" or "antithetic"; checked against the masks where it
    can be. device: "cpu" (NumPy) or a torch device such as "cuda" (BoosterSettings). settings: other fields of
    BlockSettings; a `booster` among them has a device of its own.

    Raises AttributionError for bad input. Without held-out masks R^2, LDS and noise ceiling are NaN.
    """
    data = check_data(masks, outputs, alpha, groups=groups)
    n_targets = data.outputs.shape[1]
    ids = _per(target_ids, n_targets, "target_ids", np.arange(n_targets))
    classes = _per(target_classes, n_targets, "target_classes", np.full(n_targets, -1))
    players = (
        None if player_classes is None else _per(player_classes, data.masks.shape[1], "player_classes", None)
    )
    if sampler == "fixed_size" and not data.fixed_size:
        raise AttributionError("sampler is 'fixed_size' but the masks include different numbers of players.")
    options: dict[str, Any] = {
        "booster": BoosterSettings(max_depth=max(3, int(max_order)), device=device),
        **(settings or {}),
    }
    reference = _reference(data, alpha, reference_alpha)
    chosen = BlockSettings(
        alpha=reference, max_order=max_order, seed=seed, backend=cast(Backend, backend), **options
    )
    fitted = fit_block(data, chosen)
    faith = _faithfulness(data, fitted, chosen, holdout_masks, holdout_outputs, holdout_replicates, holdout_alpha)
    block = tables_of(data, fitted, ids, classes, players, higher_is_better)
    block.faithfulness.update(faith)
    return assign_q_values([block])[0]


def tables_of(
    data: CheckedData,
    fitted: BlockFit,
    ids: NDArray[np.int64] | None = None,
    classes: NDArray[np.int64] | None = None,
    players: NDArray[np.int64] | None = None,
    higher_is_better: bool = True,
) -> BlockAnalysis:
    """A fit as columns, before anything is scored on held-out masks and before q-values.

    ids, classes: (t,) targets and their classes (-1: none); players: (n,) their classes, None: unknown."""
    n_targets = data.outputs.shape[1]
    ids = np.arange(n_targets) if ids is None else ids
    classes = np.full(n_targets, -1) if classes is None else classes
    faith = {
        "target": ids.astype(np.int32),
        "target_class": np.maximum(classes, -1).astype(np.int32),
        "gate_p": fitted.gate_p,
        "n_interactions": np.array(
            [sum(len(members) > 1 for members in spectrum.terms) for spectrum in fitted.spectra],
            dtype=np.int32,
        ),
        "output_sd": data.outputs.std(axis=0, ddof=1),
    }
    return BlockAnalysis(
        effects=_effects(fitted, ids),
        interactions=_interactions(fitted, ids, classes, players, higher_is_better),
        faithfulness=faith,
        z_histograms=fitted.z_histograms,
        fixed_size=data.fixed_size,
        strata=[stratum for reported in fitted.reported for stratum in reported.strata],
        residuals=fitted.residuals.astype(np.float32),
    )


def assign_q_values(blocks: Sequence[BlockAnalysis], *, method: Method = "BH") -> list[BlockAnalysis]:
    """The same blocks with q_value, gate_q, gate_open and verdict taken over all of them together.

    Interactions of all targets and orders are one family, main effects another, and the targets' gates (one-sided
    tests) a third, adjusted by Benjamini-Hochberg.
    """
    if not blocks:
        return []
    main_rule, set_rule = fit_q_values([block.z_histograms for block in blocks], method)
    gate_q = adjust(np.concatenate([block.faithfulness["gate_p"] for block in blocks]), "BH")
    result, start = [], 0
    for block in blocks:
        stop = start + len(block.faithfulness["gate_p"])
        q = gate_q[start:stop]
        start = stop
        is_open = dict(zip(block.faithfulness["target"].tolist(), (q <= LEVEL).tolist(), strict=True))
        result.append(
            replace(
                block,
                effects={**block.effects, "q_value": main_rule.of(block.effects["p_value"], Stratum(1))},
                interactions={
                    **block.interactions,
                    "q_value": set_rule.of(block.interactions["p_value"], block.strata),
                    "gate_open": [is_open[target] for target in block.interactions["target"].tolist()],
                },
                faithfulness={
                    **block.faithfulness,
                    "gate_q": q,
                    "verdict": [OPEN if value <= LEVEL else CLOSED for value in q],
                },
            )
        )
    return result


def pooled_targets(outputs: Any, target_classes: Any) -> tuple[Array, NDArray[np.int64]]:
    """Outputs of pooled targets: the mean over all targets, then over each class's targets.

    outputs: (m, t); target_classes: (t,), negative for none. Returns (m, 1 + C) float64 and ids (1 + C,): -1 for the
    mean of all, -(2 + c) for class c. What is too weak to be seen on each target may be seen on their mean.
    """
    values = np.asarray(outputs, dtype=np.float64)
    classes = np.asarray(target_classes)
    if values.ndim != 2 or classes.shape != (values.shape[1],):
        raise AttributionError(
            f"pooling needs outputs (m, t) and target_classes (t,); got {values.shape} and {classes.shape}."
        )
    present = np.unique(classes[classes >= 0])
    pooled = [values.mean(axis=1), *(values[:, classes == c].mean(axis=1) for c in present)]
    return np.column_stack(pooled), np.array([-1, *(-2 - int(c) for c in present)], dtype=np.int64)


def _effects(fitted: BlockFit, ids: NDArray[np.int64]) -> Columns:
    n_targets, n_players = fitted.main.shape
    sigma = fitted.spectra[0].sigma
    stderr = fitted.main_stderr
    z = fitted.main / np.where(stderr > 0, stderr, np.nan)
    return {
        "target": np.repeat(ids, n_players).astype(np.int32),
        "player": np.tile(np.arange(n_players), n_targets).astype(np.int32),
        "effect": (fitted.main / sigma).ravel(),
        "shrunken": (fitted.main_shrunken / sigma).ravel(),
        "stderr": (stderr / sigma).ravel(),
        "p_value": two_sided_p(z).ravel(),
    }


def _interactions(
    fitted: BlockFit,
    ids: NDArray[np.int64],
    classes: NDArray[np.int64],
    players: NDArray[np.int64] | None,
    higher_is_better: bool,
) -> Columns:
    found = [
        interaction
        for target in range(len(fitted.spectra))
        for interaction in interactions_of(
            fitted, target,
            q_values=np.ones(len(fitted.reported[target].members)), gate_open=False,
            higher_is_better=higher_is_better, player_classes=None if players is None else players.tolist(),
            target_class=int(classes[target]), name=int(ids[target]),
        )
    ]  # fmt: skip

    def column(name: str) -> Array:
        return np.array([getattr(interaction, name) for interaction in found], dtype=np.float64)

    return {
        "target": np.array([interaction.target for interaction in found], dtype=np.int32),
        "members": [list(interaction.members) for interaction in found],
        "order": np.array([interaction.order for interaction in found], dtype=np.int8),
        "banzhaf": column("value"),
        "shrunken": column("shrunken"),
        "stderr": column("stderr"),
        "p_value": column("p_value"),
        "moebius": column("moebius"),
        "joint_surplus": column("joint_surplus"),
        "kind": [interaction.kind for interaction in found],
        "class_split": [interaction.class_split for interaction in found],
        "main_effects": [list(interaction.main_effects) for interaction in found],
    }


def _faithfulness(
    data: CheckedData,
    fitted: BlockFit,
    settings: BlockSettings,
    holdout_masks: Any,
    holdout_outputs: Any,
    holdout_replicates: Any,
    holdout_alpha: Any,
) -> Columns:
    """R^2 and LDS of datamodel, proxy and spectrum on the held-out masks, and the noise ceiling."""
    n_targets = data.outputs.shape[1]
    unknown = np.full(n_targets, np.nan)
    names = ("datamodel", "proxy", "spectrum")
    if holdout_masks is None or holdout_outputs is None or len(holdout_masks) == 0:
        columns: Columns = {name: unknown.copy() for name in _ceiling_names()}
        columns |= {f"r2_{name}{bound}": unknown.copy() for name in names for bound in ("", "_low", "_high")}
        return columns | {f"lds_{name}": unknown.copy() for name in names}
    masks = check_masks(holdout_masks, data.masks.shape[1], "holdout_masks")
    outputs = np.asarray(holdout_outputs, dtype=np.float64)
    if outputs.shape != (len(masks), n_targets):
        raise AttributionError(
            f"holdout_outputs must have shape ({len(masks)}, {n_targets}) like the masks and targets; got "
            f"{outputs.shape}."
        )
    replicates = None if holdout_replicates is None else np.asarray(holdout_replicates, dtype=np.float64)
    ceiling = faithfulness.noise_ceiling(outputs, replicates)
    columns = dict(zip(_ceiling_names(), (ceiling.value, ceiling.low, ceiling.high), strict=True))
    alphas = _holdout_alphas(fitted, len(masks), holdout_alpha)
    known = np.isfinite(outputs).all(axis=1)
    alphas = rows_of(alphas, known)
    masks, outputs = masks[known], check_outputs(outputs[known], int(known.sum()), "holdout_outputs")
    validation = data.groups % 6 == 0
    proxy = fit_proxy(
        data.masks[:, fitted.players], fitted.mixture.centred(data.outputs, data.alphas), settings.booster,
        backend=settings.backend, validation=validation, sample_weight=data.weight,
    )  # fmt: skip
    linear = fitted.linear
    predicted = {
        "datamodel": basis(masks[:, fitted.players], alphas) @ linear.coef.T + linear.intercept,
        "proxy": proxy.predict(masks[:, fitted.players]),
        "spectrum": fitted.predict(masks, alphas if isinstance(alphas, np.ndarray) else None),
    }
    if isinstance(alphas, np.ndarray):
        offsets = np.stack([fitted.mixture.offset(float(value)) for value in alphas])
        predicted["datamodel"] += offsets
        predicted["proxy"] += offsets
    for name in names:
        interval = faithfulness.r2_interval(outputs, predicted[name], seed=settings.seed)
        columns |= {
            f"r2_{name}": interval.value, f"r2_{name}_low": interval.low, f"r2_{name}_high": interval.high
        }  # fmt: skip
    for name in names:
        columns[f"lds_{name}"] = faithfulness.lds(outputs, predicted[name])
    return columns


def _reference(data: CheckedData, alpha: Any, given: float | None) -> float:
    """The alpha that results are told at."""
    if data.alphas is None:
        return float(np.ravel(alpha)[0])
    if given is not None:
        if not 0.0 < given < 1.0:
            raise AttributionError(f"reference_alpha must lie in (0, 1); got {given!r}.")
        return float(given)
    values, counts = np.unique(data.alphas, return_counts=True)
    return float(values[counts == counts.max()].max())


def _holdout_alphas(fitted: BlockFit, n_masks: int, given: Any) -> Alpha:
    """The held-out masks' alpha, or one for each where the fit has several."""
    reference = fitted.spectra[0].alpha
    if not fitted.mixture.several:
        return reference
    alphas = np.asarray(reference if given is None else given, dtype=np.float64)
    if alphas.ndim > 1 or (alphas.ndim == 1 and len(alphas) != n_masks):
        raise AttributionError(f"holdout_alpha must be one number or {n_masks}; got shape {alphas.shape}.")
    return np.broadcast_to(alphas, (n_masks,)).copy()


def _ceiling_names() -> tuple[str, str, str]:
    return "noise_ceiling", "noise_ceiling_low", "noise_ceiling_high"


def _per(values: Any, count: int, name: str, default: Any) -> NDArray[np.int64]:
    found = np.asarray(default if values is None else values)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise AttributionError(f"{name} must be {count} integers; got shape {found.shape} of {found.dtype}.")
    return found.astype(np.int64)
