"""What the page holds of very many players, and of groups of pictures."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from flows.reporting import browse
from flows.reporting.browse import listed_players
from flows.reporting.images import MEMBERS_SHOWN, SHEET_SHOWN, Gallery, Picture
from flows.reporting.players import Estimate, PlayerView
from flows.store import schemas
from flows.store.examples import png


def view(player: int, decision: str = "keep", effect: float = 0.0) -> PlayerView:
    return PlayerView(player, Picture((), 0, f"p{player}", "", ""), decision, effect=Estimate(effect))


def test_up_to_a_number_all_players_are_listed_and_then_those_a_reader_looks_for(monkeypatch) -> None:
    players = [view(0, effect=0.9), view(1), view(2, "drop"), view(3, "review"), view(4, effect=-1.0), view(5)]
    assert listed_players(players, {}) == players
    monkeypatch.setattr(browse, "PLAYERS_LISTED", 4)
    assert [found.player for found in listed_players(players, {5: [0]})] == [2, 3, 4, 5]


def groups_table(n_images: int) -> pa.Table:
    image = png(np.zeros((4, 4, 1), np.uint8))
    rows = {
        "split": ["train"] * n_images, "position": np.arange(n_images, dtype=np.int32),
        "name": [f"x{row}" for row in range(n_images)], "group": ["cat-0"] * n_images,
        "source_index": np.arange(n_images), "label": np.zeros(n_images, np.int32), "class_name": ["cat"] * n_images,
        "player": np.zeros(n_images, np.int32), "image": [image] * n_images,
        "source_id": [None] * n_images, "text": [None] * n_images,
    }  # fmt: skip
    return pa.table(rows, schema=schemas.EXAMPLES)


def test_a_group_is_shown_by_its_medoid_and_a_contact_sheet() -> None:
    found = Gallery(groups_table(30), ["cat"], typical=(17,)).player(0, drawn=False)
    assert found.rows[0] == 17 and len(found.rows) == MEMBERS_SHOWN
    assert found.sheet[0] == 17 and len(found.sheet) == SHEET_SHOWN and found.size == 30
    assert "a group of 30 training pictures" in found.alt
    assert Gallery(groups_table(3), ["cat"]).player(0, drawn=False).sheet == ()


def test_no_more_thumbnails_are_inlined_than_the_page_has_room_for(monkeypatch) -> None:
    monkeypatch.setattr(browse, "IMAGES_INLINED", 5)

    class Data:
        gallery = Gallery(groups_table(30), ["cat"])
        all_found = faithfulness = mean_faithfulness = ()
        meta: dict[str, object] = {}

    players = [PlayerView(0, Data.gallery.player(0, drawn=False))]
    content = json.loads(str(browse.browse_data(Data(), players)))
    assert len(content["images"]) == 5
    assert content["players"][0]["rows"] == [0, 1, 2, 3] and content["players"][0]["sheet"] == [0, 1, 2, 3, 4]
