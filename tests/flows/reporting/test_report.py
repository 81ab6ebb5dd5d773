"""The report says what the tables say, needs nothing from outside, and a browser draws it."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from flows.errors import IncompleteCampaign, StoreError
from flows.store import schemas
from flows.store.campaign import Campaign
from tests.flows.report_campaign import (
    FAITHFULNESS,
    INTERACTIONS,
    faithfulness_row,
    interaction,
    make_campaign,
    render,
)


class Page(HTMLParser):
    """Tags, attributes and the <data> values under each drawn set."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.sets: list[dict] = []
        self.words: list[str] = []
        self._hidden = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        self._hidden = tag if tag in ("style", "script") else ""
        if tag == "article":
            css = (given.get("class") or "").split()
            self.sets.append(
                {"kind": css[1] if css[0] == "set" else "", "weak": "weak" in css, "values": [], **given}
            )
        if tag == "data" and self.sets:
            self.sets[-1]["values"].append(float(given["value"] or "nan"))

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def drawn(self, target: int) -> dict[tuple[int, ...], dict]:
        chosen = [item for item in self.sets if item["kind"] and item["data-target"] == str(target)]
        return {tuple(map(int, item["data-members"].split())): item for item in chosen}


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    return render(make_campaign(tmp_path_factory.mktemp("report") / "toy"))


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_every_drawn_set_carries_the_numbers_of_its_row(page: Page) -> None:
    rows = {(row["target"], tuple(row["members"])): row for row in INTERACTIONS}
    drawn = {
        (int(item["data-target"]), key): item
        for t in {r["target"] for r in INTERACTIONS}
        for key, item in page.drawn(t).items()
    }
    assert set(drawn) == set(rows) - {(2, (4, 5))}, "the set that misses the level is not drawn"
    for key, item in drawn.items():
        row = rows[key]
        assert item["kind"] == row["kind"]
        expected = [*row["main_effects"], row["value"], row["joint_surplus"], row["shrunken"]]
        assert item["values"][: len(expected)] == expected


def test_intervals_are_the_value_plus_and_minus_1_96_standard_errors(html: str) -> None:
    assert "[−0.95, −0.55]" in html  # -0.75 ± 1.96 * 0.1
    assert "[+0.24, +0.63]" in html  # 0.4321 ± 1.96 * 0.1


def test_the_headline_counts_open_gates_and_the_sets_found_on_them(page: Page) -> None:
    assert "2 of 5 targets show interactions beyond main effects and saturation" in page.text
    assert "6 interactions were found on them, in 5 distinct sets" in page.text
    assert "3 redundancies, 1 synergy, 1 boundary synergy and 1 of uncertain kind" in page.text
    assert "2 / 5" in page.text


def test_targets_come_by_evidence_and_closed_gates_are_kept_apart(html: str) -> None:
    order = re.findall(r'id="target(-?\d+)"', html)
    assert order == ["0", "2", "4", "-1", "-3"]
    closed = html[html.index('<details class="closed"') :]
    closed = closed[: closed.index("</section>")]
    assert 'id="target4"' in closed and 'id="target0"' not in closed
    assert "no evidence on this target" in closed


def test_every_faithfulness_value_is_in_the_table(html: str) -> None:
    for row in FAITHFULNESS:
        line = html[html.index(f'<tr data-target="{row.target}">') :].split("</tr>")[0]
        assert f'data-score="noise_ceiling"><data value="{row.noise_ceiling.value!r}">' in line
        for name in ("datamodel", "proxy", "spectrum"):
            assert f'data-score="r2 {name}"><data value="{row.r2(name).value!r}">' in line


def test_medians_accuracy_and_outcomes_are_those_of_the_tables(page: Page) -> None:
    individual = [row for row in FAITHFULNESS if row.target >= 0]
    datamodel, spectrum = (
        np.median([row.r2(name).value for row in individual]) for name in ("datamodel", "spectrum")
    )
    assert f"{datamodel:.2f} → {spectrum:.2f}" in page.text
    assert f"{np.median([row.noise_ceiling.value for row in individual]):.2f}" in page.text
    ok = np.arange(2, 24)
    assert f"{100 * np.mean(0.7 + 0.004 * ok):.1f}%" in page.text
    assert "22 ok" in page.text and "2 diverged" in page.text and "0.25 s" in page.text


def test_recurring_sets_are_counted_over_individual_targets(page: Page) -> None:
    again = [item for item in page.sets if (item.get("class") or "").startswith("again")]
    assert [item["data-members"] for item in again] == ["1 2"]
    assert again[0]["values"][0] == pytest.approx(-0.65)
    assert "2 targets, mean I −0.65" in page.text


def test_what_was_run_is_reported(page: Page) -> None:
    for sentence in (
        "alpha = 0.3",
        "campaign 11, data set 3, attribution 5",
        "torch 2.15.0",
        "123,456",
        "4,321 sets could not be tested on any target",
        "retrain 3.3 min",
        "Benjamini–Yekutieli",
        "2026-03-01 10:00",
        "22 fitted on, 4 held out, 2 excluded",
        "At alpha = 0.3 groups of copies that together change an output by 2 residual standard deviations are",
    ):
        assert sentence in page.text


