"""Figures of the lenses: sets of regions on their images, and the components of a network layer by layer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.reporting.data import ReportData, SetView, TargetView
from flows.reporting.text import fixed
from flows.store.campaign import Campaign

CELL = 20  # user units of a cell of the heat map
WIDE_CELL = 44  # of a cell with its share in it
LAYERS_WITH_NUMBERS = 10  # up to so many layers
OVERLAY = 96  # user units of an overlay's longer side
SETS_ON_AN_IMAGE = 3  # outlines of one kind on one image


def lens_section(campaign: Campaign, data: ReportData) -> Markup:
    """Draw what only a lens has: overlays for regions, maps of the network for components; empty for other games.

    Parameters
    ----------
    campaign : Campaign
        Of the game `patches` or `components` (`campaign.json` says which).
    data : ReportData
        What the page shows.

    Returns
    -------
    Markup
    """
    game = campaign.meta.get("game")
    if game == "patches":
        return _patches(campaign.meta["region_maps"], data)
    if game == "components":
        return _components(campaign, data)
    return Markup("")


# --- regions ---------------------------------------------------------------------------------------------------------


def _patches(maps: Sequence[Sequence[Sequence[int]]], data: ReportData) -> Markup:
    cards: list[Markup] = []
    for card in data.targets:
        drawn = [item for side in ("synergy", "redundancy") for item in card.sets.get(side, ())]
        if drawn and card.target >= 0:
            regions = np.asarray(maps[card.target if len(maps) > 1 else 0])
            cards.append(_overlays(card, regions))
    body = Markup("").join(cards) or Markup('<p class="none">No target has a set of regions with a kind.</p>')
    return Markup(
        '<section id="regions"><h2>Sets of regions on their images</h2><p class="intro">The strongest sets of each '
        "target, outlined: synergy on the left, redundancy on the right. The number is the interaction, in units of "
        "the margin. Regions that are left out show the fill, which the network reads as well: a set that changes its "
        'sign with the fill belongs to the fill.</p><div class="overlays">{}</div></section>'
    ).format(body)


def _overlays(card: TargetView, regions: np.ndarray) -> Markup:
    parts = [
        _overlay(card, regions, side, card.sets.get(side, ())[:SETS_ON_AN_IMAGE]) for side in ("synergy", "redundancy")
    ]
    return Markup('<figure class="overlay-pair">{}<figcaption>{}</figcaption></figure>').format(
        Markup("").join(parts), card.picture.alt
    )


def _overlay(card: TargetView, regions: np.ndarray, side: str, sets: Sequence[SetView]) -> Markup:
    """One image with the outlines of a few sets; the stroke is thinner for weaker ones."""
    height, width = regions.shape
    unit = OVERLAY / max(height, width)
    label = f"{card.picture.alt}: {side} of " + (
        "; ".join(f"regions {', '.join(map(str, item.players))} ({fixed(item.value)})" for item in sets) or "no set"
    )
    uses = Markup("").join(
        Markup('<use href="#{}" width="{}" height="{}"/>').format(symbol, width * unit, height * unit)
        for symbol in card.picture.symbols[:1]
    )
    outlines = Markup("").join(
        Markup('<path class="outline {}" stroke-width="{}" d="{}"><title>{}</title></path>').format(
            side, 3 - number, outline(np.isin(regions, item.players), unit),
            f"regions {', '.join(map(str, item.players))}: {fixed(item.value)}",
        )  # fmt: skip
        for number, item in enumerate(sets)
    )
    return Markup('<svg class="overlay" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}</svg>').format(
        width * unit, height * unit, label, uses, outlines
    )


def outline(inside: np.ndarray, unit: float) -> str:
    """Return the path around the pixels of a region: every edge between a pixel inside and one outside.

    Parameters
    ----------
    inside : (height, width) bool
    unit : float
        Side of a pixel in user units.

    Returns
    -------
    str
        Segments, such as `M0 0H10`.
    """
    padded = np.pad(inside, 1)
    parts = []
    for row, column in np.argwhere(padded[1:, :] != padded[:-1, :]):
        parts.append(f"M{(column - 1) * unit:g} {row * unit:g}h{unit:g}")
    for row, column in np.argwhere(padded[:, 1:] != padded[:, :-1]):
        parts.append(f"M{column * unit:g} {(row - 1) * unit:g}v{unit:g}")
    return "".join(parts)


# --- components ------------------------------------------------------------------------------------------------------


def _components(campaign: Campaign, data: ReportData) -> Markup:
    layers: list[dict[str, Any]] = campaign.meta["layers"]
    effects = campaign.read("effects", ["target", "player", "effect"])
    individual = np.asarray(effects["target"].to_numpy()) >= 0
    strength = np.zeros(len(layers))
    counts = np.zeros(len(layers))
    players = effects["player"].to_numpy()[individual]
    np.add.at(strength, players, np.nan_to_num(np.abs(effects["effect"].to_numpy()[individual])))
    np.add.at(counts, players, 1.0)
    strength = strength / np.maximum(counts, 1.0)
    energy = interaction_energy(campaign, layers)
    names = layer_names(layers)
    within = np.trace(energy) / energy.sum() if energy.sum() else math.nan
    refused = campaign.meta.get("refused") or {}
    left_out = Markup("").join(Markup("<li>{}: {}</li>").format(name, why) for name, why in refused.items())
    return Markup(
        '<section id="network"><h2>Where in the network</h2><p class="intro">One square is a component, one column a '
        "layer, in the order of execution; the darker, the larger the mean absolute effect over targets.</p>{}"
        '<h3>Interactions between layers</h3><p class="intro">Share of the energy of all interactions in the spectra '
        "by the layers of their members, in the order of execution. {} of it lies within one layer.</p>{}{}</section>"
    ).format(
        _network(layers, names, strength),
        "–" if math.isnan(within) else f"{within:.0%}",
        _heat_map(energy, names),
        Markup("<details><summary>What could not be gated</summary><ul>{}</ul></details>").format(left_out)
        if refused
        else Markup(""),
    )


def layer_names(layers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the layers by depth, each once."""
    return list(dict.fromkeys(row["layer"] for row in sorted(layers, key=lambda row: row["depth"])))


