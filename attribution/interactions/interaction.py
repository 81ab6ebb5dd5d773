"""One interaction as it is reported."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.kinds import class_split, kind_of
from attribution.fourier.spectrum import Spectrum
from attribution.interactions.block import BlockFit


@dataclass(frozen=True)
class Interaction:
    """A set of players that act together on a target, in Banzhaf units (F(S) / sigma^|S|, the target's units).

    value, stderr: value +- 1.96 stderr is the 95% interval of I(S) given that the set was reported. raw, raw_stderr:
    the one-step estimate, inflated by selection. shrunken: its empirical-Bayes posterior mean. p_value: of I(S) = 0;
    q_value: its false-discovery rate in the family it was adjusted in. moebius: M(S), leaning on what was kept of
    larger sets. joint_surplus: J(S). kind, class_split: METHOD.md. main_effects, main_effect_stderrs: the members'.
    in_spectrum: whether cross-fitting kept it for predictions. gate_open: the target's verdict.
    """

    target: int
    members: tuple[int, ...]
    order: int
    value: float
    shrunken: float
    stderr: float
    p_value: float
    q_value: float
    moebius: float
    joint_surplus: float
    kind: str
    class_split: str
    main_effects: tuple[float, ...]
    main_effect_stderrs: tuple[float, ...]
    raw: float
    raw_stderr: float
    in_spectrum: bool
    gate_open: bool


def interactions_of(
    fit: BlockFit,
    target: int,
    *,
    q_values: NDArray[np.float64],
    gate_open: bool,
    higher_is_better: bool = True,
    player_classes: Sequence[int] | None = None,
    target_class: int | None = None,
    name: int | None = None,
) -> list[Interaction]:
    """The reported sets of a fit's target, strongest evidence first; `name` is the target's id (default: its place).

    q_values: (c,) of fit.reported[target].p_value."""
    reported, spectrum = fit.reported[target], fit.spectra[target]
    sigma, n_players, alpha = spectrum.sigma, spectrum.n_players, spectrum.alpha
    adjusted = dict(zip(reported.members, reported.value.tolist(), strict=True))
    larger = [members for members in spectrum.terms if len(members) > 2]
    result = []
    for position, members in enumerate(reported.members):
        order = len(members)
        unit = sigma**order
        value = float(reported.value[position])
        main = [float(fit.main[target, i]) / sigma for i in members]
        errors = [float(fit.main_stderr[target, i]) / sigma for i in members]
        surplus = _surplus(members, adjusted, spectrum, n_players, alpha)
        above = sum(
            spectrum.terms[other] / sigma ** len(other) * (-alpha) ** (len(other) - order)
            for other in larger
            if len(other) > order and set(members) < set(other)
        )
        result.append(
            Interaction(
                target=target if name is None else name,
                members=members,
                order=order,
                value=value / unit,
                shrunken=float(reported.shrunken[position]) / unit,
                stderr=float(reported.stderr[position]) / unit,
                p_value=float(reported.p_value[position]),
                q_value=float(q_values[position]),
                moebius=value / unit + above,
                joint_surplus=surplus,
                kind=kind_of(main, [0.0 if math.isnan(e) else e for e in errors], surplus, higher_is_better),
                class_split=class_split(
                    None if player_classes is None else [int(player_classes[i]) for i in members],
                    target_class,
                ),
                main_effects=tuple(main),
                main_effect_stderrs=tuple(errors),
                raw=float(reported.raw[position]) / unit,
                raw_stderr=float(reported.raw_stderr[position]) / unit,
                in_spectrum=bool(reported.kept[position]),
                gate_open=gate_open,
            )
        )
    return result


def _surplus(
    members: tuple[int, ...],
    adjusted: dict[tuple[int, ...], float],
    spectrum: Spectrum,
    n_players: int,
    alpha: float,
) -> float:
    """J(S) from the selection-adjusted values of S and of its reported subsets; from the spectrum for other subsets."""
    terms = {members: adjusted[members]}
    for order in range(2, len(members)):
        for subset in combinations(members, order):
            value = adjusted.get(subset, spectrum.terms.get(subset, 0.0))
            if value:
                terms[subset] = value
    return Spectrum(terms, n_players, alpha).joint_surplus(members)
