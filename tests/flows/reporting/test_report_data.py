"""What was found in the data before training is in the report, by file name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from conf.compose import compose
from flows.reporting.key import report_key
from flows.store.examples import inspect_examples, leaked_audit_sentence
from tests.flows.report_campaign import make_campaign, render
from training.data.inspection import Finding

LEAK = Finding(kind="leak", sentence="One picture is in training and the targets: 1.png, test/cat/<b>.png.")
MANY = Finding(
    kind="constant",
    sentence="9 pictures are all but constant.",
    names=tuple(f"train/dog/{number}.png" for number in range(9)),
)


def section(page: str) -> str:
    return page.split('<section id="inspected">')[1].split("</section>")[0]


def test_findings_are_shown_with_their_names_and_escaped(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    inspect_examples(campaign, lambda: (LEAK, MANY))
    part = section(render(campaign))
    assert "test/cat/&lt;b&gt;.png" in part and "<b>.png" not in part
    assert "all 9 names" in part and "<code>train/dog/8.png</code>" in part


def test_audit_examples_that_are_in_training_too_are_counted_on_the_first_screen(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path, n_audit=90)
    places = ((("train", "audit"), (3, 4)), (("target", "audit", "audit"), (0, 4, 5)), (("train", "target"), (1, 2)))
    inspect_examples(
        campaign,
        lambda: tuple(
            Finding(kind="leak", sentence="One picture is in two splits.", splits=splits, positions=positions)
            for splits, positions in places
        ),
    )
    said = "2 of the 90 audit examples are also in training or among the targets"
    assert said in leaked_audit_sentence(campaign)
    assert said in render(campaign).split("</header>")[0]


def test_no_finding_is_a_statement_with_its_limits(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    inspect_examples(campaign, lambda: ())
    part = section(render(campaign))
    assert "No picture is in more than one split" in part and "are not looked for" in part


def test_a_campaign_that_was_not_inspected_claims_nothing(tmp_path: Path) -> None:
    assert '<section id="inspected">' not in render(make_campaign(tmp_path))


def test_another_finding_makes_another_report(tmp_path: Path) -> None:
    campaign = make_campaign(tmp_path)
    config = compose("quickstart", [f"campaign.folder={campaign.folder}"])
    before = report_key(config, campaign)
    inspect_examples(campaign, lambda: (LEAK,))
    assert report_key(config, campaign) != before


def test_no_two_parts_of_the_page_share_an_id(tmp_path: Path) -> None:
    """The script finds its data by id: a second element of that name would leave every list empty."""
    campaign = make_campaign(tmp_path)
    inspect_examples(campaign, lambda: (LEAK, MANY))
    shared = [name for name, n in Counter(re.findall(r'\sid="([^"]+)"', render(campaign))).items() if n > 1]
    assert shared == []
