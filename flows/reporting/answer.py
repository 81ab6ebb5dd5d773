"""The report's first screen: what can go, what to look at, what helps, how sure that is, and what to do next."""

from __future__ import annotations

import math
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from attribution.errors import AttributionError
from attribution.experiments.learnability import Learnability
from flows.errors import IncompleteCampaign
from flows.reporting.data import ReportData
from flows.reporting.experiments import Experiments
from flows.reporting.images import Picture
from flows.reporting.lens_decisions import sure_of_a_lens
from flows.reporting.players import Estimate, PlayerView
from flows.reporting.text import fixed, is_number, percent, plural, signed
from flows.reporting.wording import Wording
from flows.runtime.trust import code_named
from flows.storage.files import read_json
from flows.store.campaign import Campaign
from flows.store.configuration import FILE
from flows.store.derived import about
from flows.store.learnability import campaign_learnability, learnability_sentence

SHOWN = 12  # thumbnails in each pile of the first screen


@dataclass(frozen=True)
class Item:
    """A thumbnail of the first screen with the line under it."""

    player: int
    picture: Picture
    line: str


@dataclass(frozen=True)
class Pile:
    """Players with one decision; `note` says what they have in common."""

    key: str
    title: str
    count: int
    note: str
    entries: tuple[Item, ...]


@dataclass(frozen=True)
class Step:
    """A command and what it does."""

    command: str
    does: str


@dataclass(frozen=True)
class Answer:
    """What the first screen prints. sure: sentences about the test by retraining; basis: what all of it rests on."""

    headline: str
    sure: tuple[str, ...]
    tested: bool
    basis: str
    learnt: bool
    piles: tuple[Pile, ...]
    steps: tuple[Step, ...]


def answer(campaign: Campaign, data: ReportData, tried: Experiments, players: Sequence[PlayerView]) -> Answer:
    """Return the first screen's content."""
    words = Wording.of(campaign.meta)
    try:
        asked = campaign.meta.get("margins", True) and not campaign.meta.is_fixed_model
        found = campaign_learnability(campaign) if asked else None
    except (IncompleteCampaign, AttributionError):
        found = None  # no model of role fit is trained, or there is nothing to score it on
    counts = Counter(view.decision for view in players)
    decided = bool(set(counts) - {""})
    learnt = found is None or found.learnt
    if decided:
        piles = _decided_piles(players, _refuted(tried))
    else:  # effects of models at chance order pictures by noise
        piles = _open_piles(players) if learnt else []
    headline = _headline(data, tried, found, counts, decided)
    sure = _sure(tried, decided, len(players), campaign.meta.get("margins", True))
    tested = bool(tried.headline_rows)
    if campaign.meta.is_fixed_model:
        headline, sure = _headline_of_a_lens(data), sure_of_a_lens(campaign)
        tested = any(about(campaign, name) is not None for name in ("pruning", "flips"))
    return Answer(
        headline=words(headline),
        sure=tuple(map(words, sure)),
        tested=tested,
        basis=words(_basis(campaign, data, found)),
        learnt=learnt,
        piles=tuple(_drawn(replace(pile, note=words(pile.note)), data) for pile in piles if pile.count),
        steps=_steps(campaign, tried, decided, learnt, data.has_eligible_sets),
    )


def _headline(
    data: ReportData, tried: Experiments, found: Learnability | None, counts: Counter[str], decided: bool
) -> str:
    noun = "group" if data.gallery.has_groups else "picture"
    if found is not None and not found.learnt:
        return f"The models learnt too little from these {noun}s to decide about any of them"
    if not decided:
        n, n_open = len(data.faithfulness), data.n_open
        if not n_open:
            return f"No decision yet: on none of {plural(n, f'test {noun}')} do training {noun}s visibly act together"
        return f"No decision yet: on {n_open:,} of {plural(n, f'test {noun}')}, training {noun}s act together"
    dropped, review = counts["drop"], counts["review"]
    if _refuted(tried):
        return f"Keep them all: without the {plural(dropped, noun)} proposed for removal, models get worse"
    can_go = f"{dropped:,} of {plural(sum(counts.values()), f'training {noun}')} can go"
    costs = [row for row in tried.headline_rows if row.against == "full" and row.verdict == "worse"]
    if costs:
        can_go += f" at a cost of {fixed(-100 * costs[0].difference, 1)} points of accuracy"
    if not dropped:
        can_go = f"All {plural(sum(counts.values()), f'training {noun}')} should stay"
    return can_go + (f", {review:,} need{'s' if review == 1 else ''} a look" if review else "")


