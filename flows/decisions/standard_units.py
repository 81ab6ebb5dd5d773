"""Outputs that are no margins (losses, predictions), in units in which decisions can weigh targets against each other.

Decisions are made for a bounded utility: of margins it is the probability of the right class. Other outputs are centred
at their mean over the campaign's training sets and divided by their standard deviation first, target by target, so that
the utility is 1/2 for an average training set and no target outweighs the others by its units.
"""

from __future__ import annotations

from typing import Any

import numpy as np

OF_A_SET = ("value", "shrunken", "stderr", "raw", "raw_stderr", "moebius", "joint_surplus")  # in the output's units
OF_MEMBERS = ("main_effects", "main_effect_stderrs")


def standardized(outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scale outputs by target.

    Parameters
    ----------
    outputs : (m, n_targets)

    Returns
    -------
    outputs : (m, n_targets) float64
        Mean 0 and standard deviation 1 over the masks; 0 for a target that never changes.
    scale : (n_targets,) float64
        What was divided by; 1 for a target that never changes.
    """
    centred = outputs - outputs.mean(axis=0, dtype=np.float64)
    scale = centred.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    return centred / scale, scale


def scaled_interactions(interactions: dict[str, list[Any]], scale: np.ndarray) -> dict[str, list[Any]]:
    """Return columns of the interactions table in units of each target's standard deviation.

    Parameters
    ----------
    interactions : dict of list
        Columns; rows of mean targets are returned as they are.
    scale : (n_targets,) float64

    Returns
    -------
    dict of list
    """
    of_row = [float(scale[target]) if target >= 0 else 1.0 for target in interactions["target"]]
    found = dict(interactions)
    for name in OF_A_SET:
        if name in found:
            found[name] = [None if v is None else v / by for v, by in zip(found[name], of_row, strict=True)]
    for name in OF_MEMBERS:
        if name in found:
            found[name] = [
                None if row is None else [value / by for value in row]
                for row, by in zip(found[name], of_row, strict=True)
            ]
    return found
