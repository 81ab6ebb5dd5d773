"""Sentences of verify stay true where rounding or one class could make them false."""

from __future__ import annotations

import math

from attribution.experiments.comparison import Difference
from flows.experiments.verify_sentences import _class_sentences, _warning, leaked_sentence


def test_a_decision_that_drops_one_of_two_hundred_is_not_said_to_keep_all() -> None:
    warning = _warning({"n_keep": 199, "share": 0.995}, alpha=0.5, n=200)
    assert warning.startswith("the decision keeps 199 of 200 players,")


def test_the_resolution_by_class_is_that_of_the_class_with_the_widest_interval() -> None:
    rows = [
        {"smallest": smallest, "verdict": "no difference shown", "class_name": name}
        for smallest, name in ((0.0, "cat"), (0.043, "dog"), (0.02, "frog"))
    ]
    (sentence,) = _class_sentences(rows)
    assert sentence.endswith("no difference shown for any of 3 classes (one above 4.3 points would have been).")
    (sentence,) = _class_sentences([*rows, *rows])  # the second network's
    assert "any of 3 classes, with either network (one" in sentence


def test_leaked_audit_examples_are_counted_beside_the_difference_on_the_others() -> None:
    apart = Difference(0.8, 0.75, 0.05, 0.01, 0.09, 0.02, 0.08, 20, 61, 0.0125)
    assert leaked_sentence(3, 64, apart) == (
        "3 of the 64 audit examples are also in training or among the targets; on the other 61 the difference from "
        "class-balanced random removal is +5.00 points [+1.00, +9.00] (better)."
    )
    unknown = Difference(*(math.nan,) * 7, 20, 1, 0.0125)
    assert leaked_sentence(1, 2, unknown).endswith("is also in training or among the targets; the others are too few "
                                                   "for an interval.")  # fmt: skip
