"""Exports name examples as their owner does: in lists, in CSV, in Parquet; also names that a program would run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.decisions.export import BadExport, export, from_spreadsheet_cell, spreadsheet_cell
from flows.decisions.name_lists import is_list, write_lists
from flows.games.table import make_game
from flows.plan import create
from flows.store.campaign import Campaign
from flows.store.derived import columns, publish
from flows.store.examples import example_names, player_names, target_names
from flows.store.schemas import DECISIONS
from tests.flows.toy import toy
from tests.training.conftest import random_pictures
from training.data.names import as_name, original_name

HARD_NAMES = (
    b"=1+1.png", b"+cat.png", b"-rf.png", b"@sum.png", b"two\nlines.png", b"\xff.png", b"'=quoted.png", b"a b.png",
)  # fmt: skip
ABOUT = {"key": "a key", "analysis": None, "settings": {"allow_unlearnable": True}}
DECIDED = ("drop", "keep", "review", "drop")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of pictures whose names are hard, one class of them at the top of the names."""
    for half, names in (("train", HARD_NAMES), ("test", [b"%d.png" % row for row in range(4)])):
        for label in (b"=bee", b"ant"):
            for name, picture in zip(names, random_pictures(len(names), seed=len(label) + len(names)), strict=True):
                file = os.path.join(os.fsencode(tmp_path), b"pictures", half.encode(), label, name)
                os.makedirs(os.path.dirname(file), exist_ok=True)
                try:
                    Path(os.fsdecode(file)).write_bytes(picture)
                except OSError as error:
                    pytest.skip(f"this file system refuses {name!r}: {error}")
    return tmp_path / "pictures"


@pytest.fixture
def campaign(folder: Path, tmp_path: Path) -> Campaign:
    config = toy(
        tmp_path / "campaign", f"dataset.path={folder}", "dataset.image_size=null", "dataset.n_targets=4",
        "dataset.n_audit=4", name="images",
    )  # fmt: skip
    made = Campaign(config.campaign.folder)
    create(made, config, make_game(config))
    rows = [{"player": at, "decision": DECIDED[at % 4], "reason": "=because"} for at in range(made.n_players)]
    publish(made, "decisions", columns(rows, DECISIONS), ABOUT)
    return made


def test_the_card_of_an_export_at_chance_states_chance(campaign: Campaign, tmp_path: Path) -> None:
    at_chance = {
        "accuracy": 0.51, "low": 0.43, "high": 0.6, "chance": 0.55, "n_models": 9, "n_examples": 4,
        "examples_needed": None, "learnt": False,
    }  # fmt: skip
    rows = [{"player": at, "decision": DECIDED[at % 4], "reason": ""} for at in range(campaign.n_players)]
    publish(campaign, "decisions", columns(rows, DECISIONS), {**ABOUT, "learnability": at_chance})
    export(campaign, tmp_path / "out", ("parquet",))
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "right on 51.0% of the 4 audit examples [43.0%, 60.0%]" in card and "not shown to be above chance" in card


def test_every_name_is_the_path_of_its_file(campaign: Campaign, folder: Path) -> None:
    names = player_names(campaign)
    assert len(names) == 16 and names == example_names(campaign, "train")
    for name in [*names, *target_names(campaign), *example_names(campaign, "audit")]:
        assert os.path.isfile(os.path.join(os.fsencode(folder), os.fsencode(original_name(name))))


def test_plain_lists_hold_one_name_each_and_lead_back_to_the_files(
    campaign: Campaign, folder: Path, tmp_path: Path
) -> None:
    export(campaign, tmp_path / "out", ("lists",))
    names = player_names(campaign)
    for stem, decided in (("delete", {"drop"}), ("keep", {"keep", "review"}), ("look", {"review"})):
        (file,) = (tmp_path / "out").glob(f"{stem}.*")
        lines = file.read_bytes().split(b"\n" if file.suffix == ".txt" else b"\0")
        assert lines.pop() == b""
        expected = [name for at, name in enumerate(names) if DECIDED[at % 4] in decided]
        assert lines == [os.fsencode(original_name(name)) for name in expected]
        for line in lines:
            Path(os.fsdecode(folder), os.fsdecode(line)).unlink(missing_ok=stem != "delete")
    assert any("=" in name for name in names)


AWKWARD = ["train/a/back\\slash.png", "train/a/it's \"quoted\".png", "train/a/caf\udce9.png", "train/b/-rf.png"]


