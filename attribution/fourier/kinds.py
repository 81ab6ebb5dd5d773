"""Kinds of interactions (redundancy, synergy, boundary synergy, interference, saturation), by the joint surplus.

docs/METHOD.md, "Synergy and redundancy": at order three and above the sign of I(S) alone does not decide (three copies
of one example have I = +1 and J = -2), so the kind goes by J(S) and the members' own main effects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from attribution.errors import SpectrumError
from attribution.levels import Z95

Kind = Literal["redundancy", "synergy", "boundary_synergy", "interference", "saturation", "uncertain"]
ClassSplit = Literal["target_class", "cross_class", ""]

KINDS: tuple[Kind, ...] = ("redundancy", "synergy", "boundary_synergy", "interference", "saturation", "uncertain")


def kind_of(
    main_effects: Sequence[float],
    main_effect_stderrs: Sequence[float] | None,
    joint_surplus: float,
    higher_is_better: bool = True,
    *,
    critical_z: float = Z95,
) -> Kind:
    """Name the kind of an interaction among two or more members, by the table of docs/METHOD.md.

    Parameters
    ----------
    main_effects : sequence of float
        Each member's own effect on the target, all in one unit.
    main_effect_stderrs : sequence of float or None
        Their standard errors in the same unit; None for exact effects.
    joint_surplus : float
        J(S) in any positive unit; only its sign counts.
    higher_is_better : bool
        False for a target where a lower output is better; all signs are then reversed first.
    critical_z : float
        Number of standard errors that a main effect must lie from zero to have a sign of its own; 1.96 is a two-sided
        test at 5%.

    Returns
    -------
    str
        One of KINDS; `uncertain` if a member's main effect lies within critical_z standard errors of zero, is exactly
        zero or is unknown (NaN, also as a standard error), or if J is zero or NaN.

    Raises
    ------
    SpectrumError
        If there are fewer than two members, or the standard errors have another length or are negative.

    Examples
    --------
    >>> kind_of([0.5, 0.4], [0.1, 0.1], -0.3)
    'redundancy'
    >>> kind_of([0.5, 0.1], [0.1, 0.1], -0.3)
    'uncertain'
    """
    if len(main_effects) < 2:
        raise SpectrumError(f"an interaction has at least two members; got {len(main_effects)} main effects.")
    stderrs = [0.0] * len(main_effects) if main_effect_stderrs is None else list(main_effect_stderrs)
    if len(stderrs) != len(main_effects):
        raise SpectrumError(
            f"{len(main_effects)} main effects need as many standard errors; got {len(stderrs)}."
        )
    if any(stderr < 0 for stderr in stderrs):
        raise SpectrumError(f"standard errors must not be negative; got {stderrs}.")
    turn = 1.0 if higher_is_better else -1.0
    surplus = turn * float(joint_surplus)
    # Written so that NaN, on either side, falls to `uncertain`.
    for effect, stderr in zip(main_effects, stderrs, strict=True):
        if not abs(effect) > critical_z * stderr:
            return "uncertain"
    if not abs(surplus) > 0.0:
        return "uncertain"
    signs = {math.copysign(1.0, turn * effect) for effect in main_effects}
    if len(signs) == 2:
        return "boundary_synergy" if surplus > 0 else "interference"
    return "synergy" if math.copysign(1.0, surplus) in signs else "redundancy"


def is_saturation(saturation: float, specific: float, specific_stderr: float, *, critical_z: float = Z95) -> bool:
    """Decide whether an interaction is saturation alone: nothing is shown to belong to these members.

    Parameters
    ----------
    saturation, specific, specific_stderr : float
        The two parts of I(S) and the standard error of the second, in one unit.
    critical_z : float
        Number of standard errors from which a specific part counts.

    Returns
    -------
    bool
        True if the specific part lies within critical_z standard errors of zero and is the smaller part.

    Examples
    --------
    >>> is_saturation(-0.4, -0.1, 0.1), is_saturation(-0.4, -0.5, 0.1), is_saturation(-0.01, -0.1, 0.1)
    (True, False, False)
    """
    return abs(specific) < critical_z * specific_stderr and abs(specific) < abs(saturation)


def class_split(member_classes: Sequence[int] | None, target_class: int | None) -> ClassSplit:
    """Compare the members' classes with the target's, as the ProxySPEX paper does.

    Parameters
    ----------
    member_classes : sequence of int or None
        Class of each member; negative for a group of several classes; None if unknown.
    target_class : int or None
        Class of the target; negative for a pooled target; None if unknown.

    Returns
    -------
    str
        `target_class` if every member has the target's class, `cross_class` if not, "" if a class is unknown.
    """
    if member_classes is None or target_class is None or target_class < 0:
        return ""
    if len(member_classes) == 0 or any(label < 0 for label in member_classes):
        return ""
    return "target_class" if all(label == target_class for label in member_classes) else "cross_class"
