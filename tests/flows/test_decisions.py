"""Certify, curate, verify, brittleness and export on a campaign with a known game; models of experiments are real."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from attribution.errors import AttributionError
from flows.audit.fragments import audit
from flows.brittleness import brittleness
from flows.certify import BadRequest, certify
from flows.cli.dry_run import describe
from flows.compute import ray_cluster as cluster
from flows.curate import curate
from flows.decisions.export import BadExport, export
from flows.errors import IncompleteCampaign
from flows.experiments.plans import plans
from flows.experiments.verify_sentences import extrapolates
from flows.store.campaign import Campaign
from flows.store.derived import about, finished, history, read_derived
from flows.store.roles import RowRange, role_of
from flows.verify import verify
from tests.flows.decided_campaign import COPIES, SYNERGY, WRONG, decided_config, make_decided_campaign

CERTIFY = ("certify.top=2", "certify.n_random=1", "certify.n_bases=3", "attribution.fdr_level=0.1")
VERIFY = (
    "verify.n_seeds=2", "verify.curve=[0.25]", "verify.curve_seeds=2", "verify.second_architecture=false",
    "verify.embedding_models=1", "curate.similarity=false", "curate.keep_share=0.5",
)  # fmt: skip

HALF = "curate.keep_share=0.5"
pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The campaign, and one Ray for all experiments of this file."""
    folder = tmp_path_factory.mktemp("decided") / "campaign"
    make_decided_campaign(decided_config(folder))
    cluster.start_session_in_background(None, 1)
    yield folder
    cluster.stop_session()


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "campaign"))


def table(folder: Path, name: str) -> list[dict]:
    return read_derived(Campaign(folder), name).to_pylist()


def written(folder: Path, name: str) -> str:
    """A table as text, in which NaN equals NaN; without what a second training may take."""
    rows = pq.read_table(folder / f"{name}.parquet").to_pylist()
    return repr([{key: value for key, value in row.items() if key != "train_seconds"} for row in rows])


def test_certify_tries_what_was_reported_beside_random_sets_and_no_fit_sees_its_rows(folder: Path) -> None:
    config = decided_config(folder, *CERTIFY)
    before = Campaign(folder).snapshot()
    assert "36 of 36 models to train" in describe("certify", config, Campaign(folder))[-1]
    found = certify.fn(config)
    assert (found.n_tried, found.n_random, found.n_models) == (2, 1, 3 * 3 * 4)
    assert describe("certify", config, Campaign(folder))[-1] == "all 36 models exist: nothing would be trained"
    rows = table(folder, "certification")
    assert [tuple(row["members"]) for row in rows[:2]] == [COPIES, SYNERGY]
    assert [(row["origin"], row["n_bases"]) for row in rows] == [("reported", 3)] * 2 + [("random", 3)]
    assert {row["verdict"] for row in rows} <= {"certified", "refuted", "undecided"}
    campaign = Campaign(folder)
    assert campaign.snapshot() == before
    assert all(role_of(int(mask_id)) == "fit" for mask_id in campaign.training_pairs("fit").mask_ids)
    # All four cells of a base share the seed group and everything but the members.
    (plan,) = plans(campaign, "certify")
    masks, groups = campaign.masks(RowRange("certify", 0, 0, 4))
    assert len(set(groups.tolist())) == 1
    assert masks[:, list(COPIES)].tolist() == [[False, False], [True, False], [False, True], [True, True]]
    others = np.delete(masks, COPIES, axis=1)
    assert (others == others[0]).all()


def test_certify_interrupted_and_run_again_gives_the_same_table(folder: Path) -> None:
    config = decided_config(folder, *CERTIFY)
    certify.fn(config)
    whole = written(folder, "certification")
    fragments = sorted((folder / "outputs").glob("certify-*.parquet"))
    kept = {path: path.stat().st_mtime_ns for path in fragments[:2]}
    for path in fragments[2:]:
        path.unlink()
    for path in [*(folder / "masks").glob("certify-*"), folder / "certification.parquet"]:
        path.unlink()
    certify.fn(config)
    assert written(folder, "certification") == whole
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    # And once more: nothing is trained.
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "outputs").iterdir()}
    certify.fn(config)
    assert {path: path.stat().st_mtime_ns for path in (folder / "outputs").iterdir()} == stamps
    assert len(plans(Campaign(folder), "certify")) == 1


