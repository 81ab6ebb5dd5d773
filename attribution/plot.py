"""A figure of one target's interactions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attribution.errors import AttributionError
from attribution.interactions.interaction import Interaction
from attribution.levels import Z95

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Distinct in hue and lightness, also with a colour vision deficiency.
COLOURS = {
    "redundancy": "#2262a8",
    "synergy": "#c4560f",
    "boundary_synergy": "#d9a514",
    "interference": "#7a4a9c",
    "saturation": "#b9a36b",
    "uncertain": "#8c8c8c",
}


def plot_interactions(
    interactions: Sequence[Interaction],
    names: Sequence[str] | Mapping[int, str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw one target's interactions as bars with 95% intervals, strongest evidence on top.

    Parameters
    ----------
    interactions : sequence of Interaction
        Sets of one target, in the order to draw them, such as `model.interactions(target=0, max_q=0.05)[:20]`.
    names : sequence or mapping of str, optional
        Name of each player, by its number; the numbers themselves if omitted.
    ax : matplotlib.axes.Axes, optional
        Axes to draw in; a new figure if omitted.

    Returns
    -------
    matplotlib.axes.Axes
        One bar for each set: its length is `value`, its colour the kind, its line the 95% interval.

    Raises
    ------
    AttributionError
        For no interactions, interactions of several targets, or a member without a name.

    Examples
    --------
    >>> import matplotlib
    >>> import numpy as np
    >>> from attribution import ProxySPEX, plot_interactions
    >>> matplotlib.use("Agg")  # draws into memory, without a window
    >>> rng = np.random.default_rng(0)
    >>> masks = rng.random((600, 12)) < 0.5
    >>> outputs = (masks[:, 2] | masks[:, 5]) + 0.2 * rng.normal(size=600)
    >>> found = ProxySPEX(max_order=2).fit(masks, outputs).interactions(max_q=0.05)
    >>> ax = plot_interactions(found, names=[f"image {i}" for i in range(12)])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['image 2 + image 5']
    """
    if len(interactions) == 0:
        raise AttributionError("there are no interactions to plot. Give a larger max_q, or another target.")
    targets = sorted({found.target for found in interactions})
    if len(targets) > 1:
        raise AttributionError(f"a plot shows the interactions of one target; got those of targets {targets}.")
    labels = [" + ".join(_name(player, names) for player in found.members) for found in interactions]
    if ax is None:
        import matplotlib.pyplot as plt

        # Inches: 4.2 for the bars, 1.6 for the legend, 0.08 for each character of a label.
        size = (5.8 + 0.08 * max(map(len, labels)), 1.2 + 0.32 * max(len(labels), 3))
        _, ax = plt.subplots(figsize=size, layout="constrained")
    places = range(len(labels))
    for kind, colour in COLOURS.items():
        own = [place for place in places if interactions[place].kind == kind]
        if own:
            values = [interactions[place].value for place in own]
            ax.barh(own, values, height=0.62, color=colour, label=kind.replace("_", " "))
    ax.errorbar(
        [found.value for found in interactions],
        places,
        xerr=[Z95 * found.stderr for found in interactions],
        fmt="none",
        ecolor="#1c1e21",
        elinewidth=1.2,
        capsize=2.5,
    )
    ax.axvline(0.0, color="#1c1e21", linewidth=0.8)
    ax.set_yticks(places, labels)
    ax.set_ylim(max(len(labels), 3) - 0.5, -0.5)  # the first set on top; one or two sets keep the bars' usual height
    ax.set_xlabel("Banzhaf interaction and 95% interval")
    ax.set_title(f"Interactions of target {targets[0]}", loc="left")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(axis="y", length=0)
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return ax


def _name(player: int, names: Sequence[str] | Mapping[int, str] | None) -> str:
    """Name of a player."""
    if names is None:
        return str(player)
    named: Any = names
    try:
        return str(named[player])
    except (IndexError, KeyError) as error:
        raise AttributionError(
            f"player {player} has no name; {len(names)} names were given. Give one for every player."
        ) from error
