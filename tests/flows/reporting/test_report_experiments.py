"""What the report says of experiments is what their tables say."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from flows.experiments.plans import freeze
from flows.storage.files import write_json, write_table
from flows.store.derived import columns, comparison_key, publish
from flows.store.schemas import CERTIFICATION, COMPARISONS, DECISIONS
from tests.flows.report_campaign import make_campaign, render


def certified_row(target: int, members: list[int], origin: str, verdict: str) -> dict[str, object]:
    known = {
        "experiment": "e", "place": 0, "origin": origin, "matched_to": -1, "target": target, "members": members,
        "order": 2, "kind": "redundancy", "class_split": "", "predicted": -2.5, "measured": -3.25, "low": -4.5,
        "high": -2.0, "verdict": verdict, "n_bases": 41,
    }  # fmt: skip
    return {name: known.get(name) for name in CERTIFICATION.names}


def test_without_experiments_nothing_is_said_of_them(tmp_path: Path) -> None:
    html = render(make_campaign(tmp_path))
    assert "Put to the test" not in html and "What to keep" not in html


def test_verdicts_stand_beside_their_sets_and_in_a_table_of_all_that_was_tried(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    drawn = min(campaign.read("interactions").to_pylist(), key=lambda row: row["q_value"])
    rows = [
        certified_row(drawn["target"], drawn["members"], "reported", "certified"),
        certified_row(drawn["target"], [0, 1], "random", "refuted"),
    ]
    write_table(campaign.folder / "certification.parquet", pa.Table.from_pylist(rows, schema=CERTIFICATION))
    shares = {
        "reported": {"count": 1, "n": 1, "low": 0.025, "high": 1.0},
        "random": {"count": 0, "n": 1, "low": 0.0, "high": 0.975},
    }
    write_json(campaign.folder / "certification.json", {"shares": shares})
    html = render(campaign)
    assert "<b>1 of 1</b> of the strongest sets certified" in html
    assert "<b>0 of 1</b> of the matched random sets certified" in html
    assert html.count("−3.25") >= 3, "in both rows of the table, and as the title of the drawn set's verdict"
    assert "(random)" in html and ">refuted<" in html


def test_a_comparison_is_reported_in_its_own_words_and_a_decision_without_one_is_marked(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    counts = {"kept": 7, "dropped": 3, "to_review": 2}
    analysis = (campaign.analysis or {})["key"]
    publish(campaign, "decisions", columns([], DECISIONS), {"key": "d", "analysis": analysis, "counts": counts})
    assert "7 pictures kept, 3 dropped, 2 to look at" in render(campaign)
    assert "Not yet compared by retraining" in render(campaign)
    said = "The decided set of 7 players did not beat class-balanced random removal."
    key = comparison_key("d", {})
    freeze(campaign, "verify", key, 1, {"settings": {}})
    made_from = {"key": key, "sentences": [said], "warning": "Extrapolates."}
    publish(campaign, "comparisons", columns([], COMPARISONS), made_from)
    html = render(campaign)
    assert said in html and "Extrapolates." in html and "Not yet compared" not in html
    # Other decisions since, from another analysis: what was compared is not said of them.
    publish(campaign, "decisions", columns([], DECISIONS), {"key": "e", "analysis": "other", "counts": counts})
    html = render(campaign)
    assert said not in html and "Extrapolates." not in html and "Not yet compared" in html
    assert "of earlier decisions only" in html and "earlier analysis" in html
