"""One block of targets from masks and outputs to table columns, and the campaign-wide step over all blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from attribution.analysis.scores import FittedBlock, Score, Scores, held_out, score_rows
from attribution.analysis.target_ids import MEAN_OF_ALL, mean_of_class
from attribution.errors import AttributionError
from attribution.interactions.block import BlockFit, BlockSettings, fit_block
from attribution.interactions.interaction import interactions_of
from attribution.interactions.setup import default_proxy_order, proposer_settings
from attribution.levels import FDR_LEVEL
from attribution.masks.inputs import CheckedData, check_data
from attribution.proxy.boosted_trees import BoosterSettings
from attribution.proxy.fit import Backend
from attribution.statistics.false_discovery import Method, adjust, fit_q_values
from attribution.statistics.p_values import two_sided_p
from attribution.statistics.z_histogram import Stratum, ZHistograms
from attribution.types import Array

Columns = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class BlockAnalysis:
    """The tables' columns for one block of targets, and the counts for the campaign-wide step.

    Parameters
    ----------
    targets
        (t,) int64, the block's targets. Negative ids are mean targets (`pooled_targets`).
    effects, interactions
        {column: values} of the tables of these names. `assign_q_values` adds q_value to both, specific_q_value and
        gate_open to the second.
    scores
        {(estimator, metric): Score}, the values of `faithfulness`. `assign_q_values` adds gate_q and gate_open.
    z_histograms
        |z| of everything that was tested, by stratum, for q-values over the whole campaign.
    fixed_size
        Whether all masks include equally many players. The common shift of the main effects and each player's row
        sum of pair terms are then not identified, and the tables hold the minimum-norm convention.
    specific_histograms
        The same of the tests of specific parts.
    strata
        Of each row of `interactions`, its stratum in the family of q-values (statistics/false_discovery.py).
    residuals, link_residuals
        (m, t) of the datamodel, and of it with the link, out of fold, for the pooled tests (analysis/pooled_table.py).
    n_untestable
        Sets of the wanted orders that the masks cannot test, on each target (masks/rare_cells.py).
    """

    targets: NDArray[np.int64]
    effects: Columns
    interactions: Columns
    scores: Scores
    z_histograms: ZHistograms
    fixed_size: bool
    strata: list[Stratum] = field(default_factory=list)
    residuals: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    specific_histograms: ZHistograms = field(default_factory=ZHistograms)
    link_residuals: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), dtype=np.float32))
    n_untestable: int = 0

    @property
    def gate_p(self) -> Array:
        """(t,) p-value of each target's gate: spectrum against datamodel."""
        return self.scores["spectrum", "gate_p"].value

    @property
    def faithfulness(self) -> Columns:
        """Columns of the table `faithfulness`: one row per target, estimator and metric."""
        return score_rows(self.targets, self.scores)


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
    max_proxy_order: int | None = None,
    device: str = "cpu",
    sampler: str | None = None,
    published_targets: Sequence[int] | NDArray[np.int64] = (),
    settings: Mapping[str, Any] | None = None,
    with_q_values: bool = True,
) -> BlockAnalysis:
    """Fit, test and score a block of targets.

    Parameters
    ----------
    masks, outputs
        (m, n) bool and (m, t): the rows to fit to.
    holdout_masks, holdout_outputs
        (h, n) bool and (h, t): rows that are only predicted and scored. Rows with NaN are left out.
    holdout_replicates
        (h, t), outputs of the held-out masks trained again (NaN where not), for the noise ceiling.
    alpha
        Inclusion probability of the masks; (m,), one for each, in a campaign of several alphas (mixed_alphas.py).
    reference_alpha
        The alpha at which results are reported. Default: the commonest one.
    holdout_alpha
        (h,), the held-out masks' alphas, where there are several.
    max_order
        Largest size of a set that is screened.
    seed
        Of folds and resamples.
    groups
        (m,) int labels of rows that no split may divide.
    player_classes, target_classes
        (n,) and (t,) int; negative means no class.
    target_ids
        (t,) int, the targets' ids in the tables. Default: 0, 1, ...
    higher_is_better
        False turns the signs when kinds are named.
    backend
        Of the proxy: "booster" or "lightgbm".
    max_proxy_order
        Largest size of a set that a proxy proposes. Default: `interactions.setup.default_proxy_order`.
    device
        "cpu" (NumPy) or a torch device such as "cuda" for the large products.
    sampler
        "bernoulli", "fixed_size" or "antithetic"; checked against the masks where it can be.
    published_targets
        Ids of targets on which `PublishedProxySPEX` is fitted and scored as well (seconds for each).
    settings
        Other fields of BlockSettings. A `booster` among them has a device of its own.
    with_q_values
        False leaves the q-values to `assign_q_values` over all blocks of a campaign.

    Returns
    -------
    BlockAnalysis
        Without held-out masks, R^2, LDS and noise ceiling are NaN.

    Raises
    ------
    AttributionError
        For input that does not fit together.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((200, 6)) < 0.5
    >>> outputs = (masks[:, 0] & masks[:, 1]) * 4.0 + rng.normal(size=200)
    >>> block = analyse_targets(masks, outputs[:, None], max_order=2)
    >>> block.interactions["members"][0]
    [0, 1]
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
    largest = default_proxy_order(int(max_order)) if max_proxy_order is None else max_proxy_order
    options: dict[str, Any] = {
        "booster": BoosterSettings(device=device, max_depth=max(3, int(max_order))),
        "proposer": proposer_settings(largest, device),
        "max_proxy_order": largest,
        **(settings or {}),
    }
    reference = _reference(data, alpha, reference_alpha)
    chosen = BlockSettings(
        alpha=reference, max_order=max_order, seed=seed, backend=cast(Backend, backend), **options
    )
    fitted = fit_block(data, chosen)
    published = np.flatnonzero(np.isin(ids, np.asarray(published_targets, dtype=np.int64)))
    scores = held_out(
        FittedBlock(data, fitted, chosen, published), holdout_masks, holdout_outputs, holdout_replicates, holdout_alpha
    )
    block = tables_of(data, fitted, ids, classes, players, higher_is_better)
    block = replace(block, scores={**scores, **block.scores})
    return assign_q_values([block])[0] if with_q_values else block


def tables_of(
    data: CheckedData,
    fitted: BlockFit,
    ids: NDArray[np.int64] | None = None,
    classes: NDArray[np.int64] | None = None,
    players: NDArray[np.int64] | None = None,
    higher_is_better: bool = True,
) -> BlockAnalysis:
    """Return a fit as columns, without held-out scores and without q-values.

    Parameters
    ----------
    data, fitted
        The block's rows and what `fit_block` made of them.
    ids, classes
        (t,) int, targets and their classes (-1: none).
    players
        (n,) int, the players' classes. None: unknown.
    higher_is_better
        False turns the signs when kinds are named.
    """
    n_targets = data.outputs.shape[1]
    ids = np.arange(n_targets) if ids is None else ids
    classes = np.full(n_targets, -1) if classes is None else classes
    n_interactions = [sum(len(members) > 1 for members in spectrum.terms) for spectrum in fitted.spectra]
    return BlockAnalysis(
        targets=ids.astype(np.int64),
        effects=_effects(fitted, ids),
        interactions=_interactions(fitted, ids, classes, players, higher_is_better),
        scores={
            ("none", "output_sd"): Score(data.outputs.std(axis=0, ddof=1)),
            ("spectrum", "n_interactions"): Score(np.array(n_interactions, dtype=np.float64)),
            ("spectrum", "gate_p"): Score(fitted.gate_p),
        },
        z_histograms=fitted.z_histograms,
        fixed_size=data.fixed_size,
        strata=[stratum for reported in fitted.reported for stratum in reported.strata],
        residuals=fitted.residuals.astype(np.float32),
        specific_histograms=fitted.specific_histograms,
        link_residuals=fitted.link_residuals.astype(np.float32),
        n_untestable=fitted.n_untestable,
    )


def assign_q_values(blocks: Sequence[BlockAnalysis], *, method: Method = "BH") -> list[BlockAnalysis]:
    """Return the blocks with q_value, gate_q and gate_open, taken over all of them together.

    Notes
    -----
    Interactions of all targets and orders are one family, their specific parts and main effects others. The targets'
    gates (one-sided tests) are adjusted by Benjamini-Hochberg whatever `method` is; a gate is open where
    gate_q <= FDR_LEVEL.
    """
    if not blocks:
        return []
    main_rule, set_rule = fit_q_values([block.z_histograms for block in blocks], method)
    specific_rule = fit_q_values([block.specific_histograms for block in blocks], method)[1]
    gate_q = adjust(np.concatenate([block.gate_p for block in blocks]), "BH")
    result, start = [], 0
    for block in blocks:
        stop = start + len(block.targets)
        q = gate_q[start:stop]
        start = stop
        is_open = dict(zip(block.targets.tolist(), (q <= FDR_LEVEL).tolist(), strict=True))
        gate = {("spectrum", "gate_q"): Score(q), ("spectrum", "gate_open"): Score((q <= FDR_LEVEL).astype(np.float64))}
        result.append(
            replace(
                block,
                effects={**block.effects, "q_value": main_rule.of(block.effects["p_value"], Stratum(1))},
                interactions={
                    **block.interactions,
                    "q_value": set_rule.of(block.interactions["p_value"], block.strata),
                    "specific_q_value": specific_rule.of(block.interactions["specific_p_value"], block.strata),
                    "gate_open": [is_open[target] for target in block.interactions["target"].tolist()],
                },
                scores={**block.scores, **gate},
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
    if len(present) == 1 and (classes >= 0).all():
        present = present[:0]  # the mean of a class that all targets have is the mean of all
    pooled = [values.mean(axis=1), *(values[:, classes == c].mean(axis=1) for c in present)]
    return np.column_stack(pooled), np.array([MEAN_OF_ALL, *(mean_of_class(int(c)) for c in present)], dtype=np.int64)


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
            specific_q_values=np.ones(len(fitted.reported[target].members)),
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
        "value": column("value"),
        "saturation": column("saturation"),
        "specific": column("specific"),
        "shrunken": column("shrunken"),
        "stderr": column("stderr"),
        "saturation_stderr": column("saturation_stderr"),
        "specific_stderr": column("specific_stderr"),
        "raw": column("raw"),
        "raw_stderr": column("raw_stderr"),
        "p_value": column("p_value"),
        "specific_p_value": column("specific_p_value"),
        "moebius": column("moebius"),
        "joint_surplus": column("joint_surplus"),
        "specific_surplus": column("specific_surplus"),
        "kind": [interaction.kind for interaction in found],
        "class_split": [interaction.class_split for interaction in found],
        "main_effects": [list(interaction.main_effects) for interaction in found],
        "main_effect_stderrs": [list(interaction.main_effect_stderrs) for interaction in found],
        "in_spectrum": [interaction.in_spectrum for interaction in found],
        "proposed_by": [interaction.proposed_by for interaction in found],
        "also_proposed_by": [list(interaction.also_proposed_by) for interaction in found],
    }


def _reference(data: CheckedData, alpha: Any, given: float | None) -> float:
    """The alpha that results are reported at."""
    if data.alphas is None:
        return float(np.ravel(alpha)[0])
    if given is not None:
        if not 0.0 < given < 1.0:
            raise AttributionError(f"reference_alpha must lie in (0, 1); got {given!r}.")
        return float(given)
    values, counts = np.unique(data.alphas, return_counts=True)
    return float(values[counts == counts.max()].max())


def _per(values: Any, count: int, name: str, default: Any) -> NDArray[np.int64]:
    found = np.asarray(default if values is None else values)
    if found.shape != (count,) or found.dtype.kind not in "iu":
        raise AttributionError(f"{name} must be {count} integers; got shape {found.shape} of {found.dtype}.")
    return found.astype(np.int64)