def test_a_named_set_is_tried_beside_what_was_tried_before(folder: Path) -> None:
    certify.fn(decided_config(folder, *CERTIFY))
    certify.fn(decided_config(folder, "certify.members=[2,3,9]", "certify.target=-1", "certify.n_bases=2"))
    rows = table(folder, "certification")
    assert [row["origin"] for row in rows] == ["reported", "reported", "random", "named"]
    assert (rows[3]["members"], rows[3]["target"], rows[3]["n_models"]) == ([2, 3, 9], -1, 16)
    assert "nothing was predicted" in rows[3]["reason"]
    first, second = plans(Campaign(folder), "certify")
    assert second.first >= first.last


def test_sets_of_a_kind_are_tried_beside_the_top_sets_and_leave_their_share_alone(folder: Path) -> None:
    certify.fn(decided_config(folder, *CERTIFY))
    headline = (about(Campaign(folder), "certification") or {})["shares"]
    found = certify.fn(decided_config(folder, *CERTIFY, "certify.kinds=[synergy]", "certify.n_random=0"))
    assert (found.n_tried, found.n_random) == (1, 0)
    rows = table(folder, "certification")
    assert [row["origin"] for row in rows] == ["reported", "reported", "random", "kind"]
    assert (rows[3]["members"], rows[3]["kind"]) == (list(SYNERGY), "synergy")
    assert "reported as synergy with q = 1e-05, measured kind:" in rows[3]["reason"]
    shares = (about(Campaign(folder), "certification") or {})["shares"]
    assert [shares[origin] for origin in ("reported", "random")] == [headline[o] for o in ("reported", "random")]
    assert shares["kind"]["n"] == 1
    # What nobody reported is a result, not an error.
    assert certify.fn(decided_config(folder, "certify.orders=[3]")).n_tried == 0


