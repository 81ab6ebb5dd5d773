"""The report's drawings: SVG with positions in percent across and pixels down.

So a drawing takes the width of its place while its text keeps its size, and colours follow the page's style
sheet, dark mode included.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.reporting.experiments import Compared
from flows.reporting.text import fixed, is_number, percent, plural
from flows.store.faithfulness import TargetScores

PLOT_HEIGHT, MARGIN = 300, 10
LOWEST_R2 = -0.25  # a worse fit is drawn at this edge, with its number in the tooltip and the table
LABELLED_TARGETS = 80  # with more, the numbers under the columns would touch


def _svg(height: int, label: str, parts: Sequence[Markup], css: str) -> Markup:
    return Markup('<svg class="{}" width="100%" height="{}" role="img" aria-label="{}">{}</svg>').format(
        css, height, label, Markup("").join(parts)
    )


def _scale(low: float, high: float) -> Any:
    """Value -> y in pixels, larger values higher up."""

    def place(value: float) -> str:
        clipped = min(max(value, low), high)
        return f"{MARGIN + (high - clipped) / (high - low) * (PLOT_HEIGHT - 2 * MARGIN):.1f}"

    return place


def faithfulness_figure(rows: list[TargetScores]) -> Markup:
    """Per target, R² of datamodel and spectrum joined by a line, before the noise ceiling's interval.

    Targets whose gate is open come first; within each part they are sorted by the datamodel's R². Empty when
    no target has an R².
    """
    rows = [
        row for row in rows if is_number(row.r2("datamodel").value) and is_number(row.r2("spectrum").value)
    ]
    if not rows:
        return Markup("")
    rows.sort(key=lambda row: (not row.gate_open, -row.r2("datamodel").value))
    n_open = sum(row.gate_open for row in rows)
    lowest = min(row.r2(name).value for row in rows for name in ("datamodel", "spectrum"))
    low = 0.0 if lowest >= 0 else max(LOWEST_R2, math.floor(lowest * 10) / 10)
    tops = [row.r2(name).value for row in rows for name in ("spectrum", "datamodel")]
    tops += [row.noise_ceiling.high for row in rows]
    high = min(1.0, math.ceil(max(value for value in tops if is_number(value)) * 5 + 1e-9) / 5)
    place = _scale(low, high)
    ticks = [tick for tick in (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0) if low <= tick <= high + 1e-9]
    step = 100 / len(rows)
    parts = [
        Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(place(tick))
        for tick in ticks
    ]
    if 0 < n_open < len(rows):
        parts.append(
            Markup('<line class="divide" x1="{0}%" x2="{0}%" y1="0" y2="{1}"/>').format(
                f"{n_open * step:.3f}", PLOT_HEIGHT
            )
        )
    parts += [_column(row, (at + 0.5) * step, step, place) for at, row in enumerate(rows)]
    height = PLOT_HEIGHT + (34 if len(rows) <= LABELLED_TARGETS else 4)
    if len(rows) <= LABELLED_TARGETS:
        parts += [
            Markup(
                '<svg x="{}%" y="{}" class="turned"><text transform="rotate(-90)" dy=".35em">{}</text></svg>'
            ).format(f"{(at + 0.5) * step:.3f}", PLOT_HEIGHT + 2, row.target)
            for at, row in enumerate(rows)
        ]
    axis = [
        Markup('<text x="100%" dx="-8" y="{}" dy=".32em" text-anchor="end">{}</text>').format(
            place(tick), fixed(tick, 1)
        )
        for tick in ticks
    ]
    label = f"Held-out R² of datamodel and spectrum for {plural(len(rows), 'target')}, with noise ceilings"
    heads = Markup('<div class="parts"><span style="width:{}%">{}</span><span>{}</span></div>').format(
        f"{max(n_open * step, 0):.3f}",
        f"gate open ({n_open})" if n_open else "",
        f"no evidence ({len(rows) - n_open})" if n_open < len(rows) else "",
    )
    return Markup('<div class="plot">{}<div>{}{}</div></div>').format(
        Markup('<div class="axis"><svg width="100%" height="{}" aria-hidden="true">{}</svg></div>').format(
            height, Markup("").join(axis)
        ),
        heads,
        _svg(height, label, parts, "faithfulness"),
    )


def _column(row: TargetScores, x: float, step: float, place: Any) -> Markup:
    x_text, parts = f"{x:.3f}%", []
    ceiling, low, high = row.noise_ceiling
    left, width = f"{x - 0.36 * step:.3f}%", f"{0.72 * step:.3f}%"
    if is_number(low) and is_number(high):
        parts.append(
            Markup('<rect class="ceiling-interval" x="{}" width="{}" y="{}" height="{}"/>').format(
                left, width, place(high), f"{max(0.5, float(place(low)) - float(place(high))):.1f}"
            )
        )
    if is_number(ceiling):
        parts.append(
            Markup('<line class="ceiling" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                left, f"{x + 0.36 * step:.3f}%", place(ceiling), place(ceiling)
            )
        )
    state = "open" if row.gate_open else "shut"
    linear, sparse = row.r2("datamodel").value, row.r2("spectrum").value
    datamodel, spectrum = place(linear), place(sparse)
    parts.append(
        Markup('<line class="gain {0}" x1="{1}" x2="{1}" y1="{2}" y2="{3}"/>').format(
            state, x_text, datamodel, spectrum
        )
    )
    parts.append(Markup('<circle class="datamodel" cx="{}" cy="{}" r="3.2"/>').format(x_text, datamodel))
    parts.append(
        Markup('<circle class="spectrum {}" cx="{}" cy="{}" r="3.6"/>').format(state, x_text, spectrum)
    )
    caption = (
        f"Target {row.target}: datamodel {fixed(linear)}, spectrum {fixed(sparse)}, "
        f"noise ceiling {fixed(ceiling)} [{fixed(low)}, {fixed(high)}]"
    )
    return Markup("<g><title>{}</title>{}</g>").format(caption, Markup("").join(parts))


def accuracy_figure(accuracies: dict[str, np.ndarray]) -> Markup:
    """Histogram of the models' accuracy on targets (bars) and audit examples (outline); empty without any."""
    shown = {name: accuracies.get(name, np.zeros(0)) for name in ("target", "audit")}
    shown = {name: values for name, values in shown.items() if len(values)}
    if not shown:
        return Markup("")
    everything = np.concatenate(list(shown.values()))
    low = math.floor(everything.min() * 50) / 50
    high = max(math.ceil(everything.max() * 50) / 50, low + 0.02)
    edges = np.linspace(low, high, 41)
    counts = {name: np.histogram(values, edges)[0] / len(values) for name, values in shown.items()}
    top, height, n_bins = max(float(values.max()) for values in counts.values()), 150, len(edges) - 1
    parts = []
    for at, target_share in enumerate(counts.get("target", ())):
        tall = target_share / top * (height - 6)
        parts.append(
            Markup('<rect class="bar" x="{}%" width="{}%" y="{}" height="{}"/>').format(
                f"{100 * (at + 0.06) / n_bins:.3f}",
                f"{88 / n_bins:.3f}",
                f"{height - tall:.1f}",
                f"{tall:.1f}",
            )
        )
    if "audit" in counts:
        before = float(height)
        for at, share in enumerate(counts["audit"]):
            left, right = f"{100 * at / n_bins:.3f}%", f"{100 * (at + 1) / n_bins:.3f}%"
            level = height - share / top * (height - 6)
            parts += [_outline(left, left, before, level), _outline(left, right, level, level)]
            before = level
    parts.append(Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height))
    for across, anchor in ((0.0, "start"), (0.25, "middle"), (0.5, "middle"), (0.75, "middle"), (1.0, "end")):
        parts.append(
            Markup('<text x="{}%" y="{}" text-anchor="{}">{}</text>').format(
                f"{100 * across:.0f}", height + 18, anchor, percent(low + across * (high - low), 0)
            )
        )
    caption = ", ".join(
        f"{name} accuracy {percent(float(values.mean()))} on average" for name, values in shown.items()
    )
    return _svg(height + 24, f"Histogram of the models’ accuracy: {caption}", parts, "accuracy")


