"""LightGBM boosters on mask bits as forests, and so as exact spectra.

The booster's text form is parsed: it holds every tree as flat arrays, with leaf values of 17 digits, which parse faster
than the nested JSON of `Booster.dump_model`. LightGBM itself is not imported; any object with `model_to_string`,
`num_trees` and `best_iteration` works.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import SpectrumError
from attribution.proxy.forest import LEAF, Forest

_CATEGORICAL = 1
_DEFAULT_LEFT = 2
_MISSING_ZERO = 1  # bits 2-3 of decision_type: 0 none, 1 zero counts as missing, 2 NaN


def forest_from_lightgbm(
    booster: Any, players: NDArray[np.int64] | None = None, num_iteration: int | None = None
) -> Forest:
    """Read the trees of a LightGBM booster trained on 0/1 features.

    Parameters
    ----------
    booster : lightgbm.Booster, or a fitted scikit-learn wrapper of one
        The booster.
    players : (n_features,) int64 or None
        Player of each feature; None if feature k is player k.
    num_iteration : int or None
        Number of rounds; None for the best round if early stopping found one, else all, as `Booster.predict` does.

    Returns
    -------
    Forest
        Trees whose sum is the booster's raw prediction; `Forest.to_spectrum` gives its exact spectrum.

    Raises
    ------
    SpectrumError
        If the booster has categorical splits, linear leaves or more than one output.

    Notes
    -----
    Masks have no missing values, so of LightGBM's handling of these only "zero counts as missing" matters; it is
    followed. A split that sends absent and present to the same side is followed to that side.
    """
    booster = getattr(booster, "booster_", booster)
    if num_iteration is None:
        num_iteration = booster.best_iteration if booster.best_iteration > 0 else -1
    header, *blocks = booster.model_to_string(num_iteration=num_iteration, importance_type="split").split(
        "\nTree="
    )
    settings = dict(line.partition("=")[::2] for line in header.splitlines())
    if int(settings.get("num_tree_per_iteration", "1")) != 1:
        raise SpectrumError(
            f"the booster has {settings['num_tree_per_iteration']} outputs per round. "
            "Fit one booster per target."
        )
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]] = []
    offset, roots = 0, []
    for block in blocks:
        part = _read_tree(dict(line.partition("=")[::2] for line in block.splitlines()), offset)
        parts.append(part)
        roots.append(offset)
        offset += len(part[0])
    feature, absent, present, value = (
        (np.concatenate([part[column] for part in parts]) if parts else np.empty(0, dtype=dtype))
        for column, dtype in enumerate((np.int64, np.int64, np.int64, np.float64))
    )
    if "average_output" in settings and roots:  # random-forest mode predicts the mean of its trees
        value = value / len(roots)
    if players is not None:
        feature = np.where(feature >= 0, np.asarray(players, dtype=np.int64)[feature], LEAF)
    return Forest(feature, absent, present, value, np.array(roots, dtype=np.int64))


def _read_tree(
    fields: dict[str, str], offset: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Parse one tree's block into (player, absent, present, value), inner nodes first, numbered from `offset`."""
    leaf_values = np.array(fields["leaf_value"].split(), dtype=np.float64)
    if int(fields.get("is_linear", "0")):
        raise SpectrumError(
            "the booster has linear leaves, whose spectrum is not that of a tree. Fit without them."
        )
    n_leaves = int(fields["num_leaves"])
    n_inner = n_leaves - 1
    leaves = np.full(n_leaves, LEAF)
    if n_inner == 0:
        nothing = np.full(1, offset)
        return leaves, nothing, nothing, leaf_values[:1]
    feature = np.array(fields["split_feature"].split(), dtype=np.int64)
    threshold = np.array(fields["threshold"].split(), dtype=np.float64)
    decision = np.array(fields["decision_type"].split(), dtype=np.int64)
    if (decision & _CATEGORICAL).any():
        raise SpectrumError("the booster has categorical splits. Fit it on numeric 0/1 features.")
    left, right = (np.array(fields[side].split(), dtype=np.int64) for side in ("left_child", "right_child"))
    # LightGBM writes leaf k as -(k + 1); here leaves follow the inner nodes.
    left, right = (np.where(child < 0, n_inner + ~child, child) + offset for child in (left, right))
    zero_left = np.where(
        (decision >> 2 & 3) == _MISSING_ZERO, (decision & _DEFAULT_LEFT) > 0, threshold >= 0.0
    )
    one_left = threshold >= 1.0
    pad = np.full(n_leaves, offset)
    return (
        np.concatenate([feature, leaves]),
        np.concatenate([np.where(zero_left, left, right), pad]),
        np.concatenate([np.where(one_left, left, right), pad]),
        np.concatenate([np.zeros(n_inner), leaf_values]),
    )
