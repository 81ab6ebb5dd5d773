"""The long table of scores, read by target."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from flows.reporting.prefect_artifacts import faithfulness_rows
from flows.store.faithfulness import (
    Score,
    TargetScores,
    faithfulness_table,
    read_faithfulness,
    scored_estimators,
)
from tests.flows.report_campaign import FAITHFULNESS, faithfulness_row, make_campaign, render


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = read_faithfulness(make_campaign(tmp_path / "toy"))
    assert list(found) == [row.target for row in FAITHFULNESS]
    for row in FAITHFULNESS:
        held = found[row.target]
        assert list(held.scores) == list(row.scores)
        assert np.array_equal(list(held.scores.values()), list(row.scores.values()), equal_nan=True)
    assert (found[0].verdict, found[1].verdict) == ("interactions", "no evidence")
    assert found[0].gate_open and not found[1].gate_open and found[-1].is_mean
    assert (found[2].n_interactions, found[2].output_sd, found[2].lds("spectrum")) == (2, 1.3, 0.6)


def test_what_is_not_in_the_table_has_no_number() -> None:
    nothing = TargetScores(4, {})
    assert math.isnan(nothing.noise_ceiling.value) and math.isnan(nothing.r2("spectrum").high)
    assert (nothing.verdict, nothing.n_interactions, nothing.estimators) == ("no evidence", 0, ())
    assert faithfulness_table([nothing]).num_rows == 0


def test_a_further_estimator_has_its_column_in_table_report_and_artifact(tmp_path: Path) -> None:
    """Nothing but the rows of the table says that there is one."""
    further = {("ridge", "r2"): Score(0.4321, 0.3, 0.5), ("ridge", "lds"): Score(0.6)}
    rows = [TargetScores(row.target, {**row.scores, **further}) for row in map(faithfulness_row, range(3), [True] * 3)]
    campaign = make_campaign(tmp_path / "toy", faithfulness=rows)
    assert scored_estimators(read_faithfulness(campaign).values()) == ("datamodel", "proxy", "spectrum", "ridge")
    page = render(campaign)
    assert "R² ridge" in page and "LDS ridge" in page
    assert page.count('data-score="r2 ridge"><data value="0.4321">') == 3
    assert faithfulness_rows(campaign)[0].items() >= {"R² ridge": 0.4321, "LDS ridge": 0.6}.items()
