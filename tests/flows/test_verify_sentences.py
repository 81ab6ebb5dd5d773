"""Sentences of verify stay true where rounding or one class could make them false."""

from __future__ import annotations

from flows.experiments.verify_sentences import _class_sentences, _warning


def test_a_decision_that_drops_one_of_two_hundred_is_not_said_to_keep_all() -> None:
    warning = _warning({"n_keep": 199, "share": 0.995}, alpha=0.5, n=200)
    assert warning.startswith("the decision keeps 199 of 200 players,")


def test_the_resolution_by_class_is_that_of_the_class_with_the_widest_interval() -> None:
    rows = [{"smallest": smallest, "verdict": "no difference shown"} for smallest in (0.0, 0.043, 0.02)]
    (sentence,) = _class_sentences(rows)
    assert sentence.endswith("no difference shown for any of 3 classes (one above 4.3 points would have been).")
