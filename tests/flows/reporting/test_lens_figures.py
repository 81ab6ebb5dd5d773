"""Outlines of regions, and energy by layers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from flows.reporting.lens_figures import interaction_energy, layer_names, outline


def test_an_outline_runs_around_its_region_and_not_between_its_pixels() -> None:
    inside = np.zeros((3, 3), bool)
    inside[0, :2] = True
    parts = outline(inside, 10).split("M")[1:]
    assert sorted(parts) == sorted(["0 0h10", "10 0h10", "0 10h10", "10 10h10", "0 0v10", "20 0v10"])


class Stored:
    """A campaign with the few rows that the energy is made of."""

    meta = {"alpha": 0.5}

    def read(self, table: str, columns: list[str]) -> pa.Table:
        rows = [
            {"target": 0, "members": [0, 1], "value": 4.0, "in_spectrum": True},  # within a: F = 1
            {"target": 0, "members": [0, 2], "value": 8.0, "in_spectrum": True},  # a and b: F = 2
            {"target": 1, "members": [0, 1, 2], "value": 8.0, "in_spectrum": True},  # F = 1 over three pairs
            {"target": 0, "members": [1, 2], "value": 9.0, "in_spectrum": False},
            {"target": -1, "members": [1, 2], "value": 9.0, "in_spectrum": True},
        ]
        return pa.Table.from_pylist(rows).select(columns)


def test_energy_by_layers_is_the_squared_coefficient_divided_over_pairs() -> None:
    layers = [{"layer": "a", "index": 0, "depth": 0}, {"layer": "a", "index": 1, "depth": 0},
              {"layer": "b", "index": 0, "depth": 1}]  # fmt: skip
    energy = interaction_energy(Stored(), layers)  # type: ignore[arg-type]
    assert layer_names(layers) == ["a", "b"]
    assert energy == pytest.approx(np.array([[1 + 1 / 3, 2 + 1 / 3], [2 + 1 / 3, 0]]))
    assert energy.sum() == pytest.approx(1 + 4 + 1)
