"""The lenses as games: identity, examples, outputs, and what is refused."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from ablation import ComponentGame, PatchGame
from attribution import SpexDesign
from conf.compose import compose
from conf.schema import identity_settings
from flows.games.lenses import Lens, LensError, from_config, regions_of
from flows.plan import masks_table
from flows.storage.mask_column import packed_column
from flows.store import schemas
from flows.store.roles import RowRange
from flows.store.wanted import ImpossibleDesign, spex_design
from tests.flows.games.lens_models import tiny

MODEL = "game.model=tests.flows.games.lens_models:tiny"


def lens(name: str, *overrides: str) -> Lens:
    return from_config(compose(name, [MODEL, "game.n_images=5", "game.n_unseen=4", *overrides]))


def test_outputs_are_those_of_the_library_whatever_the_seeds() -> None:
    model, images, labels = tiny()
    masks = np.random.default_rng(1).random((6, 16)) < 0.5
    game = lens("patches")
    found = game.evaluate(masks, [0] * 6)
    np.testing.assert_allclose(found.outputs, PatchGame(model, images[:5], labels[:5]).evaluate(masks), atol=1e-5)
    assert (game.evaluate(masks, range(6)).outputs == found.outputs).all() and game.deterministic
    assert set(found.columns()["status"]) == {"ok"}
    components = ComponentGame(model, images[:5], labels[:5], ablation="mean")
    own = lens("components")
    assert own.player_names == tuple(player.name for player in components.players)
    np.testing.assert_allclose(
        own.evaluate(masks[:, :7], [0] * 6).outputs, components.evaluate(masks[:, :7]), atol=1e-5
    )


@pytest.mark.parametrize("name", ["patches", "components"])
def test_a_lens_travels_and_its_facts_and_identity_are_plain_json(name: str) -> None:
    game = lens(name)
    masks = np.ones((2, game.n_players), bool)
    copied = pickle.loads(pickle.dumps(game))
    assert (copied.evaluate(masks, [0, 0]).outputs == game.evaluate(masks, [0, 0]).outputs).all()
    assert json.loads(json.dumps([game.facts, game.identity()])) == [game.facts, game.identity()]


def test_identity_follows_model_images_and_settings_and_not_counts() -> None:
    game = lens("patches")
    assert lens("patches", "campaign.n_fit=64").identity() == game.identity()
    others = [("patches", "game.fill=blur"), ("patches", "game.regions=2x2"), ("components", "game.ablation=zero")]
    assert len({json.dumps(lens(*other).identity()) for other in others} | {json.dumps(game.identity())}) == 4
    settings = identity_settings(compose("patches", [MODEL]))
    assert not any(key.startswith(("dataset", "recipe")) for key in settings)


@pytest.mark.parametrize("name", ["patches", "components"])
def test_players_targets_and_unseen_images_are_examples_with_pictures(name: str) -> None:
    game = lens(name)
    table = game.examples()
    assert table.schema == schemas.EXAMPLES
    assert table["split"].to_pylist() == ["train"] * game.n_players + ["target"] * 5 + ["audit"] * 4
    assert all(picture.startswith(b"\x89PNG") for picture in table["image"].to_pylist())
    assert game.n_audit == 4


@pytest.mark.parametrize(
    ("name", "overrides", "message"),
    [
        ("patches", ["game.model=tests.flows.games.lens_models:in_training"], "in training mode"),
        ("patches", ["game.model=tests.flows.games.lens_models:nothing"], r"must return \(module, images, labels\)"),
        ("patches", ["game.regions=9x9"], "9 x 9 regions does not fit"),
        ("components", ["game.components=heads"], "0 heads that can be gated"),
        ("components", ["game.components=[0,conv2]"], "no module 'conv2'"),
    ],
)
def test_what_a_lens_cannot_use_is_one_sentence(name: str, overrides: list[str], message: str) -> None:
    with pytest.raises(LensError, match=message) as caught:
        lens(name, *overrides)
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_regions_are_read_from_text(tmp_path) -> None:
    np.save(tmp_path / "map.npy", np.zeros((2, 2), int))
    assert regions_of("4x8") == (4, 8) and regions_of("16") == 16
    assert regions_of(str(tmp_path / "map.npy")).shape == (2, 2)
    with pytest.raises(LensError, match="no grid"):
        regions_of("four")


def test_fit_masks_of_sampler_spex_are_the_design_and_held_out_ones_are_uniform() -> None:
    config = compose("patches", ["sampler=spex", "campaign.n_fit=1000", "sampler.max_order=2"])
    design = spex_design(config, 16)
    assert design == SpexDesign.within(16, 1000, 2, config.campaign.seed)
    rows = masks_table(config, RowRange("fit", 0, 0, 1000), 16)
    drawn = packed_column(rows["mask"], 16).unpack()
    assert (drawn[: design.n_masks] == design.masks()).all()
    uniform = compose("patches", [])
    held_out = RowRange("holdout", 0, 0, 50)
    assert masks_table(config, held_out, 16)["mask"] == masks_table(uniform, held_out, 16)["mask"]


def test_too_few_masks_for_a_design_name_the_sizes_that_fit() -> None:
    config = compose("patches", ["sampler=spex", "campaign.n_fit=300", "sampler.max_order=5"])
    with pytest.raises(ImpossibleDesign, match="sampler.kind=spex: SPEX at 16 players and max_order=5 takes"):
        spex_design(config, 16)
    with pytest.raises(Exception, match=r"half of the time; got alpha = 0.3"):
        compose("patches", ["sampler=spex", "sampler.alpha=0.3"])
