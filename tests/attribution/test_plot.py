"""The figure of a target's interactions draws each set's value, interval, kind and members."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from attribution import AttributionError, Interaction, plot_interactions
from attribution.plot import COLOURS

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def no_figures_left() -> Iterator[None]:
    """Close the figures of each test."""
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def interaction(members: tuple[int, ...], value: float, stderr: float, kind: str, target: int = 3) -> Interaction:
    return Interaction(
        target=target,
        members=members,
        order=len(members),
        value=value,
        saturation=0.0,
        specific=value,
        shrunken=value,
        stderr=stderr,
        saturation_stderr=0.0,
        specific_stderr=stderr,
        p_value=0.001,
        q_value=0.01,
        specific_p_value=0.001,
        specific_q_value=0.01,
        moebius=value,
        joint_surplus=value,
        specific_surplus=value,
        kind=kind,
        class_split="",
        main_effects=(0.0,) * len(members),
        main_effect_stderrs=(0.1,) * len(members),
        raw=value,
        raw_stderr=stderr,
        in_spectrum=True,
        gate_open=True,
        proposed_by="screen",
        also_proposed_by=(),
    )


SETS = [
    interaction((4, 9), -0.8, 0.1, "redundancy"),
    interaction((1, 2, 7), 0.5, 0.2, "synergy"),
    interaction((0, 4), -0.4, 0.1, "redundancy"),
    interaction((3, 8), 0.3, 0.15, "uncertain"),
]


def bars_from_top(ax: Axes) -> list[tuple[float, str]]:
    """(length, colour) of each bar, in the order that a reader sees them."""
    bars = [bar for container in ax.containers if hasattr(container, "patches") for bar in container.patches]
    centres = [ax.transData.transform((0.0, bar.get_y() + bar.get_height() / 2))[1] for bar in bars]
    ordered = [bars[place] for place in np.argsort(centres)[::-1]]
    return [(bar.get_width(), to_hex(bar.get_facecolor())) for bar in ordered]


def test_bars_are_the_values_coloured_by_kind_with_the_first_set_on_top() -> None:
    bars = bars_from_top(plot_interactions(SETS))
    assert [length for length, _ in bars] == [found.value for found in SETS]
    assert [colour for _, colour in bars] == [COLOURS[found.kind] for found in SETS]


def test_lines_are_the_95_percent_intervals() -> None:
    ax = plot_interactions(SETS)
    ((lines,),) = [container.lines[2] for container in ax.containers if hasattr(container, "has_xerr")]
    ends = [[tuple(point) for point in segment] for segment in lines.get_segments()]
    for (low, high), found, place in zip(ends, SETS, range(4), strict=True):
        assert low == pytest.approx((found.value - 1.959964 * found.stderr, place), abs=1e-5)
        assert high == pytest.approx((found.value + 1.959964 * found.stderr, place), abs=1e-5)


def test_labels_are_the_members() -> None:
    labels = [label.get_text() for label in plot_interactions(SETS).get_yticklabels()]
    assert labels == ["4 + 9", "1 + 2 + 7", "0 + 4", "3 + 8"]


@pytest.mark.parametrize("names", [list("abcdefghij"), dict(enumerate("abcdefghij"))], ids=["list", "mapping"])
def test_members_are_named(names: list[str] | dict[int, str]) -> None:
    labels = [label.get_text() for label in plot_interactions(SETS, names).get_yticklabels()]
    assert labels == ["e + j", "b + c + h", "a + e", "d + i"]


def test_the_legend_has_each_kind_that_is_drawn_once() -> None:
    legend = plot_interactions(SETS).get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["redundancy", "synergy", "uncertain"]


def test_the_title_has_the_target() -> None:
    assert plot_interactions(SETS).get_title(loc="left") == "Interactions of target 3"


def test_axes_that_are_given_are_drawn_in() -> None:
    import matplotlib.pyplot as plt

    _, (left, right) = plt.subplots(1, 2)
    assert plot_interactions(SETS, ax=right) is right
    assert len(bars_from_top(right)) == 4
    assert left.containers == []


@pytest.mark.parametrize(
    ("interactions", "names", "message"),
    [
        ([], None, "no interactions to plot"),
        ([SETS[0], replace(SETS[1], target=5)], None, r"targets \[3, 5\]"),
        (SETS, ["a", "b"], "player 4 has no name; 2 names were given"),
        (SETS, {4: "e"}, "player 9 has no name"),
    ],
)
def test_what_cannot_be_drawn_is_one_clear_error(
    interactions: list[Interaction], names: list[str] | dict[int, str] | None, message: str
) -> None:
    with pytest.raises(AttributionError, match=message):
        plot_interactions(interactions, names)