def test_nothing_is_loaded_from_outside(html: str, page: Page) -> None:
    assert [given.get("id") for tag, given in page.tags if tag == "script"] == ["data", None]
    for tag, given in page.tags:
        assert tag not in ("link", "iframe", "base", "object", "embed")
        for name in ("src", "href", "xlink:href", "srcset", "poster", "action"):
            value = given.get(name)
            inside = value is None or re.match(r"#|data:image/(png|webp);base64,", value)
            assert inside, (tag, name, value)
    assert not re.search(r"@import|url\(|https?:", html)


def test_every_reference_to_a_picture_has_its_symbol_and_each_is_inlined_once(page: Page) -> None:
    symbols = [given["id"] for tag, given in page.tags if tag == "symbol"]
    used = {(given["href"] or "")[1:] for tag, given in page.tags if tag == "use"}
    assert len(symbols) == len(set(symbols))
    assert used and used <= set(symbols)


def test_pictures_and_figures_have_a_text_alternative(page: Page) -> None:
    pictures = [given for tag, given in page.tags if given.get("role") == "img"]
    assert pictures and all(given.get("aria-label") for given in pictures)


def test_class_names_are_escaped(html: str, page: Page) -> None:
    assert "<script>alert" not in html and html.count("<script") == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<script>alert(1)</script>" in page.text


def test_no_interactions_at_all_is_said_plainly(tmp_path: Path) -> None:
    faithfulness = [faithfulness_row(target, False) for target in range(5)]
    page = Page(render(make_campaign(tmp_path / "toy", interactions=[], faithfulness=faithfulness)))
    assert "None of the 5 targets explained shows interactions beyond main effects and saturation" in page.text
    assert "no proof that training examples act alone" in page.text
    assert "No gate is open" in page.text and not page.sets


def test_an_open_gate_without_a_set_that_passes_is_not_called_a_finding(tmp_path: Path) -> None:
    rows = [interaction(0, [1, 2], q_value=0.4), interaction(0, [1, 3], q_value=math.nan)]
    faithfulness = [faithfulness_row(0, True), faithfulness_row(1, False)]
    page = Page(render(make_campaign(tmp_path / "toy", interactions=rows, faithfulness=faithfulness)))
    assert "1 of 2 targets shows interactions" in page.text
    assert "no single set passes the false discovery rate" in page.text
    assert all(item["weak"] for item in page.drawn(0).values()) and len(page.drawn(0)) == 2
    assert page.text.count("q above 0.10") == 2


def test_without_held_out_masks_faithfulness_is_said_to_be_unmeasured(tmp_path: Path) -> None:
    faithfulness = [faithfulness_row(target, target == 0, measured=False) for target in range(5)]
    html = render(make_campaign(tmp_path / "toy", faithfulness=faithfulness))
    assert "faithfulness was not measured" in html
    assert not re.search(r"\bnan\b", Page(html).text)


def test_groups_show_four_of_their_images_and_how_many_more(tmp_path: Path) -> None:
    html = render(make_campaign(tmp_path / "toy", examples_per_player=6, size=(40, 24), channels=3))
    card = html[html.index('id="target0"') :].split("</article>")[0]
    member = card[card.index('<figure class="member">') :].split("</figure>")[0]
    assert member.count("<use ") == 4 and ">+2<" in member and ">group 3<" in member
    assert 'viewBox="0 0 40 24"' in html


def test_averages_over_targets_are_named_and_drawn_as_mosaics(html: str) -> None:
    mean = html[html.index('id="target-1"') :].split("</article>")[0]
    assert "Mean of all test pictures" in mean and "picture large mosaic" in mean
    of_class = html[html.index('id="target-3"') :].split("</article>")[0]
    assert "Mean of a class" in of_class and "&lt;script&gt;" in of_class


def test_limits_bound_what_is_drawn_and_say_what_is_left_out(tmp_path: Path) -> None:
    rows = [interaction(0, [first, 7], q_value=1e-6 * (first + 1)) for first in range(7)]
    html = render(
        make_campaign(tmp_path / "toy", interactions=rows + INTERACTIONS[2:4]), n_targets=1, sets_per_target=3
    )
    assert re.findall(r'id="target(-?\d+)"', html) == ["0", "-1"], "one individual target and one average"
    assert sorted(Page(html).drawn(0)) == [(0, 7), (1, 7), (2, 7)]
    assert "and 4 more" in html and "1 more target with interactions" in html


def test_large_images_are_reduced(tmp_path: Path) -> None:
    html = render(make_campaign(tmp_path / "toy", size=(400, 300), channels=3))
    assert 'viewBox="0 0 96 72"' in html and len(html) < 900_000


def test_empty_records_and_configuration_are_tolerated(tmp_path: Path) -> None:
    html = render(make_campaign(tmp_path / "toy"), config={}, runs=[{}, {"trained_models": None}])
    assert "2 of 5 targets" in html


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy")
    rows = campaign.read("examples").to_pylist()
    rows[1]["image"] = rows[1]["image"][:40]
    campaign.write_examples(pa.Table.from_pylist(rows, schema=schemas.EXAMPLES))
    with pytest.raises(StoreError, match="row 1 of examples.parquet holds no readable image"):
        render(campaign)


