"""The first screen answers; the two long lists hold every player and target, whatever their names are."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from flows.errors import StoreError
from flows.experiments.plans import freeze
from flows.reporting import page as page_module
from flows.reporting.browse import script_json
from flows.reporting.images import Gallery
from flows.reporting.text import together
from flows.store.campaign import Campaign
from flows.store.derived import columns, comparison_key, publish
from flows.store.schemas import BRITTLENESS, COMPARISONS, DECISIONS, EXAMPLES
from tests.flows.report_campaign import INTERACTIONS, make_campaign, png, render
from tests.flows.reporting.test_report import Page, browse

NASTY = '</script><img src=x onerror="alert(1)">'


def decide(campaign: Campaign, keep_share: float | None = None, **changes: dict[int, Any]) -> None:
    """Decisions about all players: 0 and 1 go, 2 is to be looked at, the others stay."""
    rows = []
    for player in range(campaign.n_players):
        decision = "drop" if player < 2 else "review" if player == 2 else "keep"
        row: dict[str, Any] = dict.fromkeys(DECISIONS.names) | {
            "player": player, "name": str(player), "decision": decision,
            "stands_in": 3 if player == 0 else -1,
            "rule": ("redundant", "harmful", "harmful")[player] if player < 3 else "worth",
            "reason": f"reason {player}",
            "effect": 0.01 * (player - 4), "effect_low": 0.01 * (player - 5),
            "effect_high": 0.01 * (player - 3), "harm_q": 1e-4 if player == 1 else 0.5,
        }  # fmt: skip
        rows.append(row | {name: held[player] for name, held in changes.items() if player in held})
    analysis = (campaign.analysis or {})["key"]
    counts = {"kept": 5, "dropped": 2, "to_review": 1}
    made = {"key": "d", "analysis": analysis, "counts": counts, "settings": {"keep_share": keep_share}}
    publish(campaign, "decisions", columns(rows, DECISIONS), made)


def compare(campaign: Campaign, **bounds: tuple[float, float]) -> None:
    """A comparison of these decisions with each arm that is given, by its interval over seeds and examples."""
    rows = [
        dict.fromkeys(COMPARISONS.names) | {
            "architecture": "first", "n_keep": size, "share": size / 8, "declared": size == 6, "arm": "curated",
            "against": arm, "class_name": "", "accuracy": 0.75, "accuracy_against": 0.72, "difference": sum(ends) / 2,
            "low": ends[0], "high": ends[1], "smallest": 0.031, "low_seeds": 0.001, "high_seeds": 0.002,
            "level": 0.025, "n_together": 2, "n_examples": 90, "n_seeds": 20,
        }
        for arm, ends in bounds.items()
        for size in ((4, 6) if arm == "random" else (6,))
    ]  # fmt: skip
    key = comparison_key("d", {})
    freeze(campaign, "verify", key, 1, {"settings": {}})
    publish(campaign, "comparisons", columns(rows, COMPARISONS), {"key": key, "sentences": ["In short."]})


def data_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', html, re.S)
    assert found is not None
    content: dict[str, Any] = json.loads(found[1])
    return content


def test_without_a_decision_the_page_names_the_command_that_makes_one(tmp_path: Path) -> None:
    html = render(make_campaign(tmp_path / "toy", n_audit=90))
    assert "<h1>No decision yet: on 2 of 5 test pictures, training pictures act together</h1>" in html
    assert "<code>coterie curate " in html and "coterie verify" not in html
    head = html[: html.index("</header>")]
    assert "Lowest mean effect" in head and "Highest mean effect" in head


@pytest.mark.parametrize(
    ("kind", "command"),
    [("trainer", "coterie curate .*</code>\\s*decides what to keep, from the outputs alone"),
     ("patches", "coterie certify .*</code>\\s*tests the strongest sets one by one")],
)  # fmt: skip
def test_the_command_named_is_one_that_the_game_can_run(tmp_path: Path, kind: str, command: str) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    content = json.loads((campaign.folder / "campaign.json").read_text())
    content["identity"]["game"] = kind
    content["deterministic"] = kind == "patches"
    (campaign.folder / "campaign.json").write_text(json.dumps(content))
    head = render(Campaign(campaign.folder)).partition("</header>")[0]
    assert re.search(command, head) and "trains models" not in head


def test_certify_is_named_only_where_it_finds_a_set_to_try(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign)
    assert "<code>coterie certify " in render(campaign).partition("</header>")[0]
    chance = [{**row, "specific_q_value": 1.0} for row in INTERACTIONS]
    decide(none := make_campaign(tmp_path / "none", n_audit=90, interactions=chance))
    assert "coterie certify" not in render(none).partition("</header>")[0]


def test_the_first_screen_counts_and_shows_what_goes_what_stays_and_what_to_look_at(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign)
    page = Page(html := render(campaign))
    assert "<h1>2 of 8 training pictures can go, 1 needs a look</h1>" in html
    assert "2 Can go" in page.text and "1 Look at these" in page.text and "2 Shown to help" in page.text
    assert "1: makes models worse" in page.text and "1: another picture does its work" in page.text
    thumbs = re.findall(r'class="thumb" href="#player(\d+)"', html)
    assert thumbs == ["1", "0", "2", "7", "6"], "strongest evidence first; those that stay by how much they help"
    assert "Not yet tested by retraining" in page.text and "<code>coterie verify " in html


@pytest.mark.parametrize(
    ("bounds", "headline", "verdict"),
    [
        ({"random": (0.01, 0.05), "full": (-0.02, 0.02)}, "2 of 8 training pictures can go", ": better, by more"),
        ({"random": (-0.01, 0.05)}, "2 of 8 training pictures can go", ": no difference is shown"),
        ({"random": (-0.05, -0.01)}, "Keep them all: without the 2 pictures", ": worse, by more than"),
        ({"random": (0.01, 0.05), "full": (-0.05, -0.01)}, "Keep them all: without the 2 pictures", ": worse, by more"),
    ],
)  # fmt: skip
def test_how_sure_it_is_goes_by_the_interval_over_seeds_and_audit_pictures(
    tmp_path: Path, bounds: dict[str, tuple[float, float]], headline: str, verdict: str
) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign)
    compare(campaign, **bounds)
    page = Page(html := render(campaign))
    assert headline in html
    low, high = (f"{100 * end:+.1f}".replace("-", "−") for end in bounds["random"])
    assert f"points [{low}, {high}]: " in page.text and verdict in page.text
    assert "95% interval over trainings and audit pictures, for 2 comparisons together" in page.text
    assert "below 3.1 points nothing could have been shown" in page.text
    assert "coterie export" in html and "In short." in html
    assert ("Proposed to go" in html) is headline.startswith("Keep")
    assert 'class="removal"' in html, "the removal curve has two sizes"


def test_a_budget_may_cost_accuracy_and_the_headline_says_how_much(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign, keep_share=0.75)
    compare(campaign, random=(0.01, 0.05), full=(-0.05, -0.01))
    html = render(campaign)
    assert "<h1>2 of 8 training pictures can go at a cost of 3.0 points of accuracy, 1 needs a look</h1>" in html
    assert "Can go" in html and "Proposed to go" not in html


def test_models_that_learnt_nothing_decide_nothing(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy")
    decide(campaign)
    html = render(campaign)
    assert "<h1>The models learnt too little from these pictures" in html and "not shown to be above chance" in html
    assert "What to do next" not in html


def test_every_player_and_target_is_in_the_lists_with_its_evidence(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign)
    content = data_of(render(campaign))
    assert [entry["id"] for entry in content["players"]] == list(range(8))
    assert [entry["id"] for entry in content["targets"]] == [0, 1, 2, 3, 4, -1, -3]
    first = content["players"][0]
    assert (first["decision"], first["rule"], first["reason"]) == ("drop", "another picture does its work", "reason 0")
    assert first["effectText"] == "−4.00 points [−5.00, −3.00]" and first["instead"] == 3
    by_player = {entry["id"]: [content["sets"][at]["members"] for at in entry["sets"]] for entry in content["players"]}
    assert sorted(by_player[7]) == [[1, 2, 7]] and [1, 2] in by_player[1]
    assert content["targets"][2]["n"] == 4, "sets behind an open gate that pass the level"
    drawn = set(re.findall(r'<symbol id="x(\d+)"', render(campaign)))
    rows = {str(row) for kind in ("players", "targets") for entry in content[kind] for row in entry["rows"]}
    assert rows <= drawn | set(content["images"]) and not drawn & set(content["images"]), "each image once"


def test_names_and_reasons_can_hold_anything(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign, reason={1: NASTY})
    rows = campaign.read("examples").to_pylist()
    rows[1]["name"] = rows[7]["name"] = f'a/"b"/{NASTY}'
    campaign.write_examples(pa.Table.from_pylist(rows, schema=EXAMPLES))
    html = render(campaign)
    page = Page(html)
    assert NASTY not in html and html.count("</script>") == 2
    assert not [tag for tag, given in page.tags if tag == "img"]
    entry = data_of(html)["players"][1]
    assert entry["reason"] == NASTY and entry["name"].endswith(NASTY)
    assert json.loads(script_json("<!-- & \u2028 é")) == "<!-- & \u2028 é" and "<" not in script_json("<!--")


@pytest.mark.chromium
def test_a_browser_runs_none_of_it(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    decide(campaign, reason={1: NASTY})
    page = Page(dom := browse(render(campaign), tmp_path, "--dump-dom"))
    assert dom.count('class="entry drop"') == 2 and NASTY in page.text and "Stays in its place" in page.text
    images = [given for tag, given in page.tags if tag == "img"]
    assert images and all((given["src"] or "").startswith("data:image/png") for given in images)
    assert not any("onerror" in given for _, given in page.tags)


def test_an_example_goes_by_the_name_its_owner_gave_it() -> None:
    rows = {
        "split": ["train", "train", "target"], "position": [0, 1, 0], "label": [0, 0, 0], "player": [0, 1, -1],
        "image": [png(at) for at in range(3)], "name": ["cat/a.png", None, "cat/t.png"], "group": [None] * 3,
    }  # fmt: skip
    named = Gallery(pa.table(rows), ["cat"])
    assert (named.player(0).name, named.player(0).short) == ("cat/a.png", "a.png")
    assert (named.player(1).name, named.target(0).name) == ("image 1", "cat/t.png")
    grouped = Gallery(pa.table({**rows, "player": [0, 0, -1], "group": ["roll 7", "roll 7", None]}), ["cat"])
    assert (grouped.player(0).name, len(grouped.player(0).symbols)) == ("roll 7", 2)


def test_a_prediction_is_turned_over_for_sure_only_by_its_interval(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy", n_audit=90)
    row = {
        "target": 0, "search": "main_effects", "gate_open": True, "margin_full": 1.5, "predicted_removals": 1,
        "confirmed_removals": 2, "removed": [3, 4], "predicted_margin": -0.2, "margin_after": -0.5,
        "margin_after_low": -0.9, "tried": [1, 2], "margins": [0.1, -0.5], "n_seeds": 6,
    }  # fmt: skip
    rows = [{**row, "margin_after_high": -0.1}, {**row, "target": 1, "margin_after_high": 0.2}]
    publish(campaign, "brittleness", columns(rows, BRITTLENESS), {})
    html = render(campaign)
    part = html[html.index('id="brittleness"') :].split("</section>")[0]
    assert "2 searches, 1 turned over for sure" in part
    assert part.count(">for sure<") == 1 and part.count(">on average<") == 1 and "coterie brittleness" not in html


@pytest.mark.parametrize(
    ("kind", "surplus", "effects", "words"),
    [
        ("redundancy", -0.75, [0.6, 0.4], "help 0.75 less"),
        ("redundancy", 0.57, [-0.6, -0.4], "hurt 0.57 less"),
        ("synergy", 0.4, [0.6, 0.4], "help 0.40 more"),
        ("synergy", -0.4, [-0.6, -0.4], "hurt 0.40 more"),
        ("boundary_synergy", 0.3, [0.6, -0.4], "counts 0.30 more where"),
        ("interference", -0.3, [0.6, -0.4], "counts 0.30 less where"),
        ("uncertain", -0.3, [0.6, 0.0], "−0.30 beyond"),
        ("redundancy", None, [], "help – less"),
    ],
)
def test_a_set_is_put_in_words_that_no_sign_contradicts(
    kind: str, surplus: float | None, effects: list[float], words: str
) -> None:
    assert words in together(kind, surplus, effects)


def test_templates_of_another_version_are_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Templates are read as the page is written: they may have been changed since the program started."""
    campaign = make_campaign(tmp_path / "toy")
    changed = shutil.copytree(page_module.TEMPLATES, tmp_path / "templates")
    with (changed / "report.html.j2").open("a") as handle:
        handle.write("{{ a_later_figure }}")
    monkeypatch.setattr(page_module, "TEMPLATES", changed)
    with pytest.raises(StoreError, match=r"'a_later_figure' is undefined\): they were changed while it ran"):
        render(campaign)
