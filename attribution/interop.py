"""Results in the shapes other libraries use: shapiq, pandas, Hugging Face datasets.

None of these libraries is needed by the package. A function that needs one which is missing raises
ImportError with the command that installs it; nothing is substituted.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from attribution.errors import SpectrumError
from attribution.fourier import indices
from attribution.fourier.member_sets import Terms
from attribution.fourier.spectrum import Spectrum

# shapiq's names for what `indices` computes.
_SHAPIQ_INDICES = ("BII", "BV", "SII", "SV", "k-SII", "STII", "FSII", "FBII", "Moebius")


def to_shapiq(model: Any, index: str = "FBII", order: int = 2, target: int = 0) -> Any:
    """A spectrum as `shapiq.InteractionValues`, under shapiq's own definition of the index.

    model: a Spectrum, or a fitted model with `spectra_` (then `target` chooses one). index: "BII", "BV",
    "SII", "SV", "k-SII", "STII", "FSII", "FBII" or "Moebius"; order: the largest member set ("BV" and "SV"
    have order 1 whatever is asked).

    shapiq knows masks at 1/2 only, so "BII", "BV" and "FBII" are taken there, through the exact change of
    alpha; a campaign's own Banzhaf interactions at another alpha are `indices.banzhaf_interactions`. The
    baseline is f(empty training set), for "FBII" the fit's own constant.
    Raises ImportError without shapiq, SpectrumError for an unknown index, order or target.
    """
    if index not in _SHAPIQ_INDICES:
        raise SpectrumError(f"shapiq has no index {index!r} that is exported here. Choose one of: "
                            f"{', '.join(_SHAPIQ_INDICES)}.")  # fmt: skip
    shapiq = _import("shapiq", "shapiq>=1.4")
    spectrum = _spectrum_of(model, target)
    order = 1 if index in ("BV", "SV") else order
    values = _shapiq_values(spectrum, index, order)
    baseline = values.get((), 0.0) if index == "FBII" else _at_empty(spectrum)
    holds_empty = () in values
    return shapiq.InteractionValues(
        values=values,
        index=index,
        max_order=order,
        min_order=0 if holds_empty else 1,
        n_players=spectrum.n_players,
        baseline_value=baseline,
        estimated=True,
        target_index=index,
    )


def to_pandas(results: Any) -> Any:
    """A DataFrame of what is given.

    A Spectrum, or a fitted model with `spectra_`: one row per term with target, members, order, coefficient
    and banzhaf. A list of dataclasses (`model.interactions()`): one row each, their fields as columns. A
    mapping of columns, or a pyarrow Table: that table.
    Raises ImportError without pandas, TypeError for anything else.
    """
    pandas = _import("pandas", "pandas>=2.2")
    if hasattr(results, "to_pandas"):  # pyarrow, and Hugging Face datasets
        return results.to_pandas()
    return pandas.DataFrame(_columns(results))


def to_datasets(results: Any) -> Any:
    """A `datasets.Dataset` of a table: a pyarrow Table, or anything `to_pandas` takes.

    Raises ImportError without Hugging Face datasets, TypeError for anything else.
    """
    datasets = _import("datasets", "datasets>=2.20")
    if hasattr(results, "schema") and hasattr(results, "to_pydict"):  # a pyarrow Table keeps its types
        return datasets.Dataset(results)
    columns = _columns(results)
    return datasets.Dataset.from_dict({name: list(column) for name, column in columns.items()})


def _shapiq_values(spectrum: Spectrum, index: str, order: int) -> Terms:
    if index in ("BII", "BV"):
        return indices.banzhaf_interactions(spectrum, order, alpha=0.5)
    if index == "SV":
        return indices.shapley_values(spectrum)
    compute = {
        "SII": indices.shapley_interactions,
        "k-SII": indices.k_shapley_interactions,
        "STII": indices.shapley_taylor_interactions,
        "FSII": indices.faith_shapley,
        "FBII": indices.faith_banzhaf,
        "Moebius": indices.moebius_coefficients,
    }[index]
    return compute(spectrum, order)


def _at_empty(spectrum: Spectrum) -> float:
    """f(empty training set): every phi_i is -alpha / sigma there."""
    step = -spectrum.alpha / spectrum.sigma
    return sum(value * step ** len(members) for members, value in spectrum.terms.items())


def _spectrum_of(model: Any, target: int) -> Spectrum:
    if isinstance(model, Spectrum):
        return model
    spectra: Sequence[Spectrum] | None = getattr(model, "spectra_", None)
    if spectra is None:
        raise SpectrumError(
            f"expected a Spectrum or a fitted model with spectra_; got {type(model).__name__}."
        )
    if not 0 <= target < len(spectra):
        raise SpectrumError(f"the model has targets 0..{len(spectra) - 1}; got target={target}.")
    return spectra[target]


def _columns(results: Any) -> Mapping[str, Any]:
    """Columns of one table from any of the forms `to_pandas` documents."""
    if isinstance(results, Mapping):
        return results
    if isinstance(results, Spectrum):
        return _spectra_columns([results])
    if hasattr(results, "spectra_"):
        return _spectra_columns(results.spectra_)
    if isinstance(results, Sequence) and all(
        is_dataclass(row) and not isinstance(row, type) for row in results
    ):
        rows = [asdict(row) for row in results]
        return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}
    raise TypeError(
        f"cannot make a table of {type(results).__name__}. Give a Spectrum, a fitted model, a list of "
        "interactions, a mapping of columns or a pyarrow Table."
    )


def _spectra_columns(spectra: Sequence[Spectrum]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {
        "target": [],
        "members": [],
        "order": [],
        "coefficient": [],
        "banzhaf": [],
    }
    for target, spectrum in enumerate(spectra):
        for members, value in spectrum.terms.items():
            row = (target, list(members), len(members), value, value / spectrum.sigma ** len(members))
            for column, entry in zip(columns.values(), row, strict=True):
                column.append(entry)
    return columns


def _import(module: str, requirement: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"this needs {module}, which could not be imported ({error}). Install it with "
            f"pip install '{requirement}', or everything of this kind with pip install 'coterie[interop]'."
        ) from error