def test_without_an_analysis_the_missing_stage_is_named(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path / "toy")
    (campaign.folder / "analysis.json").unlink()
    with pytest.raises(IncompleteCampaign, match="coterie attribute"):
        render(campaign)


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium on this machine")


def browse(html: str, folder: Path, *arguments: str, width: int = 1280) -> str:
    (folder / "report.html").write_text(html, encoding="utf-8")
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--hide-scrollbars",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    command = [
        chromium(),
        *flags,
        f"--user-data-dir={folder / 'profile'}",
        f"--window-size={width},2400",
        *arguments,
        (folder / "report.html").as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.chromium
def test_a_browser_draws_the_page(html: str, tmp_path: Path) -> None:
    shot = tmp_path / "report.png"
    dom = browse(html, tmp_path, f"--screenshot={shot}", "--dump-dom")
    assert "2 of 5 targets show interactions" in dom and "<script>alert" not in dom
    assert len(re.findall(r'id="player\d+"', dom)) == 8, "the script has drawn every player"
    assert len(re.findall(r'id="target-entry-?\d+"', dom)) == 7
    assert "8 found, 8 shown" in dom
    pixels = np.asarray(Image.open(shot).convert("RGB")).astype(int)
    assert pixels.shape[:2] == (2400, 1280)
    # A blank page has one colour; this one has text on paper, noise for pictures, and both hues.
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 300
    red, blue = pixels[..., 0], pixels[..., 2]
    assert (blue - red > 60).sum() > 500, "the hue of redundancy is drawn"
    assert (red - blue > 60).sum() > 200, "the hue of synergy is drawn"
    assert (np.ptp(pixels, axis=1).max(axis=1) > 60).mean() > 0.5, (
        "content all down the page, not only at the top"
    )


@pytest.mark.chromium
def test_nothing_is_wider_than_a_narrow_screen(html: str, tmp_path: Path) -> None:
    probe = (
        "<script>const d=document.documentElement;document.title="
        "`${d.scrollWidth} of ${d.clientWidth}`;</script></body>"
    )
    (tmp_path / "inner.html").write_text(html.replace("</body>", probe), encoding="utf-8")
    outer = (
        '<body><iframe id="f" src="inner.html" width="420" height="2000" onload="document.body.append('
        'f.contentDocument.title)"></iframe></body>'
    )
    dom = browse(outer, tmp_path, "--allow-file-access-from-files", "--dump-dom")
    widths = re.search(r"(\d+) of (\d+)", dom)
    assert widths is not None and widths[2] == "420"
    assert int(widths[1]) <= 420


def test_sets_judged_by_all_targets_are_listed_with_their_evidence(tmp_path: Path) -> None:
    row = {
        "members": [2, 5], "order": 2, "statistic": 7.25, "largest_z": -4.5, "p_value": 1e-9, "q_value": 1e-7,
        "specific_p_value": 1e-8, "specific_q_value": 2e-6,
        "n_tested": 5, "n_targets": 0, "strongest_target": 3, "kind": "redundancy", "proposed_by": ["proxy", "screen"],
    }  # fmt: skip
    page = render(make_campaign(tmp_path, sets=[row, {**row, "members": [1, 4], "specific_q_value": 0.2}]))
    part = page[page.index('<section id="together">') :]
    part = part[: part.index("</section>")]
    assert "1 set with a" in part and 'data-members="2 5"' in part and 'data-members="1 4"' not in part
    assert "0 of 5" in part and "+7.2" in part and "\u22124.5" in part


def test_an_analysis_without_such_a_test_has_no_such_part(tmp_path: Path) -> None:
    assert 'id="together"' not in render(make_campaign(tmp_path))


def test_masks_of_one_size_are_said_to_leave_something_unidentified(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    assert "Not identified" not in render(campaign)
    about = json.loads((tmp_path / "analysis.json").read_text())
    (tmp_path / "analysis.json").write_text(json.dumps({**about, "fixed_size": True}))
    assert "a shift common to all main effects" in render(Campaign(tmp_path))


def test_how_much_of_what_looks_redundant_is_saturation_is_said(tmp_path: Path) -> None:
    shared = interaction(
        2, [1, 3], value=-0.6, saturation=-0.5, specific=-0.1, specific_stderr=0.2, kind="saturation",
        specific_q_value=0.7, specific_surplus=-0.1,
    )  # fmt: skip
    own = interaction(2, [1, 2], value=-0.4, saturation=-0.3, specific=-0.1, specific_stderr=0.01)
    text = Page(render(make_campaign(tmp_path, interactions=[shared, own]))).text
    assert "Most of what looks redundant here is saturation" in text and "(80% of 2 pairs)" in text
    assert "beside −0.30 by saturation" in text
    assert "1 redundancy" in text, "a pair without a part of its own is not counted among the findings"