@pytest.mark.parametrize("more", [[], ["train/b/two\nlines.png", "train/b/re\rturn.png"]])
def test_xargs_reads_awkward_names_from_the_lists(tmp_path: Path, more: list[str]) -> None:
    """Names are escaped everywhere but in the lists, which programs read."""
    files = [*AWKWARD, *more]
    for file in [*files, "train/a/stays.png"]:
        place = tmp_path / "pictures" / file
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    out = tmp_path / "out"
    decided = [(as_name(file), "drop") for file in files] + [("train/a/stays.png", "keep")]
    for _ in range(2):
        paths, notes = write_lists(out, decided)
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in paths)
    assert all(is_list(path, [name for name, _ in decided]) for path in paths)
    delete = paths[0]
    assert delete.name == ("delete.nul" if more else "delete.txt")
    assert bool(notes) == bool(more)
    how = ["-0"] if more else ["-d", "\\n"]
    subprocess.run(["xargs", *how, "-a", str(delete), "rm", "--"], cwd=tmp_path / "pictures", check=True)
    left = [path.name for path in (tmp_path / "pictures").rglob("*.png")]
    assert left == ["stays.png"]


def test_a_spreadsheet_runs_none_of_them_and_they_can_be_read_back(campaign: Campaign, tmp_path: Path) -> None:
    export(campaign, tmp_path / "out", ("csv",))
    with (tmp_path / "out" / "decisions.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:
        assert all(row[column][:1] not in set("=+-@\t\r") for column in ("name", "reason", "class_name"))
    assert [from_spreadsheet_cell(row["name"]) for row in rows] == player_names(campaign)
    assert {row["reason"] for row in rows} == {"'=because"}


def test_subset_and_parquet_hold_the_names(campaign: Campaign, tmp_path: Path) -> None:
    export(campaign, tmp_path / "out", ("subset", "parquet"))
    kept = [name for at, name in enumerate(player_names(campaign)) if DECIDED[at % 4] != "drop"]
    assert json.loads((tmp_path / "out" / "subset.json").read_text())["names"] == kept
    table = pq.read_table(tmp_path / "out" / "data" / "train-00000-of-00001.parquet")
    assert table["name"].to_pylist() == kept


def test_lists_of_someone_elses_stay(campaign: Campaign, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export(campaign, out, ("lists",))
    export(campaign, out, ("lists",))  # its own are replaced
    (out / "delete.txt").write_text("rm -rf\n")
    with pytest.raises(BadExport, match="delete.txt was not written by an export"):
        export(campaign, out)
    assert (out / "delete.txt").read_text() == "rm -rf\n"


@given(st.text(max_size=6) | st.text(alphabet="'=+-@\t\ra", max_size=4))
def test_cells_can_be_undone_and_are_no_formulas(text: str) -> None:
    cell = spreadsheet_cell(text)
    assert from_spreadsheet_cell(cell) == text
    assert cell[:1] not in set("=+-@\t\r") or not cell


def test_groups_are_named_beside_their_examples(parquet_farm: Path, tmp_path: Path) -> None:
    config = toy(
        tmp_path / "campaign", f"dataset.path={parquet_farm}", "dataset.group_by=farm", "dataset.n_train=null",
        "dataset.n_targets=4", "dataset.n_audit=2", "dataset.source=parquet", "dataset.image_size=null",
        name="images",
    )  # fmt: skip
    made = Campaign(config.campaign.folder)
    create(made, config, make_game(config))
    assert player_names(made) == [f"farm{number}" for number in range(3)]
    rows = [row for row in made.read("examples").to_pylist() if row["split"] == "train"]
    assert rows[4]["group"] == "farm1" and rows[4]["name"] == "train.parquet:4"
    publish(
        made, "decisions",
        columns([{"player": at, "decision": "drop" if at == 1 else "keep"} for at in range(3)], DECISIONS),
        ABOUT,
    )  # fmt: skip
    export(made, tmp_path / "out", ("lists", "csv"))
    deleted = (tmp_path / "out" / "delete.txt").read_text().splitlines()
    assert deleted == [f"train.parquet:{row}" for row in range(12) if row % 3 == 1]
    with (tmp_path / "out" / "decisions.csv").open(newline="") as handle:
        assert [row["group"] for row in csv.DictReader(handle)] == [f"farm{row % 3}" for row in range(12)]


@pytest.fixture
def parquet_farm(tmp_path: Path) -> Path:
    from tests.training.conftest import write_parquet

    folder = tmp_path / "farms"
    labels = [row % 2 for row in range(12)]
    write_parquet(folder / "train.parquet", random_pictures(12), labels, farm=[f"farm{row % 3}" for row in range(12)])
    write_parquet(folder / "test.parquet", random_pictures(12, seed=1), labels)
    return folder


def test_what_to_look_at_first_comes_first_in_look_and_nowhere_else(tmp_path: Path) -> None:
    decided = [("a.png", "review"), ("b.png", "drop"), ("c.png", "keep"), ("d.png", "review")]
    write_lists(tmp_path, decided, [3, 1, 2, 0])
    lists = {stem: (tmp_path / f"{stem}.txt").read_text().split() for stem in ("delete", "keep", "look")}
    assert lists == {"delete": ["b.png"], "keep": ["a.png", "c.png", "d.png"], "look": ["d.png", "a.png"]}
