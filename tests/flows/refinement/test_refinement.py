"""Groups are chosen, opened and decided: without training a model, on tables that a test writes."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from attribution.analysis.target_ids import MEAN_OF_ALL
from attribution.curation.label_check import LabelCheck
from conf.compose import recompose
from conf.schema import CampaignConfig
from flows.cli.refinement import open_groups
from flows.decisions.export import export
from flows.errors import IncompleteCampaign
from flows.experiments.label_models import _of_all_players
from flows.plan import announce_power, never_separated, plan
from flows.refine import analysed_alike, child_config, child_folder, make_child
from flows.refinement.choose import choose_groups, sizes_of
from flows.refinement.links import child_folders, children_of, family_lines, parent_of, topped_up_since
from flows.refinement.pictures import picture_decisions
from flows.store.campaign import ANALYSIS_TABLES, Campaign
from flows.store.configuration import kept_configuration
from flows.store.derived import columns, publish
from flows.store.examples import inspection
from flows.store.schemas import DECISIONS
from tests.flows.small_campaign import train_missing
from tests.flows.toy import toy
from training import TrainingInputError

N_GROUPS = 20
GROUPS = (
    "dataset.n_train=80", "players.by=random", f"players.count={N_GROUPS}", "campaign.n_holdout=8",
    "campaign.n_replicates=0", "dataset.plant_clusters=3", "dataset.plant_cluster_sizes=[3,2]",
)  # fmt: skip


def with_config(config: CampaignConfig, *overrides: str) -> CampaignConfig:
    return recompose(config.model_dump(mode="json"), overrides)


def planned(
    folder: Path, harm: dict[int, float] | None = None, q_value: float = 0.5
) -> tuple[CampaignConfig, Campaign]:
    """A campaign of groups with an analysis in which some groups are harmful; nothing is trained."""
    config = toy(folder, *GROUPS)
    plan.fn(config)
    campaign = Campaign(folder)
    effect = np.full(N_GROUPS, 0.1)
    for player, value in (harm or {}).items():
        effect[player] = value
    effects = {
        "target": np.full(N_GROUPS, MEAN_OF_ALL), "player": np.arange(N_GROUPS), "effect": effect, "shrunken": effect,
        "stderr": np.full(N_GROUPS, 0.01), "p_value": np.full(N_GROUPS, 0.5), "q_value": np.full(N_GROUPS, q_value),
    }  # fmt: skip
    tables = {name: schema.empty_table() for name, schema in ANALYSIS_TABLES.items()}
    tables["effects"] = pa.table(effects).cast(ANALYSIS_TABLES["effects"])
    campaign.publish_analysis("known", tables, {"created": "2026-01-01T00:00:00+00:00", "n_open": 0, "n_explained": 1})
    return config, campaign


def decide(
    campaign: Campaign, said: dict[int, tuple[str, str, float]] | None = None, in_doubt: tuple[int, ...] = ()
) -> None:
    """Write decisions: keep, but for the players named with (decision, rule, lower end of the effect)."""
    said = said or {}
    rows = []
    for player, name in enumerate(campaign.meta.player_names):
        decision, rule, low = said.get(player, ("keep", "worth", -0.1))
        rows.append(
            {
                "player": player, "name": name, "decision": decision, "rule": rule, "reason": f"because of {rule}.",
                "effect_low": low, "effect_high": 0.2, "cluster": -1, "stands_in": -1,
                "label_q": 0.1 if player in in_doubt else 0.9,
            }
        )  # fmt: skip
    publish(campaign, "decisions", columns(rows, DECISIONS), {"key": "k", "settings": {"allow_unlearnable": True}})


def test_groups_are_opened_for_harm_and_for_near_duplicates_in_turn(tmp_path) -> None:
    config, campaign = planned(tmp_path / "p", harm={7: -0.3, 4: -0.9})
    opening = choose_groups(with_config(config, "refine.max_models=100000"), campaign)
    names = campaign.meta.player_names
    assert opening.groups[0] == names[4] and names[7] in opening.groups
    copies = [reason for reason in opening.reasons if "near-duplicates" in reason]
    assert copies[0].startswith("2 of its pictures") and len(copies) == 3
    only = choose_groups(with_config(config, "refine.max_models=100000", "refine.by=[harm]"), campaign)
    assert only.groups == (names[4], names[7])


def test_every_opened_picture_gets_its_masks_and_the_budget_bounds_the_groups(tmp_path) -> None:
    config, campaign = planned(tmp_path / "p", harm={number: -1.0 for number in range(N_GROUPS)})
    # At 20 masks a player the wish exceeds what any decision needs.
    wishes = ("refine.masks_per_player=40", "refine.top=100")
    opening = choose_groups(with_config(config, *wishes, "refine.max_models=1000"), campaign)
    assert opening.n_fit >= 40 * opening.n_images and opening.n_models <= 1000
    assert opening.n_models == opening.n_fit + 8
    assert opening.n_players == N_GROUPS - len(opening.groups) + opening.n_images
    assert "stay closed" in opening.notes[0]
    assert "Raise refine.max_models" in opening.notes[0] and "as many as the campaign" not in opening.notes[0]
    by_default = with_config(config, *wishes, "campaign.n_fit=60")
    with pytest.raises(IncompleteCampaign, match=r"68 models \(as many as the campaign itself has\) are too few"):
        choose_groups(by_default, campaign)
    with pytest.raises(IncompleteCampaign, match="too few to see inside"):
        choose_groups(with_config(config, *wishes, "refine.max_models=50"), campaign)


def test_nothing_to_open_is_said(tmp_path) -> None:
    config, campaign = planned(tmp_path / "p")
    with pytest.raises(IncompleteCampaign, match="speaks for opening"):
        choose_groups(with_config(config, "refine.by=[harm,certified]"), campaign)
    with pytest.raises(TrainingInputError, match="no group 'nobody'"):
        choose_groups(with_config(config, "refine.groups=[nobody]"), campaign)
    single = toy(tmp_path / "s")
    plan.fn(single)
    with pytest.raises(IncompleteCampaign, match="no group to open"):
        choose_groups(single, Campaign(tmp_path / "s"))


def test_groups_that_no_mask_separates_are_found(tmp_path) -> None:
    config = toy(tmp_path / "c", *GROUPS)
    assert never_separated(config, N_GROUPS) == []
    few = never_separated(with_config(config, "campaign.n_fit=2"), N_GROUPS)
    assert len(few) >= N_GROUPS - 4 and all(first < second for first, second in few)


def test_groups_that_no_mask_separates_are_named_and_fewer_groups_are_the_advice(tmp_path, caplog) -> None:
    few = with_config(toy(tmp_path / "c", *GROUPS), "campaign.n_fit=3")
    names = [f"group {number}" for number in range(N_GROUPS)]
    with caplog.at_level(logging.WARNING):
        announce_power(few, N_GROUPS, 10, logging.getLogger("coterie.test"), names)
    power, separated = (record.getMessage() for record in caplog.records)
    pairs = never_separated(few, N_GROUPS)
    first, second = pairs[0]
    assert f"{len(pairs)} players are in the same fit masks as another throughout: no mask separates" in separated
    assert f"'group {second}' from 'group {first}'" in separated and "Raise campaign.n_fit" in separated
    assert "fewer groups (players.count)" in power and "dataset.group_by" not in power


def opened(config: CampaignConfig, campaign: Campaign, *groups: str) -> tuple[CampaignConfig, Campaign]:
    chosen = with_config(config, f"refine.groups=[{','.join(groups)}]", "refine.max_models=100000")
    opening = choose_groups(chosen, campaign)
    inside = child_config(chosen, opening, child_folder(chosen, opening))
    return inside, make_child(chosen, campaign, inside, opening)


def test_a_child_is_linked_found_again_and_can_be_opened_further(tmp_path) -> None:
    config, campaign = planned(tmp_path / "p")
    names = campaign.meta.player_names
    inside, child = opened(config, campaign, names[3], names[5])
    link = parent_of(child)
    assert link is not None and link.opened == (names[3], names[5]) and link.identity == campaign.meta.identity_hash
    assert opened(config, campaign, names[5], names[3])[1].folder == child.folder
    other, _ = opened(config, campaign, names[6])
    assert child_folders(campaign) == [str(child.folder), other.campaign.folder]
    plan.fn(inside)
    assert inside.campaign.n_fit == Campaign(child.folder).planned()[0].mask_ids.stop
    deeper, grandchild = opened(inside, child, names[8])
    assert grandchild.n_players == child.n_players - 1 + sizes_of(campaign)[8]
    assert deeper.players.parent == str(child.folder)
    assert inspection(child) is not None


def test_a_child_is_analysed_as_its_parent_was_and_not_as_the_parent_was_planned(tmp_path) -> None:
    config, campaign = planned(tmp_path / "p")
    assert analysed_alike(config) == config, "an analysis that does not say its settings changes none"
    used = {**config.attribution.model_dump(mode="json"), "n_targets": 7, "max_order": 2, "of another version": 1}
    about = {"created": "2026-01-01T00:00:00+00:00", "n_open": 0, "n_explained": 1, "settings": used}
    campaign.publish_analysis("again", {name: campaign.read(name) for name in ANALYSIS_TABLES}, about)
    alike = analysed_alike(config, ["attribution.max_order=4", "refine.top=3"])
    assert (alike.attribution.n_targets, alike.attribution.max_order) == (7, 4)
    inside, _ = opened(alike, campaign, campaign.meta.player_names[3])
    assert inside.attribution == alike.attribution


def test_a_missing_child_and_a_parent_topped_up_since_are_reported(tmp_path, monkeypatch) -> None:
    config, campaign = planned(tmp_path / "p")
    _, child = opened(config, campaign, campaign.meta.player_names[3])
    assert topped_up_since(campaign, child) == ""
    monkeypatch.setattr("flows.refinement.links.n_fit_of", lambda _: 999)
    assert "topped up from 0 to 999" in topped_up_since(campaign, child)
    assert "topped up" in family_lines(child)[1] and "opened in" in family_lines(campaign)[0]
    child.folder.rename(tmp_path / "elsewhere")
    found, notes = children_of(campaign)
    assert found == [] and "not there any more" in notes[0]


def test_pictures_are_decided_by_the_finest_evidence_there_is(tmp_path) -> None:
    config, campaign = planned(tmp_path / "p")
    names, sizes = campaign.meta.player_names, sizes_of(campaign)
    drop, keep = (int(at) for at in np.flatnonzero(sizes == 4)[:2])
    with pytest.raises(IncompleteCampaign, match="coterie curate"):
        picture_decisions(campaign)
    decide(campaign, said={drop: ("drop", "budget", -0.1)})
    _, child = opened(config, campaign, names[drop], names[keep])
    assert "decided as wholes" in picture_decisions(campaign).notes[0]

    first = N_GROUPS - 2
    images = child.meta.player_names[first:]
    players = campaign.read("examples", ["split", "name", "player"]).to_pylist()
    owner = {row["name"]: row["player"] for row in players if row["split"] == "train"}
    of_drop = [first + at for at, name in enumerate(images) if owner[name] == drop]
    of_keep = [first + at for at, name in enumerate(images) if owner[name] == keep]
    decide(
        child,
        said={
            of_drop[0]: ("keep", "worth", 0.05),  # its interval lies above 0
            of_drop[1]: ("review", "harmful", -0.3),
            of_keep[0]: ("drop", "mislabelled", -0.3),
            of_keep[1]: ("review", "harmful", -0.3),
            0: ("drop", "redundant", -0.3),  # a closed group: the parent decides
        },
    )
    found = picture_decisions(campaign)
    by_name = {row["name"]: row for row in found.rows if row["campaign"] == str(child.folder)}
    decided = {player: by_name[child.meta.player_names[player]]["decision"] for player in (*of_drop, *of_keep)}
    assert [decided[player] for player in of_drop] == ["keep", "drop", "drop", "drop"]
    assert [decided[player] for player in of_keep] == ["drop", "review", "keep", "keep"]
    assert sum(row["decision"] == "drop" for row in found.rows) == 4
    assert "3 of 8 pictures" in found.notes[0] and "1 from drop to keep" in found.notes[0]
    assert [row["position"] for row in found.rows] == list(range(80))

    written = export(campaign, tmp_path / "out", ("lists",))
    gone = [row["name"] for row in found.rows if row["decision"] == "drop" and row["campaign"] == str(child.folder)]
    assert set((tmp_path / "out" / "delete.txt").read_text().splitlines()) == set(gone) and written.n_dropped == 4
    assert written.notes[0] == found.notes[0]


@pytest.mark.parametrize(("q_value", "expected"), [(0.01, "review"), (0.5, "keep")])
def test_a_contradicted_label_is_looked_at_where_its_group_does_harm(tmp_path, q_value: float, expected: str) -> None:
    config, campaign = planned(tmp_path / "p", harm={3: -0.5}, q_value=q_value)
    decide(campaign)
    _, child = opened(config, campaign, campaign.meta.player_names[3], campaign.meta.player_names[5])
    decide(child, in_doubt=tuple(range(N_GROUPS - 2, child.n_players)))
    rows = [row for row in picture_decisions(campaign).rows if row["campaign"] == str(child.folder)]
    owner = {name: number for number, name in enumerate(campaign.meta.player_names)}
    examples = campaign.read("examples", ["split", "name", "group"]).to_pylist()
    group = {row["name"]: owner[row["group"]] for row in examples if row["split"] == "train"}
    decided = {number: {row["decision"] for row in rows if group[row["name"]] == number} for number in (3, 5)}
    assert decided == {3: {expected}, 5: {"keep"}}


def test_a_refine_that_was_killed_goes_on_with_the_same_child_and_trains_nothing_twice(tmp_path, capsys) -> None:
    config, campaign = planned(tmp_path / "p", harm={3: -0.5, 5: -0.4})
    chosen = with_config(config, "refine.max_models=1000", "refine.by=[harm]")

    def killed(_stage: str, child: CampaignConfig, _dry_run: bool) -> None:
        train_missing(with_config(child, "campaign.n_fit=16", "campaign.n_holdout=0"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        open_groups(chosen, None, False, killed)
    (folder,) = child_folders(campaign)
    before = {path.name: path.stat().st_mtime_ns for path in (Path(folder) / "outputs").iterdir()}
    trained: list[str] = []
    open_groups(chosen, None, False, lambda _stage, child, _dry_run: trained.append(child.campaign.folder))
    assert trained == [folder] == child_folders(campaign)
    train_missing(with_config(toy_of(folder), "campaign.n_fit=32", "campaign.n_holdout=0"))
    after = {path.name: path.stat().st_mtime_ns for path in (Path(folder) / "outputs").iterdir()}
    assert len(after) == 2 * len(before) and before.items() <= after.items()
    assert "pictures of 2 groups become players beside 18 closed groups" in capsys.readouterr().out


def toy_of(folder: str) -> CampaignConfig:
    """The configuration that a campaign's folder keeps."""
    return recompose(kept_configuration(Campaign(folder), folder), [])


def test_labels_of_opened_pictures_are_checked_and_groups_have_no_score() -> None:
    single = np.array([False, True, False, True])
    checked = LabelCheck(np.array([2.0, -1.0]), np.array([0.5, 0.01]), np.array([0.5, 0.02]), n_held_back=40)
    found = _of_all_players(checked, single)
    assert np.isnan(found.score[[0, 2]]).all() and found.score[[1, 3]].tolist() == [2.0, -1.0]
    assert found.q_value.tolist() == [1.0, 0.5, 1.0, 0.02] and found.n_held_back == 40
