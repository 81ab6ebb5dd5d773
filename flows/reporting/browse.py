"""Every player and every explained target as data for the page's script, which draws a page of them at a time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from flows.reporting.answer import effect_words
from flows.reporting.data import ReportData, SetView
from flows.reporting.images import Picture
from flows.reporting.players import RANK, PlayerView
from flows.reporting.text import KIND_NAMES, fixed, signed, small_number

SETS_PER_ENTRY = 12  # sets listed in the part of one player or target; the strongest ones
PLAYERS_LISTED = 4_000  # of more players, those that a reader looks for are listed
IMAGES_INLINED = 6_000  # thumbnails in the page's data: about 10 MB


def browse_data(data: ReportData, players: Sequence[PlayerView]) -> Markup:
    """Return the JSON that the page's script reads, safe inside a <script> element."""
    decided = any(view.decision for view in players)
    sets, of_player, of_target = _sets(data)
    images: dict[int, str] = {}

    def inline(rows: Sequence[int]) -> list[int]:
        """Rows whose image the page holds, or still has room for."""
        for row in rows:
            if row not in images and not data.gallery.is_drawn(row) and len(images) < IMAGES_INLINED:
                images[row] = data.gallery.uri(row)
        return [row for row in rows if row in images or data.gallery.is_drawn(row)]

    def picture(found: Picture) -> dict[str, Any]:
        return {"name": found.name, "class": found.class_name, "rows": inline(found.rows), "more": found.more,
                "text": found.text}

    listed = listed_players(players, of_player)
    content: dict[str, Any] = {
        "typical": data.meta.get("typical") is not None,
        "players": [
            {
                "id": view.player,
                **picture(view.picture),
                "decision": view.decision,
                "rank": RANK.get(view.decision, 3),
                "rule": view.rule_name if view.rule else "",
                "reason": view.reason,
                "effect": _short(view.effect.value),
                "effectText": effect_words(view.effect, decided),
                "ownText": effect_words(view.own_class, decided),
                "q": small_number(view.harm_q),
                "instead": view.stands_in,
                "sets": of_player.get(view.player, [])[:SETS_PER_ENTRY],
                "n": len(of_player.get(view.player, [])),
            }
            for view in listed
        ],
        "targets": [
            {
                "id": held.target,
                **picture(data.gallery.target(held.target, drawn=False)),
                "open": held.gate_open,
                "verdict": held.verdict,
                "gate": small_number(held.gate_q),
                "scores": [[name, fixed(held.r2(name).value)] for name in held.estimators],
                "r2": _short(held.r2("spectrum").value),
                "ceiling": fixed(held.noise_ceiling.value),
                "sets": of_target.get(held.target, [])[:SETS_PER_ENTRY],
                "n": len(of_target.get(held.target, [])),
            }
            for held in (*data.faithfulness, *data.mean_faithfulness)
        ],
        "sets": sets,
        "images": images,
    }
    # The contact sheets take the room that is left once every entry has its picture.
    for entry, view in zip(content["players"], listed, strict=True):
        entry |= {"sheet": inline(view.picture.sheet), "size": view.picture.size}
    return script_json(content)


def listed_players(players: Sequence[PlayerView], in_sets: Mapping[int, Sequence[int]]) -> list[PlayerView]:
    """Return the players that the page lists, in their order: all of them up to a number, else a stated part.

    Parameters
    ----------
    players : sequence of PlayerView
    in_sets : mapping of int to sequence
        Sets found of each player.

    Returns
    -------
    list of PlayerView
        First what was decided otherwise than "keep", then members of found sets, then the largest effects.
    """
    if len(players) <= PLAYERS_LISTED:
        return list(players)

    def rank(view: PlayerView) -> tuple[bool, bool, float]:
        size = abs(view.effect.value) if math.isfinite(view.effect.value) else 0.0
        return view.decision in ("", "keep"), view.player not in in_sets, -size

    chosen = {view.player for view in sorted(players, key=rank)[:PLAYERS_LISTED]}
    return [view for view in players if view.player in chosen]


def script_json(content: Any) -> Markup:
    """Return JSON in which nothing can end the <script> element that holds it or open a comment."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # Separators of lines are legal in JSON and were not in JavaScript before 2019.
    for raw in "<>&\u2028\u2029":
        text = text.replace(raw, f"\\u{ord(raw):04x}")
    return Markup(text)


def _sets(data: ReportData) -> tuple[list[dict[str, Any]], dict[int, list[int]], dict[int, list[int]]]:
    """The found sets that some entry lists, and their places in that list by player and by target."""
    of_player: dict[int, list[int]] = {}
    of_target: dict[int, list[int]] = {}
    chosen: list[dict[str, Any]] = []
    for row in data.all_found:
        places = [of_target.setdefault(row.target, []), *(of_player.setdefault(player, []) for player in row.players)]
        shown = any(len(held) < SETS_PER_ENTRY for held in places)
        for held in places:
            held.append(len(chosen) if shown else -1)
        if shown:
            chosen.append(_set(row))
    return chosen, of_player, of_target


def _set(row: SetView) -> dict[str, Any]:
    return {
        "on": row.target,
        "members": list(row.players),
        "kind": KIND_NAMES.get(row.kind, (row.kind,))[0],
        "reading": row.reading,
        "numbers": f"I {signed(row.value)} [{signed(row.low)}, {signed(row.high)}], J {signed(row.joint_surplus)}, "
        f"q {small_number(row.q_value)}",
    }


def _short(value: float) -> float | None:
    """A number for sorting; JSON has no NaN."""
    return float(f"{value:.4g}") if math.isfinite(value) else None