def _headline_of_a_lens(data: ReportData) -> str:
    n, n_open = len(data.faithfulness), data.n_open
    if not n_open:
        return f"On none of {plural(n, 'test picture')} do training pictures visibly act together"
    return f"On {n_open:,} of {plural(n, 'test picture')}, training pictures act together"


def _refuted(tried: Experiments) -> bool:
    """Whether retraining speaks against the decision: worse than removal at random, or worse than removing nothing.

    A decision that had to meet a budget may cost accuracy: fewer pictures is what was asked for.
    """
    bad = {row.against for row in tried.headline_rows if row.verdict == "worse"}
    return "random" in bad or ("full" in bad and not tried.has_budget)


def _decided_piles(players: Sequence[PlayerView], refuted: bool) -> list[Pile]:
    dropped = sorted((v for v in players if v.decision == "drop"), key=_against)
    review = sorted((v for v in players if v.decision == "review"), key=_against)
    kept = sorted((v for v in players if v.decision == "keep"), key=lambda v: -_or(v.effect.low, -math.inf))
    helping = [view for view in kept if view.effect.low > 0]
    rules = Counter(view.rule_name for view in dropped).most_common()
    why = "; ".join(f"{n:,}: {name}" for name, n in rules)
    stay = Pile("keep", "Stay", len(kept), "No picture’s own effect has a 95% interval above 0.", _items(kept))
    if helping:
        note = (
            f"The 95% interval of each one’s own effect lies above 0; of those without an effect 1 in 40 gets here by "
            f"chance. {len(kept):,} stay in all."
        )
        stay = Pile("keep", "Shown to help", len(helping), note, _items(helping))
    return [
        Pile("drop", "Proposed to go" if refuted else "Can go", len(dropped), why, _items(dropped)),
        Pile("review", "Look at these", len(review), "Kept until somebody has looked.", _items(review)),
        stay,
    ]


def _open_piles(players: Sequence[PlayerView]) -> list[Pile]:
    """Without decisions: players by their mean effect."""
    known = [view for view in players if is_number(view.effect.value)]
    hurting = sorted((v for v in known if v.effect.value < 0), key=lambda v: v.effect.value)
    helping = sorted((v for v in known if v.effect.value > 0), key=lambda v: -v.effect.value)
    note = "By the mean effect over the test pictures explained, which may be noise; not yet a decision."
    return [
        Pile("harmful", "Lowest mean effect", len(hurting), note, _items(hurting)),
        Pile("helpful", "Highest mean effect", len(helping), note, _items(helping)),
    ]


def _items(views: Sequence[PlayerView]) -> tuple[Item, ...]:
    return tuple(
        Item(view.player, view.picture, view.rule_name if view.decision != "keep" else "")
        for view in views[:SHOWN]
    )


def _drawn(pile: Pile, data: ReportData) -> Pile:
    """The pile with its pictures inlined."""
    items = tuple(Item(item.player, data.gallery.player(item.player), item.line) for item in pile.entries)
    return Pile(pile.key, pile.title, pile.count, pile.note, items)


def _against(view: PlayerView) -> tuple[float, float]:
    """Strongest evidence against a player first."""
    return (_or(view.harm_q, 2.0) if view.rule == "harmful" else 1.5, _or(view.effect.value, 0.0))


def _or(value: float, otherwise: float) -> float:
    return value if math.isfinite(value) else otherwise


def _sure(tried: Experiments, decided: bool, n_players: int, margins: bool) -> tuple[str, ...]:
    if not decided:
        return ("Nothing has been decided, so nothing has been tested.",)
    rows = {row.against: row for row in tried.headline_rows}
    if not rows:
        return ("Not yet tested by retraining: this is what the analysis predicts.",)
    if not margins:  # no accuracy: the verification's own sentences, in units of the output
        return tuple(tried.sentences[:3])
    said = []
    for against, where in (
        ("random", "with as many others removed at random"),
        ("full", "with nothing removed"),
    ):
        row = rows.get(against)
        if row is None:
            continue
        verdict = {
            "better": "better, by more than chance", "worse": "worse, by more than chance",
        }.get(row.verdict, "no difference is shown")  # fmt: skip
        said.append(
            f"Retrained without what can go, models are right on {percent(row.accuracy)} of the audit pictures; "
            f"{where}, on {percent(row.accuracy_against)}. Difference {signed(100 * row.difference, 1)} points "
            f"[{signed(100 * row.low, 1)}, {signed(100 * row.high, 1)}]: {verdict} ({row.interval_words}; below "
            f"{fixed(100 * row.smallest, 1)} points nothing could have been shown)."
        )
    return tuple(said)