def test_an_earlier_experiment_on_the_same_sets_does_not_count_twice(folder: Path) -> None:
    certify.fn(decided_config(folder, *CERTIFY))
    certify.fn(decided_config(folder, *CERTIFY, "certify.n_bases=4"))
    assert [row["origin"] for row in table(folder, "certification")].count("reported") == 4
    shares = (about(Campaign(folder), "certification") or {})["shares"]
    assert (shares["reported"]["n"], shares["random"]["n"]) == (2, 1)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("certify.members=[2,3]", "certify.kinds=[synergy]"), "Give one of them"),
        (("certify.members=[2,99]", "certify.target=0"), r"players \[99\] do not exist"),
        (("certify.members=[2,2]", "certify.target=0"), "named twice"),
        (("certify.members=[2,3]", "certify.target=40"), "target 40 has no outputs"),
        (("certify.members=[2,3]",), "Give --target"),
        (("certify.target=3",), "certify.target = 3 goes with a set of your own"),
        (("certify.members=[2]", "certify.target=0"), "2 to 6 members; got 1: --members 2"),
        (("certify.members=[]", "certify.target=0"), "got 0: --members none"),
        (("certify.members=[1,2,3,4,5,6,7]", "certify.target=0"), "got 7: --members 1,2,3,4,5,6,7"),
        ((*CERTIFY, "certify.max_models=10"), "3 base masks of 3 sets are 36 models.*lower certify.n_bases"),
    ],
)
def test_sets_and_targets_that_do_not_exist_are_refused(folder: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        certify.fn(decided_config(folder, *overrides))
    assert not plans(Campaign(folder), "certify")


def test_a_budget_too_small_for_the_sets_is_refused(folder: Path) -> None:
    with pytest.raises(AttributionError, match="certify.max_models is 10.*lower certify.top or certify.min_bases"):
        certify.fn(decided_config(folder, *CERTIFY, "certify.n_bases=null", "certify.max_models=10"))


def test_curate_decides_about_everybody_with_reasons_and_evidence(folder: Path) -> None:
    config = decided_config(folder, "curate.keep_share=null", "curate.similarity=false")
    curate.fn(config)
    rows = table(folder, "decisions")
    assert [row["player"] for row in rows] == list(range(24))
    assert all(row["reason"].endswith(".") for row in rows)
    assert (rows[WRONG]["decision"], rows[WRONG]["rule"]) == ("review", "harmful")
    assert sorted(rows[player]["decision"] for player in COPIES) == ["drop", "keep"]
    assert [rows[player]["rule"] for player in SYNERGY] == ["synergy"] * 2
    dropped = next(rows[player] for player in COPIES if rows[player]["decision"] == "drop")
    assert dropped["evidence"] == [0]
    sizes = about(Campaign(folder), "decisions")["cluster_sizes"]
    assert sizes["pairs"] <= sizes["named"] and sizes["searched"] <= sizes["named"]
    stamp = (folder / "decisions.parquet").stat().st_mtime_ns
    curate.fn(config)
    assert (folder / "decisions.parquet").stat().st_mtime_ns == stamp


def test_labels_are_checked_by_models_without_the_player_which_are_trained_once(folder: Path) -> None:
    config = decided_config(folder, "curate.label_models=10", "curate.similarity=false")
    curate.fn(config)
    campaign = Campaign(folder)
    (plan,) = plans(campaign, "labels")
    masks, _ = campaign.masks(plan.rows)
    assert ((~masks).sum(axis=0) == 2).all()
    rows = table(folder, "decisions")
    assert all(np.isfinite(row["label_score"]) and 0 < row["label_q"] <= 1 for row in rows)
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    curate.fn(decided_config(folder, "curate.label_models=10", "curate.similarity=false", "curate.keep_count=20"))
    assert {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()} == stamps
    first, second = history(campaign, "decisions")
    assert first["decisions"] != second["decisions"]
    changes = (about(campaign, "decisions") or {})["changes"]
    assert changes["since"] == first["key"] and 0 < changes["n_changed"] <= 24
    assert audit(campaign).findings == []


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("curate.keep_count=25",), "only 24 players"),
        (("curate.keep_count=4", "curate.class_quotas={0: 2, 1: 2, 2: 2}"), "the budget keeps 4"),
        ((HALF, "curate.class_quotas={zero: 2}"), "the classes are 0, 1"),
        ((HALF, "curate.class_quotas={3: 20}"), "class 3 has . players; its quota asks for 20"),
        ((HALF, "curate.class_quotas={3: -1}"), "must not be negative"),
    ],
)
def test_budgets_that_cannot_be_met_are_refused(folder: Path, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(AttributionError, match=message):
        curate.fn(decided_config(folder, *overrides))
    assert not (folder / "decisions.parquet").exists()


def test_deciding_from_too_few_models_is_refused_with_the_number_needed(tmp_path: Path) -> None:
    config = decided_config(tmp_path / "small", "campaign.n_fit=60")
    make_decided_campaign(config)
    with pytest.raises(AttributionError, match=r"60 models are too few .* campaign.n_fit=\d+"):
        curate.fn(config)


def test_verify_compares_arms_of_one_size_and_resumes_to_the_same_tables(folder: Path) -> None:
    config = decided_config(folder, *VERIFY)
    with pytest.raises(IncompleteCampaign, match="Run `coterie curate .*` first"):
        verify.fn(config)
    curate.fn(config)
    campaign = Campaign(folder)
    promised = describe("verify", config, campaign)[2]
    summary = verify.fn(config)
    assert summary.n_keep == 12
    n_models = sum(map(len, finished(campaign)))
    assert promised.startswith(f"{n_models} of {n_models} models to train")
    assert describe("verify", config, campaign)[2] == f"all {n_models} models exist: nothing would be trained"
    names = ("verification", "comparisons")
    whole = [written(folder, name) for name in names]
    rows = pq.read_table(folder / "verification.parquet").to_pylist()
    assert {(row["arm"], row["n_keep"]) for row in rows} == {
        *((arm, size) for arm in ("curated", "random", "main_effects", "embedding") for size in (12, 6)), ("full", 24)
    }  # fmt: skip
    assert all(len(row["removed"]) == 24 - row["n_keep"] for row in rows)
    random = [tuple(row["removed"]) for row in rows if row["arm"] == "random" and row["n_keep"] == 12]
    assert len(set(random)) == len(random) == 2
    curated = {tuple(row["removed"]) for row in rows if row["arm"] == "curated" and row["declared"]}
    decisions = table(folder, "decisions")
    assert curated == {tuple(row["player"] for row in decisions if row["decision"] == "drop")}
    sentences = (about(campaign, "comparisons") or {})["sentences"]
    overall = [row for row in table(folder, "comparisons") if row["class_name"] == ""]
    assert {(row["declared"], row["against"], row["n_together"]) for row in overall} == {
        *((True, arm, 4) for arm in ("random", "main_effects", "embedding", "full")),
        *((False, arm, 3) for arm in ("random", "main_effects", "embedding")),
    }
    assert all(row["low"] <= row["difference"] <= row["high"] and row["n_examples"] == 16 for row in overall)
    (elsewhere,) = [row for row in overall if row["n_keep"] == 6 and row["against"] == "random"]
    assert f"6 kept {100 * elsewhere['difference']:+.1f}" in sentences[-1]
    assert [entry["key"] for entry in history(campaign, "comparisons")] == [
        (about(campaign, "comparisons") or {})["key"]
    ]
    for path in sorted((folder / "results").glob("*.parquet"))[1:]:
        path.unlink()
    verify.fn(config)
    assert [written(folder, name) for name in names] == whole
    assert sum(map(len, finished(campaign))) == len(rows)


def test_brittleness_confirms_removals_by_retraining(folder: Path) -> None:
    config = decided_config(
        folder, "brittleness.n_targets=1", "brittleness.n_seeds=2", "brittleness.max_removals=3", "recipe.epochs=2"
    )
    found = brittleness.fn(config)
    assert "models exist: nothing would be trained" in describe("brittleness", config, Campaign(folder))[0]
    rows = table(folder, "brittleness")
    assert found.n_targets == len({row["target"] for row in rows})
    for row in rows:
        assert len(row["tried"]) == len(row["margins"])
        assert row["confirmed_removals"] == -1 or row["confirmed_removals"] in row["tried"]


def test_exports_keep_what_was_decided_and_say_where_it_comes_from(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(IncompleteCampaign, match="Run `coterie curate"):
        export(Campaign(folder), out)
    curate.fn(decided_config(folder, "curate.keep_count=10", "curate.similarity=false"))
    campaign = Campaign(folder)
    found = export(campaign, out)
    assert (found.n_kept, found.n_dropped) == (10, 14)
    subset = json.loads((out / "subset.json").read_text())
    rows = table(folder, "decisions")
    assert subset["indices"] == [row["player"] for row in rows if row["decision"] != "drop"]
    assert subset["provenance"]["identity"] == campaign.meta["identity_hash"]
    parquet = pq.read_table(out / "data" / "train-00000-of-00001.parquet")
    assert parquet.num_rows == 10
    features = json.loads(parquet.schema.metadata[b"huggingface"])["info"]["features"]
    assert features["image"] == {"_type": "Image"}
    assert features["label"]["names"] == campaign.meta["class_names"]
    with (out / "decisions.csv").open() as handle:
        exported = list(csv.DictReader(handle))
    assert [row["decision"] for row in exported] == [row["decision"] for row in rows]
    with pytest.raises(BadExport, match="Formats: subset, parquet, csv, lists"):
        export(campaign, out, ("excel",))


def test_rules_race_on_the_targets_and_the_winner_decides(folder: Path) -> None:
    overrides = (
        "curate.keep_count=12", "curate.race_models=36", "curate.similarity=false", "verify.embedding_models=1",
    )  # fmt: skip
    curate.fn(decided_config(folder, *overrides))
    campaign = Campaign(folder)
    rounds = plans(campaign, "race")
    arms = [{block["arm"] for block in plan.content["blocks"]} for plan in rounds]
    assert [len(found) for found in arms] == [5, 3, 2] and all("random" in found for found in arms)
    assert arms[2] < arms[1] < arms[0]
    race = (about(campaign, "decisions") or {})["race"]
    assert {race["winner"], "random"} == arms[2]
    removed = next(block["removed"] for block in rounds[2].content["blocks"] if block["arm"] == race["winner"])
    assert [row["player"] for row in table(folder, "decisions") if row["decision"] == "drop"] == removed
    stamps = {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()}
    (folder / "decisions.json").unlink()
    curate.fn(decided_config(folder, *overrides))
    assert {path: path.stat().st_mtime_ns for path in (folder / "results").iterdir()} == stamps


def test_a_campaign_reads_the_tables_of_its_experiments(folder: Path) -> None:
    campaign = Campaign(folder)
    with pytest.raises(IncompleteCampaign, match="coterie curate"):
        campaign.read("decisions")
    curate.fn(decided_config(folder, "curate.similarity=false"))
    assert campaign.read("decisions", ["player", "decision"]).num_rows == 24
    assert campaign.schema("verification").names[0] == "mask_id"


def test_a_subset_file_selects_the_kept_examples_from_the_source(folder: Path, tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    curate.fn(decided_config(folder, "curate.similarity=false"))
    export(Campaign(folder), tmp_path, ("subset",))
    subset = json.loads((tmp_path / "subset.json").read_text())
    examples = Campaign(folder).read("examples").to_pylist()
    labels = {row["position"]: row["label"] for row in examples if row["split"] == "train"}
    digits = load_digits().target
    assert [labels[at] for at in subset["indices"]] == [int(digits[at]) for at in subset["source_indices"]]


def test_sizes_far_from_what_was_sampled_are_extrapolations() -> None:
    assert extrapolates(0.8, 0.5, 200)
    assert not extrapolates(0.55, 0.5, 200)