def _outline(x1: str, x2: str, y1: float, y2: float) -> Markup:
    line = Markup('<line class="outline" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>')
    return line.format(x1, x2, y1, y2)


TICK_STEPS = (0.01, 0.02, 0.05, 0.1, 0.2)
ARMS = (("random", "random"), ("main_effects", "main effects alone"), ("embedding", "near-duplicates"))


def removal_curve(rows: Sequence[Compared]) -> Markup:
    """Audit accuracy by share kept: the decided sets and, dashed, the other arms at the same sizes.

    The bar at each size is the interval of the difference to removal at random, drawn around that arm's accuracy.
    Empty with fewer than two sizes.
    """
    known = [row for row in rows if is_number(row.accuracy) and is_number(row.accuracy_against)]
    shares = sorted({row.share for row in known})
    if len(shares) < 2:
        return Markup("")
    full = [row.accuracy_against for row in known if row.against == "full"]
    curves = {
        name: sorted((row.share, row.accuracy_against) for row in known if row.against == name)
        for name, _ in ARMS
    }
    decided = sorted({row.share: row.accuracy for row in known if row.against != "full"}.items())
    levels = [level for curve in (decided, *curves.values()) for _, level in curve] + full
    step = next((step for step in TICK_STEPS if max(levels) - min(levels) <= 5 * step), TICK_STEPS[-1])
    low, high = math.floor(min(levels) / step) * step, math.ceil(max(levels) / step + 1e-9) * step
    place = _scale(low, high)
    first, last = shares[0], shares[-1]

    def across(share: float) -> str:
        return f"{4 + 92 * (share - first) / (last - first):.2f}%"

    ticks = np.arange(low, high + step / 2, step)
    parts = [
        Markup('<line class="grid" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(place(t)) for t in ticks
    ]
    if full:
        parts.append(Markup('<line class="all" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(place(full[0])))
    for row in known:
        if row.against == "random" and is_number(row.low):
            ends = place(row.accuracy_against + row.low), place(row.accuracy_against + row.high)
            parts.append(
                Markup('<line class="whisker" x1="{0}" x2="{0}" y1="{1}" y2="{2}"/>').format(
                    across(row.share), *ends
                )
            )
    for css, curve in (*curves.items(), ("decided", decided)):
        for (share, level), (after, other) in zip(curve, curve[1:], strict=False):
            parts.append(
                Markup('<line class="curve {}" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(
                    css, across(share), across(after), place(level), place(other)
                )
            )
        for share, level in curve:
            caption = f"{percent(share, 0)} kept, {css.replace('_', ' ')}: {percent(level)}"
            parts.append(
                Markup('<circle class="curve {}" cx="{}" cy="{}" r="3.4"><title>{}</title></circle>').format(
                    css, across(share), place(level), caption
                )
            )
    parts += [
        Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(
            across(s), PLOT_HEIGHT + 14, percent(s, 0)
        )
        for s in shares
    ]
    axis = [
        Markup('<text x="100%" dx="-8" y="{}" dy=".32em" text-anchor="end">{}</text>').format(
            place(t), percent(t, 0)
        )
        for t in ticks
    ]
    height = PLOT_HEIGHT + 24
    label = "Accuracy on audit pictures by the share that is kept"
    return Markup('<div class="plot">{}{}</div>').format(
        Markup('<div class="axis"><svg width="100%" height="{}" aria-hidden="true">{}</svg></div>').format(
            height, Markup("").join(axis)
        ),
        _svg(height, label, parts, "removal"),
    )


def interval_figure(value: float, low: float, high: float, extent: float) -> Markup:
    """A value with its interval on a line through zero; `extent` is the value at the line's ends."""
    if not (is_number(value) and extent > 0):
        return Markup("")

    def place(at: float) -> str:
        return f"{50 + 48 * min(max(at / extent, -1), 1):.2f}%"

    whisker = Markup("")
    if is_number(low) and is_number(high):
        whisker = Markup('<line class="whisker" x1="{}" x2="{}" y1="7" y2="7"/>').format(
            place(low), place(high)
        )
    return Markup(
        '<svg class="interval" width="100%" height="14" aria-hidden="true">'
        '<line class="rail" x1="0" x2="100%" y1="7" y2="7"/>'
        '<line class="zero" x1="50%" x2="50%" y1="1" y2="13"/>'
        '{}<circle cx="{}" cy="7" r="3.4"/></svg>'
    ).format(whisker, place(value))
