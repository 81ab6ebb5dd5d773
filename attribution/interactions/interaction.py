"""Interaction: one reported set of players on one target."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from attribution.fourier.kinds import class_split, is_saturation, kind_of
from attribution.fourier.spectrum import Spectrum
from attribution.interactions.block import BlockFit
from attribution.interactions.proposers import proposers_of


@dataclass(frozen=True)
class Interaction:
    """A set of players that act together on a target, with its estimate and evidence.

    Values are in Banzhaf units, I(S) = F(S) / sigma^|S| with sigma^2 = alpha (1 - alpha): the unit of the target's
    output.

    Attributes
    ----------
    target : int
        Number of the target.
    members : tuple of int
        Players of the set, ascending.
    order : int
        Number of members.
    value, stderr : float
        `value` +- 1.96 `stderr` is the 95% interval of I(S), given that the set was reported.
    saturation, saturation_stderr : float
        The part of I(S) that any members of these main effects have, because the output saturates (linear/link.py), and
        its standard error. 0 for three and more members.
    specific, specific_stderr : float
        `value` - `saturation`: the part that belongs to these members, and its standard error.
    shrunken : float
        `saturation` plus the empirical-Bayes posterior mean of the rest. Use it to plan an experiment.
    p_value, specific_p_value : float
        Two-sided p-values of I(S) = 0, and of a specific part of 0.
    q_value, specific_q_value : float
        False discovery rate of the set within its family: the call of `ProxySPEX.fit`, or the campaign. Interactions
        are one family, specific parts another.
    moebius : float
        Moebius coefficient M(S): the interaction at the empty training set, an extrapolation. It depends on the larger
        sets in the spectrum.
    joint_surplus : float
        J(S): the members' joint effect minus the sum of their effects alone. Equal to I(S) for a pair.
    specific_surplus : float
        The same of the specific parts of the set and of its subsets. Its sign decides the kind.
    kind : {"redundancy", "synergy", "boundary_synergy", "interference", "saturation", "uncertain"}
        By the signs of the specific joint surplus and of the members' main effects (`attribution.fourier.kinds`).
        "saturation" where nothing specific is seen beside the saturation part.
    class_split : {"target_class", "cross_class", ""}
        Whether all members have the target's class; "" if classes were not given.
    main_effects, main_effect_stderrs : tuple of float
        Main effect of each member on the target, and its standard error.
    raw, raw_stderr : float
        Estimate and standard error without regard to the selection. Reported sets are selected for size, so `raw`
        exaggerates on average.
    in_spectrum : bool
        True if the set has a coefficient in the target's spectrum.
    gate_open : bool
        True if the target passed the interaction test.
    proposed_by : {"proxy", "screen", "heredity", "sieve", "SPEX"}
        Who proposed the set, and so how it was tested (`attribution.interactions.proposers`).
    also_proposed_by : tuple of str
        Who else would have proposed it.

    Examples
    --------
    >>> import numpy as np
    >>> from attribution import Interaction, ProxySPEX
    >>> masks = np.random.default_rng(0).random((400, 10)) < 0.5
    >>> outputs = masks[:, 3] * masks[:, 7] + 0.1 * np.random.default_rng(1).normal(size=400)
    >>> found = ProxySPEX(max_order=2).fit(masks, outputs).interactions()[0]
    >>> isinstance(found, Interaction), found.members, found.order, found.kind
    (True, (3, 7), 2, 'synergy')
    >>> bool(abs(found.value - 1.0) < 2 * found.stderr)
    True
    """

    target: int
    members: tuple[int, ...]
    order: int
    value: float
    saturation: float
    specific: float
    shrunken: float
    stderr: float
    saturation_stderr: float
    specific_stderr: float
    p_value: float
    q_value: float
    specific_p_value: float
    specific_q_value: float
    moebius: float
    joint_surplus: float
    specific_surplus: float
    kind: str
    class_split: str
    main_effects: tuple[float, ...]
    main_effect_stderrs: tuple[float, ...]
    raw: float
    raw_stderr: float
    in_spectrum: bool
    gate_open: bool
    proposed_by: str
    also_proposed_by: tuple[str, ...]


def interactions_of(
    fit: BlockFit,
    target: int,
    *,
    q_values: NDArray[np.float64],
    specific_q_values: NDArray[np.float64],
    gate_open: bool,
    higher_is_better: bool = True,
    player_classes: Sequence[int] | None = None,
    target_class: int | None = None,
    name: int | None = None,
) -> list[Interaction]:
    """List the reported sets of a target as interactions, strongest evidence of a specific part first.

    Parameters
    ----------
    fit : BlockFit
    target : int
        Position of the target in the fit.
    q_values, specific_q_values : (c,) float64
        q-values of `fit.reported[target].p_value` and `specific_p_value`.
    gate_open : bool
        Whether the target passed the interaction test.
    higher_is_better : bool
        False if a lower output is better: signs are turned before kinds are named.
    player_classes : sequence of int, optional
        Class of every player.
    target_class : int, optional
    name : int, optional
        Number of the target in the results; its position if omitted.

    Returns
    -------
    list of Interaction
    """
    reported, spectrum = fit.reported[target], fit.spectra[target]
    sigma, n_players, alpha = spectrum.sigma, spectrum.n_players, spectrum.alpha
    adjusted = dict(zip(reported.members, reported.value.tolist(), strict=True))
    specific = dict(zip(reported.members, reported.specific.tolist(), strict=True))
    by_link = _PairSaturation(fit, target)
    larger = [members for members in spectrum.terms if len(members) > 2]
    result = []
    for position, members in enumerate(reported.members):
        order = len(members)
        unit = sigma**order
        value = float(reported.value[position])
        main = [float(fit.main[target, i]) / sigma for i in members]
        errors = [float(fit.main_stderr[target, i]) / sigma for i in members]
        surplus = _surplus(members, adjusted, spectrum, by_link, n_players, alpha)
        own_surplus = _surplus(members, specific, spectrum, None, n_players, alpha)
        parts = [float(column[position]) / unit for column in (
            reported.saturation, reported.specific, reported.saturation_stderr, reported.specific_stderr
        )]  # fmt: skip
        kind = kind_of(main, [0.0 if math.isnan(e) else e for e in errors], own_surplus, higher_is_better)
        if is_saturation(parts[0], parts[1], parts[3]):
            kind = "saturation"
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
                saturation=parts[0],
                specific=parts[1],
                saturation_stderr=parts[2],
                specific_stderr=parts[3],
                shrunken=float(reported.shrunken[position]) / unit,
                stderr=float(reported.stderr[position]) / unit,
                p_value=float(reported.p_value[position]),
                q_value=float(q_values[position]),
                specific_p_value=float(reported.specific_p_value[position]),
                specific_q_value=float(specific_q_values[position]),
                moebius=value / unit + above,
                joint_surplus=surplus,
                specific_surplus=own_surplus,
                kind=kind,
                class_split=class_split(
                    None if player_classes is None else [int(player_classes[i]) for i in members],
                    target_class,
                ),
                main_effects=tuple(main),
                main_effect_stderrs=tuple(errors),
                raw=float(reported.raw[position]) / unit,
                raw_stderr=float(reported.raw_stderr[position]) / unit,
                in_spectrum=bool(reported.in_spectrum[position]),
                gate_open=gate_open,
                proposed_by=proposers_of(reported.proposed_by[position])[0],
                also_proposed_by=proposers_of(reported.proposers[position] & ~reported.proposed_by[position]),
            )
        )
    return result


class _PairSaturation:
    """The saturation part of any pair on one target, as a coefficient at the reported alpha."""

    def __init__(self, fit: BlockFit, target: int) -> None:
        self.fit, self.at = fit, slice(target, target + 1)

    def __call__(self, pair: tuple[int, ...]) -> float:
        if len(pair) != 2:
            return 0.0
        found = self.fit.link.at(self.at).pair_coefficient(self.fit.link_main[self.at], np.array([pair]))
        return float(found[0, 0]) * self.fit.mixture.unit(2)


def _surplus(
    members: tuple[int, ...],
    adjusted: dict[tuple[int, ...], float],
    spectrum: Spectrum,
    by_link: _PairSaturation | None,
    n_players: int,
    alpha: float,
) -> float:
    """J(S) from the selection-adjusted values of S and of its reported subsets; from the spectrum for other subsets.

    by_link: adds the saturation part of those; None for the specific joint surplus."""
    terms = {members: adjusted[members]}
    for order in range(2, len(members)):
        for subset in combinations(members, order):
            value = adjusted.get(subset)
            if value is None:
                value = spectrum.terms.get(subset, 0.0) + (0.0 if by_link is None else by_link(subset))
            if value:
                terms[subset] = value
    return Spectrum(terms, n_players, alpha).joint_surplus(members)
