"""Convert results for other libraries: shapiq, pandas, Hugging Face datasets.

The package needs none of these libraries. A function whose library is missing raises ImportError with the command that
installs it.
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

# Names that shapiq gives to the indices of `attribution.fourier.indices`.
_SHAPIQ_INDICES = ("BII", "BV", "SII", "SV", "k-SII", "STII", "FSII", "FBII", "Moebius")


def to_shapiq(model: Any, index: str = "FBII", order: int = 2, target: int = 0) -> Any:
    """Convert a spectrum to `shapiq.InteractionValues`, by shapiq's own definition of the index.

    Parameters
    ----------
    model : Spectrum or fitted estimator
        An estimator with `spectra_`, such as `ProxySPEX`.
    index : {"BII", "BV", "SII", "SV", "k-SII", "STII", "FSII", "FBII", "Moebius"}
        Index to compute.
    order : int
        Members of the largest set. "BV" and "SV" have order 1.
    target : int
        Position of the target, if `model` is an estimator.

    Returns
    -------
    shapiq.InteractionValues

    Raises
    ------
    ImportError
        Without shapiq.
    SpectrumError
        For an unknown index, order or target.

    Notes
    -----
    shapiq defines "BII", "BV" and "FBII" at alpha = 1/2, so they are computed there by the exact change of alpha. A
    campaign's own Banzhaf interactions at another alpha are `indices.banzhaf_interactions`. The baseline is f(empty
    training set); for "FBII" it is the fit's own constant.
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
    """Convert results to a pandas DataFrame.

    Parameters
    ----------
    results : Spectrum, fitted estimator, list of dataclasses, mapping of columns, or pyarrow.Table
        A spectrum, or an estimator with `spectra_`, gives one row for each term: target, members, order, coefficient,
        banzhaf. A list such as `model.interactions()` gives one row for each entry, its fields as columns.

    Returns
    -------
    pandas.DataFrame

    Raises
    ------
    ImportError
        Without pandas.
    TypeError
        For anything else.
    """
    pandas = _import("pandas", "pandas>=2.2")
    if hasattr(results, "to_pandas"):  # pyarrow, and Hugging Face datasets
        return results.to_pandas()
    return pandas.DataFrame(_columns(results))


def to_datasets(results: Any) -> Any:
    """Convert a table to a Hugging Face `datasets.Dataset`.

    Parameters
    ----------
    results : pyarrow.Table, or anything `to_pandas` takes

    Returns
    -------
    datasets.Dataset

    Raises
    ------
    ImportError
        Without Hugging Face datasets.
    TypeError
        For anything else.
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
    """f(empty training set), where every phi_i is -alpha / sigma."""
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
    """Columns of one table, from any of the forms that `to_pandas` documents."""
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
