"""One module reads and writes the numbers of single and of mean targets."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attribution.analysis.block_tables import pooled_targets
from attribution.analysis.target_ids import (
    MEAN_OF_ALL,
    class_of_mean,
    classes_of_means,
    exists,
    is_single,
    mean_of_class,
    targets_of,
)


@given(st.integers(0, 1000))
def test_a_class_is_read_back_from_the_number_of_its_mean(label: int) -> None:
    number = mean_of_class(label)
    assert class_of_mean(number) == label == classes_of_means(np.array([number]))[0]
    assert not is_single(number) and number != MEAN_OF_ALL and class_of_mean(label) is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_pooled_outputs_are_means_over_the_targets_that_their_numbers_cover(labels: list[int]) -> None:
    classes = np.array(labels)
    outputs = np.random.default_rng(0).normal(size=(5, len(labels)))
    pooled, numbers = pooled_targets(outputs, classes)
    for column, number in zip(pooled.T, numbers.tolist(), strict=True):
        assert np.allclose(column, outputs[:, targets_of(number, classes)].mean(axis=1))
        assert exists(number, len(labels), max(labels) + 1)
    assert not exists(len(labels), len(labels), 4) and not exists(mean_of_class(4), len(labels), 4)
    assert targets_of(0, classes).tolist() == [True, *[False] * (len(labels) - 1)]
