"""What was decided about one fixed model and tried: pruned networks, and predictions turned over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from markupsafe import Markup

from flows.lenses.removals import compare
from flows.reporting.text import fixed, percent, signed
from flows.runtime.wording import plural
from flows.store.campaign import Campaign
from flows.store.derived import about, read_derived

Rows = Sequence[Mapping[str, Any]]
ARMS = {
    "spectrum": "what acts together (spectrum)",
    "linear": "linear weights (LASSO)",
    "single": "single effects",
    "taylor": "gradients (Taylor)",
    "magnitude": "weight magnitudes",
    "random": "at random",
}
ORDERS = {
    "interactions": "main effects and interactions",
    "main_effects": "main effects alone",
    "linear": "linear weights (LASSO)",
    "occlusion": "occlusion, one at a time",
    "gradients": "integrated gradients",
    "random": "at random",
}


# --- sentences -------------------------------------------------------------------------------------------------------


def prune_sentences(rows: Rows, about_it: Mapping[str, Any]) -> list[str]:
    """Say what pruning found.

    Parameters
    ----------
    rows : sequence of dict
        Of the table `pruning`.
    about_it : dict
        `whole`, the accuracy of the whole network; `n_sets` that the spectrum's rule counted with; `n_finetuned`
        images that every network was trained on first.

    Returns
    -------
    list of str
    """
    if not rows:
        return ["Nothing was pruned."]
    whole, n_sets, n_finetuned = about_it["whole"], about_it["n_sets"], about_it.get("n_finetuned", 0)
    held = f"{plural(n_sets, 'set')} {'is' if n_sets == 1 else 'are'}" if n_sets else "No set is"
    sentences = [
        f"The whole network is right on {percent(whole, 1)} of {plural(rows[0]['n_images'], 'unseen image')}. "
        f"{held} beyond doubt on the mean margin{'' if n_sets else ', so the spectrum decides by main effects alone'}."
    ]
    if n_finetuned:
        sentences.append(f"Every network, the whole one too, was first trained on {n_finetuned} other images alike.")
    mine = sorted((row for row in rows if row["arm"] == "spectrum"), key=lambda row: row["share"])
    harmless = list(takewhile(lambda row: row["high"] >= 0, mine))
    if harmless:
        row = harmless[-1]
        sentences.append(
            f"By the spectrum, no loss is shown up to {percent(row['share'], 0)} removed: "
            f"{percent(row['accuracy'], 1)} right, {_points(row['difference'], row['low'], row['high'])}"
            + (f"; a loss of {fixed(-100 * row['low'], 1)} points is not excluded." if row["low"] < 0 else ".")
        )
    else:
        row = mine[0]
        sentences.append(
            f"By the spectrum, already {percent(row['share'], 0)} removed cost accuracy: "
            f"{_points(row['difference'], row['low'], row['high'])}."
        )
    beaten = [row for row in rows if row["arm"] != "spectrum" and row["beside_low"] > 0]
    ahead = [row for row in rows if row["arm"] not in ("spectrum", "random") and row["beside_high"] < 0]
    n_others = sum(row["arm"] not in ("spectrum", "random") for row in rows)
    n_beaten = sum(row["arm"] != "random" for row in beaten)
    sentences.append(
        f"Of {plural(n_others, 'comparison')} with the other rules, random apart, the spectrum is ahead beyond chance "
        f"in {len(ahead)} and behind in {n_beaten}."
    )
    better = [row for row in rows if row["low"] > 0]
    if better:
        row = max(better, key=lambda row: row["difference"])
        how = "at random" if row["arm"] == "random" else f"by {ARMS[row['arm']]}"
        sentences.append(
            f"{len(better)} of {plural(len(rows), 'choice')} {'lies' if len(better) == 1 else 'lie'} above the whole "
            f"network by their own interval of 95%, where chance alone gives about {fixed(0.025 * len(rows), 1)}; the "
            f"largest: {percent(row['share'], 0)} removed {how}, {_points(row['difference'], row['low'], row['high'])}."
        )
    else:
        sentences.append("No choice is shown to be better than the whole network.")
    return sentences


def flip_sentences(rows: Rows) -> list[str]:
    """Say what turning predictions over found.

    Parameters
    ----------
    rows : sequence of dict
        Of the table `flips`.

    Returns
    -------
    list of str
    """
    table = flip_table(rows)
    if not table:
        return ["No target is right with all players, so there is nothing to turn over."]
    first, alone = (next(row for row in table if row["order_by"] == by) for by in ("interactions", "main_effects"))
    n_targets = first["n_targets"]
    sentences = [
        f"{first['n_flipped']} of {plural(n_targets, 'prediction')} were turned over by removals in the order of "
        f"interactions, {alone['n_flipped']} in that of main effects alone."
    ]
    if first["n_both"]:
        apart, low, high = alone["size_apart"]
        sentences.append(
            f"On the {first['n_both']} that every order but chance turned over, it takes {fixed(first['size'])} "
            f"players with interactions and {fixed(alone['size'])} without ({signed(apart)}{_brackets(low, high)})."
        )
    apart, low, high = alone["deletion_apart"]
    sentences.append(
        f"Mean margin while players leave: {signed(first['deletion'])} with interactions, {signed(alone['deletion'])} "
        f"without ({signed(apart)}{_brackets(low, high)})."
    )
    return sentences


def flip_table(rows: Rows, names: Iterable[str] = tuple(ORDERS)) -> list[dict[str, Any]]:
    """Return a row for each order: sizes of its flips, areas under its curves, and how far from `interactions`.

    Parameters
    ----------
    rows : sequence of dict
        Of the table `flips`.
    names : iterable of str
        Orders to show, the first of them `interactions`.

    Returns
    -------
    list of dict
        `size` and `size_apart` are over targets that every order but the random one turned over (`n_both`); `deletion`
        and `insertion` are mean margins along the curves, over all targets. Each `_apart` is (difference from
        `interactions`, low, high).
    """
    by = {name: {row["target"]: row for row in rows if row["order_by"] == name} for name in names}
    by = {name: found for name, found in by.items() if found}
    if not by:
        return []
    targets = sorted(by["interactions"])
    rules = [name for name in by if name != "random"]
    both = [target for target in targets if all(by[name][target]["flipped"] for name in rules)]
    sizes = {name: np.array([len(by[name][t]["removed"]) for t in both], float) for name in rules}
    areas = {
        what: {name: np.array([np.mean(by[name][t][what]) for t in targets]) for name in by}
        for what in ("deletion", "insertion")
    }
    apart = {what: compare(areas[what], "interactions") for what in areas}
    size_apart = compare(sizes, "interactions")
    return [
        {
            "order_by": name,
            "n_targets": len(targets),
            "n_flipped": sum(bool(by[name][t]["flipped"]) for t in targets),
            "n_both": len(both),
            "size": float(sizes[name].mean()) if name in sizes and both else math.nan,
            "size_apart": size_apart.get(name, (math.nan,) * 3),
            "deletion": float(areas["deletion"][name].mean()),
            "deletion_apart": apart["deletion"][name],
            "insertion": float(areas["insertion"][name].mean()),
            "insertion_apart": apart["insertion"][name],
        }
        for name in by
    ]


def _points(difference: float, low: float, high: float) -> str:
    return f"{signed(100 * difference, 1)} points [{signed(100 * low, 1)}, {signed(100 * high, 1)}]"


def _brackets(low: float, high: float) -> str:
    return f" [{signed(low)}, {signed(high)}]" if math.isfinite(low) else ""


def sure_of_a_lens(campaign: Campaign) -> tuple[str, ...]:
    """Say what was decided about one fixed model and tried, for the first screen.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    tuple of str
    """
    pruned, flipped = about(campaign, "pruning"), about(campaign, "flips")
    said: list[str] = []
    if pruned is not None:
        rows = read_derived(campaign, "pruning").to_pylist()
        said.append(" ".join(prune_sentences(rows, pruned)))
    if flipped is not None:
        said.append(" ".join(flip_sentences(read_derived(campaign, "flips").to_pylist())))
    return tuple(said) or ("Nothing has been decided, so nothing has been tried.",)


# --- the report ------------------------------------------------------------------------------------------------------


def decisions_section(campaign: Campaign) -> Markup:
    """Draw what `coterie prune` and `coterie flip` found; empty where neither ran.

    Parameters
    ----------
    campaign : Campaign

    Returns
    -------
    Markup
    """
    return Markup("").join(
        draw(campaign, found)
        for name, draw in (("pruning", _pruning), ("flips", _flips))
        if (found := about(campaign, name)) is not None
    )


def _pruning(campaign: Campaign, found: Mapping[str, Any]) -> Markup:
    rows = read_derived(campaign, "pruning").to_pylist()
    arms = [arm for arm in ARMS if any(row["arm"] == arm for row in rows)]
    shares = sorted({row["share"] for row in rows})
    at = {(row["arm"], row["share"]): row for row in rows}
    head = Markup("").join(Markup('<th scope="col" class="n">{}</th>').format(ARMS[arm]) for arm in arms)
    lines = Markup("").join(
        Markup('<tr><th scope="row">{}</th>{}</tr>').format(
            f"{percent(share, 0)} ({at[arms[0], share]['n_keep']} stay)",
            Markup("").join(
                Markup('<td class="n">{} <small>[{}, {}]</small></td>').format(
                    percent(at[arm, share]["accuracy"], 1),
                    *(signed(100 * at[arm, share][k], 1) for k in ("low", "high")),
                )
                for arm in arms
            ),
        )
        for share in shares
    )
    return Markup(
        '<section id="pruning"><h2>Parts that can go</h2>{}<p class="intro">Accuracy on images that no rule has seen, '
        "when a share of the components is replaced; in brackets the 95% interval of the difference from the whole "
        "network, in points, over images. The spectrum removes what others stand in for and keeps what works only "
        'together.</p><div class="scroll" tabindex="0"><table><thead><tr><th scope="col">removed</th>{}</tr></thead>'
        "<tbody>{}</tbody></table></div></section>"
    ).format(_said(prune_sentences(rows, found)), head, lines)


def _flips(campaign: Campaign, found: Mapping[str, Any]) -> Markup:
    table = flip_table(read_derived(campaign, "flips").to_pylist())
    lines = Markup("").join(
        Markup(
            '<tr><th scope="row">{}</th><td class="n">{} of {}</td><td class="n">{}{}</td><td class="n">{}{}</td>'
            '<td class="n">{}{}</td></tr>'
        ).format(
            ORDERS[row["order_by"]],
            row["n_flipped"],
            row["n_targets"],
            fixed(row["size"]),
            _small(row, "size"),
            signed(row["deletion"]),
            _small(row, "deletion"),
            signed(row["insertion"]),
            _small(row, "insertion"),
        )  # fmt: skip
        for row in table
    )
    head = Markup("").join(
        Markup('<th scope="col" class="n">{}</th>').format(name)
        for name in ("turned over", "players, mean", "deletion", "insertion")
    )
    return Markup(
        '<section id="flips"><h2>Smallest removals that turn a prediction over</h2>{}<p class="intro">Players leave in '
        "the order of each rule until the margin falls below zero; those that the flip does not need are put back. "
        "Every removal was evaluated. Deletion and insertion are the mean margin as players leave, or come, in that "
        "order: a good order is low for deletion and high for insertion. In brackets the 95% interval of the "
        'difference from the first line, over targets.</p><div class="scroll" tabindex="0"><table><thead><tr>'
        '<th scope="col">order by</th>{}</tr></thead><tbody>{}</tbody></table></div></section>'
    ).format(_said(flip_sentences(read_derived(campaign, "flips").to_pylist())), head, lines)


def _small(row: Mapping[str, Any], what: str) -> Markup:
    _, low, high = row[f"{what}_apart"]
    if row["order_by"] == "interactions" or not math.isfinite(low):
        return Markup("")
    return Markup(" <small>[{}, {}]</small>").format(signed(low), signed(high))


def _said(sentences: Sequence[str]) -> Markup:
    return Markup('<p class="lede">{}</p>').format(" ".join(sentences))
