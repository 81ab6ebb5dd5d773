"""Groups found by similarity, class or at random: sizes, near-duplicates, reproducibility and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training import Dataset, TrainingInputError, load_dataset
from training.data.planting import plant
from training.grouping.balanced_clusters import balanced_clusters
from training.grouping.find_groups import find_groups, with_groups
from training.grouping.image_features import network_features, owned_features, pixel_features
from training.grouping.request import GroupingRequest


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("digits", n_train=200, n_targets=20, n_audit=20)


def found(dataset: Dataset, **settings: object):
    request = GroupingRequest(**{"by": "similarity", "count": 40, **settings})
    return find_groups(dataset, request, lambda: pixel_features(dataset.train.images, request.seed))


@pytest.mark.parametrize("by", ["similarity", "random"])
def test_groups_stay_within_a_class_and_within_their_bounds(digits: Dataset, by: str) -> None:
    grouping = found(digits, by=by)
    assert len(grouping.names) == 40 and len(set(grouping.names)) == 40
    assert grouping.bounds[0] <= grouping.sizes.min() and grouping.sizes.max() <= grouping.bounds[1]
    for group in range(40):
        assert len(np.unique(digits.train.labels[grouping.groups == group])) == 1


def test_similar_images_share_a_group_more_than_random_ones_do(digits: Dataset) -> None:
    """The mean distance to the group's mean is what the clustering minimises."""
    features = pixel_features(digits.train.images, 0)

    def spread(groups: np.ndarray) -> float:
        return float(np.mean([features[groups == group].var(axis=0).sum() for group in np.unique(groups)]))

    assert spread(found(digits).groups) < 0.8 * spread(found(digits, by="random").groups)


def test_the_same_request_finds_the_same_groups_and_another_seed_others(digits: Dataset) -> None:
    first, again, other = found(digits), found(digits), found(digits, by="random", seed=1)
    assert np.array_equal(first.groups, again.groups) and first.names == again.names
    assert not np.array_equal(found(digits, by="random").groups, other.groups)


@pytest.mark.parametrize("by", ["similarity", "random"])
@pytest.mark.parametrize("across", [False, True])
def test_near_duplicates_are_always_in_one_group(digits: Dataset, by: str, across: bool) -> None:
    planted, truth = plant(digits, clusters=15, cluster_sizes=(2, 3, 5), near_share=0.5)
    grouping = found(planted, by=by, across_classes=across, count=50)
    for cluster in truth.clusters:
        assert len(set(grouping.groups[list(cluster)])) == 1


def test_a_group_of_similar_images_is_shown_by_the_one_nearest_to_its_mean(digits: Dataset) -> None:
    grouping = found(digits)
    assert grouping.medoids is not None
    assert np.array_equal(grouping.groups[grouping.medoids], np.arange(40))
    assert found(digits, by="random").medoids is None


def test_one_group_of_each_class(digits: Dataset) -> None:
    grouping = find_groups(digits, GroupingRequest("class"), lambda: np.zeros((200, 1)))
    assert grouping.names == digits.class_names
    assert np.array_equal(grouping.groups, digits.train.labels)


def test_the_grouping_is_part_of_what_makes_a_data_set(digits: Dataset) -> None:
    one, other = found(digits), found(digits, by="random")
    prints = {with_groups(digits, grouping.groups, grouping.names).fingerprint() for grouping in (one, other)}
    assert len({*prints, digits.fingerprint()}) == 3


def test_a_heavy_point_is_a_cluster_of_its_own_and_none_is_empty() -> None:
    points = np.linspace(0, 1, 12)[:, None]
    weights = np.array([9, *[1] * 11])
    clusters = balanced_clusters(points, weights, 4, (3, 6), seed=0)
    totals = np.bincount(clusters, weights=weights, minlength=4)
    assert totals.min() >= 3 and sorted(totals)[-1] == 9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"count": 5}, "fewer than the 10 classes"),
        ({"count": 200, "by": "similarity"}, "distinct pictures"),
        ({"count": None}, "needs players.count"),
        ({"by": "class"}, "cannot be met"),
        ({"balance": 0.5}, "players.balance"),
        ({"by": "colour"}, "must be one of"),
    ],
)
def test_groups_that_cannot_be_made_are_refused_with_a_reason(
    digits: Dataset, settings: dict[str, object], message: str
) -> None:
    planted, _ = plant(digits, clusters=10, cluster_sizes=(2,))
    with pytest.raises(TrainingInputError, match=message):
        found(planted, **settings)


def test_an_embedding_is_read_by_name_whatever_the_order(tmp_path, digits: Dataset) -> None:
    names = digits.train.names.tolist()
    values = np.arange(400, dtype=float).reshape(200, 2)
    back = list(reversed(range(200)))
    table = pa.table({"name": [names[row] for row in back], "vector": [values[row].tolist() for row in back]})
    pq.write_table(table, tmp_path / "e.parquet")
    assert np.array_equal(owned_features(str(tmp_path / "e.parquet"), "vector", digits.train), values)
    rows = pa.table({"vector": [[float(row)] for row in range(digits.train.source_index.max() + 1)]})
    pq.write_table(rows, tmp_path / "rows.parquet")
    by_row = owned_features(str(tmp_path / "rows.parquet"), "vector", digits.train)
    assert by_row[:, 0].tolist() == digits.train.source_index.tolist()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vector": [[1.0, 2.0], [1.0]]}, "found lengths 1, 2"),
        ({"vector": [[1.0], [float("nan")]]}, "NaN or infinity"),
        ({"vector": [1.0, 2.0]}, "no list"),
        ({"other": [[1.0], [2.0]]}, "has no column"),
        ({"name": ["x", "y"], "vector": [[1.0], [2.0]]}, "no row for 2 of 2"),
        ({"vector": [[1.0]]}, "has 1 rows"),
    ],
)
def test_an_embedding_that_does_not_fit_is_refused(tmp_path, digits: Dataset, columns, message: str) -> None:
    pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    two = replace(digits.train.take(np.array([0, 1])), source_index=np.array([0, 1]))
    with pytest.raises(TrainingInputError, match=message):
        owned_features(str(tmp_path / "e.parquet"), "vector", two)


def test_networks_that_diverged_do_not_count() -> None:
    networks = np.random.default_rng(0).normal(size=(2, 30, 4))
    networks[1, 0, 0] = np.nan
    assert network_features(networks).shape == (30, 4)
    with pytest.raises(TrainingInputError, match="diverged"):
        network_features(np.full((1, 5, 2), np.nan))
