"""Each purpose has a stream of its own, and the streams of a released seed do not change."""

from __future__ import annotations

import numpy as np
import pytest

from attribution.randomness import Purpose, random_stream


def test_no_two_purposes_share_a_number() -> None:
    # Of two equal numbers IntEnum makes the second an alias, which iteration leaves out.
    assert len(Purpose.__members__) == len(list(Purpose))


def test_no_two_purposes_or_seeds_share_a_stream() -> None:
    drawn = [random_stream(purpose, *seed).random() for purpose in Purpose for seed in ((0,), (1,), (0, 1))]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize(
    ("purpose", "number"),
    [
        (Purpose.FOLDS, 1),
        (Purpose.BOOTSTRAP, 3),
        (Purpose.LEARNING_CURVE, 11),
        (Purpose.MATCHED_RANDOM_SETS, 20),
        (Purpose.BUDGET_SEARCH, 30),
        (Purpose.BALANCED_REMOVAL, 40),
    ],
)
def test_a_stream_is_numpys_default_generator_of_seed_and_number(purpose: Purpose, number: int) -> None:
    assert random_stream(purpose, 7, 5).random() == np.random.default_rng((7, 5, number)).random()
