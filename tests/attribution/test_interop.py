"""Results leave the package as other libraries' objects, or the error says what to install."""

from __future__ import annotations

import builtins
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from attribution.errors import SpectrumError
from attribution.fourier.spectrum import Spectrum
from attribution.interop import to_datasets, to_pandas, to_shapiq

SPECTRUM = Spectrum.from_terms({(): 0.1, (3,): 1.0, (3, 7): -0.5}, n_players=20, alpha=0.5)
MODEL = SimpleNamespace(spectra_=[SPECTRUM, 2.0 * SPECTRUM])


@dataclass(frozen=True)
class Row:
    members: tuple[int, ...]
    value: float


def without(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    real = builtins.__import__

    def guarded(name: str, *args: object, **kwargs: object) -> object:
        if name.split(".")[0] == module:
            raise ImportError(f"No module named {module!r}")
        return real(name, *args, **kwargs)  # type: ignore[arg-type]

    for name in [name for name in sys.modules if name.split(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    # None in sys.modules is how Python itself marks a module that must not be imported.
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(builtins, "__import__", guarded)


@pytest.mark.parametrize(
    ("export", "module"), [(to_shapiq, "shapiq"), (to_pandas, "pandas"), (to_datasets, "datasets")]
)
def test_a_missing_library_is_named_with_the_command_that_installs_it(
    export: object, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, module)
    with pytest.raises(ImportError, match=rf"pip install '{module}>="):
        export(SPECTRUM)  # type: ignore[operator]


def test_an_index_that_does_not_exist_is_refused_before_anything_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(monkeypatch, "shapiq")
    with pytest.raises(SpectrumError, match="Choose one of"):
        to_shapiq(SPECTRUM, index="nucleolus")


def test_shapiq_gets_the_values_the_baseline_and_the_number_of_players() -> None:
    shapiq = pytest.importorskip("shapiq", reason="shapiq is not installed")
    values = to_shapiq(MODEL, index="BII", order=2, target=1)
    assert isinstance(values, shapiq.InteractionValues)
    assert values.n_players == 20
    assert values.index == "BII"
    assert values[(3, 7)] == pytest.approx(2 * SPECTRUM.banzhaf((3, 7)))
    assert values[(3,)] == pytest.approx(2 * SPECTRUM.banzhaf((3,)))
    assert values[(0, 1)] == 0.0
    empty_training_set = 0.1 - 1.0 - 0.5
    assert to_shapiq(SPECTRUM, "k-SII").baseline_value == pytest.approx(empty_training_set)


def test_shapiq_exports_only_targets_that_exist() -> None:
    pytest.importorskip("shapiq", reason="shapiq is not installed")
    with pytest.raises(SpectrumError, match=r"targets 0\.\.1"):
        to_shapiq(MODEL, target=2)
    with pytest.raises(SpectrumError, match="Spectrum or a fitted model"):
        to_shapiq({(3,): 1.0})


def test_pandas_gets_one_row_per_term_of_every_target() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    frame = to_pandas(MODEL)
    assert list(frame.columns) == ["target", "members", "order", "coefficient", "banzhaf"]
    assert frame["target"].tolist() == [0, 0, 0, 1, 1, 1]
    pair = frame[(frame["order"] == 2) & (frame["target"] == 0)].iloc[0]
    assert (pair["members"], pair["coefficient"], pair["banzhaf"]) == ([3, 7], -0.5, -2.0)
    assert len(to_pandas(SPECTRUM)) == 3


def test_pandas_gets_lists_of_interactions_mappings_and_tables() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = to_pandas([Row((3, 7), -2.0), Row((1, 2), 0.5)])
    assert frame.to_dict("list") == {"members": [(3, 7), (1, 2)], "value": [-2.0, 0.5]}
    assert len(to_pandas([])) == 0
    assert to_pandas({"a": [1, 2]})["a"].tolist() == [1, 2]
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    assert isinstance(to_pandas(pyarrow.table({"a": [1, 2]})), pandas.DataFrame)


def test_what_is_no_table_is_refused() -> None:
    pytest.importorskip("pandas", reason="pandas is not installed")
    for given in (3, [1, 2], [Row], "text"):
        with pytest.raises(TypeError, match="cannot make a table"):
            to_pandas(given)


def test_datasets_keep_the_types_of_an_arrow_table() -> None:
    pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    pyarrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    members = pyarrow.array([[3, 7]], pyarrow.list_(pyarrow.int32()))
    table = pyarrow.table({"members": members, "order": pyarrow.array([2], pyarrow.int8())})
    dataset = to_datasets(table)
    assert dataset[0] == {"members": [3, 7], "order": 2}
    assert dataset.data.table.schema.field("order").type == pyarrow.int8()
    assert to_datasets(MODEL).num_rows == 6
    assert to_datasets([Row((3, 7), -2.0)])[0] == {"members": [3, 7], "value": -2.0}