def _basis(campaign: Campaign, data: ReportData, found: Learnability | None) -> str:
    n = data.outcomes["ok"]
    if campaign.meta.is_fixed_model:
        return (
            f"{plural(n, 'mask')}, each with a random part of the training pictures, evaluated by one fixed model: "
            "nothing was trained. Outputs are exact; intervals and tests are about which masks were drawn."
        )
    text = f"{plural(n, 'model')} were trained, each on a random part of the training pictures."
    if is_recorded(campaign):
        text = f"{plural(n, 'recorded row')}, each of a random part of the training pictures; coterie trained nothing."
    return text if found is None else f"{text} {learnability_sentence(campaign, found)}"


def _steps(
    campaign: Campaign, tried: Experiments, decided: bool, learnt: bool, eligible: bool
) -> tuple[Step, ...]:
    folder = shlex.quote(str(campaign.folder))
    named = _with_its_code(campaign, folder)
    if not learnt:  # curate, verify and export would decline; the basis names what may help
        return ()
    if campaign.meta.is_fixed_model:
        return _steps_of_a_lens(campaign, named, eligible)
    if is_recorded(campaign) and not decided:  # nothing can be trained, and what is decided rests on margins
        can_decide = campaign.meta.get("margins", True)
        return (Step(f"coterie curate {named}", "decides what to keep, from the outputs alone"),) if can_decide else ()
    kind, margins = _kind(campaign), campaign.meta.get("margins", True)
    if not decided:
        does = "decides what to keep, from the outputs alone"
        if kind == "retraining":
            does = "trains models that check labels; decides what to keep"
        return (Step(f"coterie curate {named}", does),)
    tests, turns = True, True
    if kind == "trainer":
        tests, turns = bool(campaign.meta.n_audit), bool(margins)
    steps = []
    if tried.outdated:
        steps.append(Step(f"coterie curate {named}", "decides again: the analysis has changed since"))
    if is_recorded(campaign):
        return (*steps, Step(f"coterie export {folder}", "writes the decisions as lists and as a filtered data set"))
    if tests and not tried.headline_rows:
        steps.append(
            Step(f"coterie verify {named}", "tests the decision by retraining, against removal at random")
        )
    else:
        steps.append(
            Step(f"coterie export {folder}", "writes the decisions as lists and as a filtered data set")
        )
    if not tried.trials and eligible:
        steps.append(Step(f"coterie certify {named}", "tests the strongest sets one by one"))
    if turns and not tried.flips:
        steps.append(Step(f"coterie brittleness {named}", "finds how few removals turn a prediction over"))
    return tuple(steps)


def _steps_of_a_lens(campaign: Campaign, folder: str, eligible: bool) -> tuple[Step, ...]:
    """Nothing is trained, so nothing is curated: parts are pruned, predictions turned over, sets tried one by one."""
    steps = []
    if campaign.meta.get("game") == "components" and about(campaign, "pruning") is None:
        steps.append(Step(f"coterie prune {folder}", "chooses parts that can go, and judges them on unseen images"))
    if campaign.meta.get("margins", True) and about(campaign, "flips") is None:
        steps.append(Step(f"coterie flip {folder}", "finds how few removals turn a prediction over, and tries them"))
    if about(campaign, "certification") is None and eligible:
        steps.append(Step(f"coterie certify {folder}", "tests the strongest sets one by one, on masks of their own"))
    return tuple(steps)


def _with_its_code(campaign: Campaign, folder: str) -> str:
    """The folder, with the settings that name code of the user's own: no command runs what a folder alone names."""
    kept = campaign.folder / FILE
    code = code_named(read_json(kept)) if kept.is_file() else {}
    return " ".join([folder, *(f"{key}={shlex.quote(value)}" for key, value in code.items())])


def is_recorded(campaign: Campaign) -> bool:
    """Whether the outputs were imported, so that nothing can be evaluated."""
    return _kind(campaign) == "recorded"


def _kind(campaign: Campaign) -> str:
    """game.kind of a campaign."""
    identity = campaign.meta.identity
    return str(identity.get("game.kind") or identity.get("game") or "retraining")


def effect_words(effect: Estimate, decided: bool) -> str:
    """An effect with its interval, in points of probability where decisions measured it."""
    if not is_number(effect.value):
        return ""
    if not decided:
        return f"{signed(effect.value)} on the mean output"
    bounds = f" [{signed(100 * effect.low)}, {signed(100 * effect.high)}]" if is_number(effect.low) else ""
    return f"{signed(100 * effect.value)} points{bounds}"
