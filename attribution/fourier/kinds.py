"""What an interaction means: redundancy, synergy, boundary synergy or interference, by the joint surplus.

METHOD.md, "Synergy and redundancy": the sign of I(S) alone says nothing at order three and above (three
copies of one example have I = +1 and J = -2), so the kind goes by J(S) and the members' own main effects.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from attribution.fourier.member_sets import SpectrumError

Kind = Literal["redundancy", "synergy", "boundary_synergy", "interference", "uncertain"]
ClassSplit = Literal["target_class", "cross_class", ""]

KINDS: tuple[Kind, ...] = ("redundancy", "synergy", "boundary_synergy", "interference", "uncertain")

# Two-sided 5%: how far from zero, in standard errors, a main effect must lie to have a sign of its own.
CRITICAL_Z = 1.959963984540054


def kind_of(
    main_effects: Sequence[float],
    main_effect_stderrs: Sequence[float] | None,
    joint_surplus: float,
    higher_is_better: bool = True,
    *,
    critical_z: float = CRITICAL_Z,
) -> Kind:
    """The kind of an interaction among two or more members, from METHOD.md's table.

    main_effects: each member's own effect on the target, in any one unit. main_effect_stderrs: their standard
    errors in the same unit, or None where the effects are exact. joint_surplus: J(S) in any positive unit;
    only its sign counts. higher_is_better: False where a lower output is better; the signs are turned first.

    `uncertain` where a member's main effect lies within critical_z standard errors of zero, is exactly zero,
    or is unknown (NaN, also as a standard error), and where J is zero or NaN: there is no sign to go by.
    Raises SpectrumError for fewer than two members or standard errors of another length or below zero.
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


def class_split(member_classes: Sequence[int] | None, target_class: int | None) -> ClassSplit:
    """The ProxySPEX paper's split: `target_class` when every member has the target's class, else
    `cross_class`.

    Empty where classes are unknown: None, or a negative class (a pooled target, a group of several classes).
    """
    if member_classes is None or target_class is None or target_class < 0:
        return ""
    if len(member_classes) == 0 or any(label < 0 for label in member_classes):
        return ""
    return "target_class" if all(label == target_class for label in member_classes) else "cross_class"
