"""A figure of the scores: LDS with intervals beside the ceiling, and what removal costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attribution.scoring.bootstrap import Estimate
from flows.scoring.scoring import Scores
from flows.storage.files import write_atomically

COLOURS = {True: "#2262a8", False: "#8c8c8c"}  # methods that were given, and baselines


def draw(scores: Scores, path: Path) -> None:
    """Write the figure as PNG, SVG or PDF, by the path's suffix.

    Parameters
    ----------
    scores : Scores
    path : Path
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = scores.ranking
    panels = 1 + (scores.removal is not None) + bool(scores.mislabelled)
    figure = Figure(figsize=(1.6 + 3.4 * panels, 1.4 + 0.34 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, sharey=True, squeeze=False)[0]
    _panel(axes[0], names, {name: scores.lds.scores[name].mean for name in names}, scores.given)
    axes[0].set_xlabel(f"mean LDS over {scores.lds.n_targets} targets, 95% interval")
    ceiling = scores.lds.ceiling
    if ceiling.value == ceiling.value:
        axes[0].axvspan(ceiling.low, ceiling.high, color="#c4560f", alpha=0.15, linewidth=0)
        axes[0].axvline(ceiling.value, color="#c4560f", linewidth=1.4)
        axes[0].set_title("ceiling of single runs in orange", fontsize=9, loc="left")
    else:
        axes[0].set_title("ceiling unknown: no mask evaluated twice", fontsize=9, loc="left")
    place = 1
    if scores.removal is not None:
        _panel(axes[place], names, scores.removal.losses, scores.given)
        axes[place].set_xlabel("loss by removal beyond random, s.d.")
        place += 1
    if scores.mislabelled:
        _panel(axes[place], names, {name: found.auc for name, found in scores.mislabelled.items()}, scores.given)
        axes[place].set_xlabel("wrong labels found, AUC")
        axes[place].axvline(0.5, color="#1c1e21", linewidth=0.8, linestyle=":")
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    write_atomically(
        path, lambda temporary: figure.savefig(temporary, dpi=160, format=path.suffix.lstrip(".") or "png")
    )


def _panel(axes: Any, names: list[str], values: Any, given: tuple[str, ...]) -> None:
    for row, name in enumerate(names):
        found: Estimate | None = values.get(name)
        if found is None or found.value != found.value:
            continue
        colour = COLOURS[name in given]
        axes.plot([found.low, found.high], [row, row], color=colour, linewidth=2.2, solid_capstyle="butt")
        axes.plot([found.value], [row], "o", color=colour, markersize=5)
    axes.axvline(0.0, color="#1c1e21", linewidth=0.8)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