def interaction_energy(campaign: Campaign, layers: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """Return the energy of interactions by the layers of their members, summed over individual targets.

    Parameters
    ----------
    campaign : Campaign
    layers : sequence of dict
        Layer and depth of each player.

    Returns
    -------
    (n_layers, n_layers) float64
        A set's squared coefficient is divided evenly over its pairs of members. The matrix is symmetric.
    """
    names = layer_names(layers)
    place = {name: number for number, name in enumerate(names)}
    of_player = np.array([place[row["layer"]] for row in layers])
    table = campaign.read("interactions", ["target", "members", "value", "in_spectrum"])
    alpha = float(campaign.meta["alpha"])
    sigma = math.sqrt(alpha * (1 - alpha))
    energy = np.zeros((len(names), len(names)))
    for row in table.to_pylist():
        if row["target"] < 0 or not row["in_spectrum"]:
            continue
        members = of_player[row["members"]]
        pairs = [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
        share = (row["value"] * sigma ** len(members)) ** 2 / len(pairs)
        for a, b in pairs:
            energy[a, b] += share / 2
            energy[b, a] += share / 2
    return energy


def _network(layers: Sequence[Mapping[str, Any]], names: Sequence[str], strength: np.ndarray) -> Markup:
    largest = float(strength.max()) or 1.0
    tallest = max(row["index"] for row in layers) + 1
    side = 12
    cells = Markup("").join(
        Markup(
            '<rect x="{}" y="{}" width="{}" height="{}" class="component" fill-opacity="{}"><title>{}</title></rect>'
        ).format(
            names.index(row["layer"]) * (side + 6), row["index"] * side, side - 1, side - 1,
            f"{0.06 + 0.94 * value / largest:.2f}", f"{row['layer']}[{row['index']}]: {fixed(float(value))}",
        )  # fmt: skip
        for row, value in zip(layers, strength, strict=True)
    )
    return Markup(
        '<div class="scroll" tabindex="0"><svg class="network" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'role="img" aria-label="{2} components in {3} layers, darker where the mean effect is larger">{4}</svg></div>'
    ).format(len(names) * (side + 6), tallest * side, len(layers), len(names), cells)


def _heat_map(energy: np.ndarray, names: Sequence[str]) -> Markup:
    total, n_layers = float(energy.sum()), len(names)
    if not total:
        return Markup('<p class="none">No interaction is in a spectrum.</p>')
    largest = float(energy.max())
    cell = WIDE_CELL if n_layers <= LAYERS_WITH_NUMBERS else CELL
    titles = [f"{number} {name}" for number, name in enumerate(names, 1)]
    left, top = 8 * max(map(len, titles)), CELL
    parts: list[Markup] = []
    for row in range(n_layers):
        parts.append(
            Markup(
                '<text x="{}" y="{}" text-anchor="end">{}</text><text x="{}" y="14" text-anchor="middle">{}</text>'
            ).format(
                left - 6, top + row * cell + cell / 2 + 4, titles[row], left + row * cell + cell / 2, row + 1
            )
        )
        for column in range(n_layers):
            share, x, y = energy[row, column] / total, left + column * cell, top + row * cell
            parts.append(
                Markup(
                    '<rect x="{}" y="{}" width="{}" height="{}" class="component" fill-opacity="{}"><title>{}</title>'
                    "</rect>"
                ).format(
                    x, y, cell - 1, cell - 1, f"{0.04 + 0.96 * energy[row, column] / largest:.2f}",
                    f"{names[row]} × {names[column]}: {share:.1%}",
                )  # fmt: skip
            )
            if cell == WIDE_CELL:
                dark = " on-dark" if energy[row, column] > 0.5 * largest else ""
                parts.append(
                    Markup('<text x="{}" y="{}" text-anchor="middle" class="cell{}">{}</text>').format(
                        x + cell / 2, y + cell / 2 + 4, dark, f"{share:.0%}"
                    )
                )
    width, height = left + n_layers * cell, top + n_layers * cell
    return Markup(
        '<div class="scroll" tabindex="0"><svg class="network" width="{0}" height="{1}" viewBox="0 0 {0} {1}" '
        'role="img" aria-label="Share of interaction energy by pair of layers">{2}</svg></div>'
    ).format(width, height, Markup("").join(parts))
