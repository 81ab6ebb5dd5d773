"""Arrays from what people have: sparse matrices, data frames, tensors, object arrays, packed bits.

None of the packages is imported here: a value of theirs is recognised by the module of its class.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError


def as_array(values: Any, name: str) -> NDArray[Any]:
    """Convert an array-like value to a NumPy array.

    Parameters
    ----------
    values : array_like
        A NumPy array, nested sequences, a SciPy sparse matrix or array, a pandas or polars frame or series, a torch
        tensor of any device, type and layout, or an object with `unpack()` (packed masks).
    name : str
        Name of the argument in messages.

    Returns
    -------
    ndarray
        The values. Missing entries of frames become NaN. Object arrays of booleans, numbers and None become booleans or
        float64; masked arrays are filled with NaN.

    Raises
    ------
    AttributionError
        If rows have different lengths, or a tensor has no values.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> as_array(csr_array([[0, 1]]), "masks").tolist()
    [[0, 1]]
    >>> as_array(np.array([[True, None]], dtype=object), "outputs").tolist()
    [[1.0, nan]]
    """
    return _without_objects(as_labels(values, name))


def as_labels(values: Any, name: str) -> NDArray[Any]:
    """Convert an array-like value to a NumPy array and keep Python objects as they are.

    Integers above 2^53 stay apart, which float64 would join. Masked entries and those that are missing in a frame
    become None or NaN.

    Parameters
    ----------
    values : array_like
        A container of `as_array`.
    name : str
        Name of the argument in messages.

    Returns
    -------
    ndarray

    Raises
    ------
    AttributionError
        As `as_array`.

    Examples
    --------
    >>> as_labels(np.ma.MaskedArray([7, 8], mask=[False, True]), "groups").tolist()
    [7, None]
    """
    package = type(values).__module__.split(".")[0]
    if isinstance(values, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(values)
        if not masked.any():
            return np.asarray(values.data)
        labels = np.array(values.data, dtype=object)
        labels[masked] = None
        return labels
    if package == "scipy" and hasattr(values, "toarray"):
        values = values.toarray()
    elif package == "torch" and hasattr(values, "detach"):
        values = _of_tensor(values, name)
    elif package in ("pandas", "polars") and hasattr(values, "to_numpy"):
        values = values.to_numpy()
    elif hasattr(values, "unpack") and not isinstance(values, np.ndarray):
        values = values.unpack()
    try:
        return np.asarray(values)
    except ValueError as error:
        raise AttributionError(f"{name} must be rows of one length; NumPy finds: {error}.") from error


def is_vector(values: Any) -> bool:
    """Return whether a value has one dimension, without converting it.

    Parameters
    ----------
    values : Any
        A container of `as_array`.

    Returns
    -------
    bool
    """
    shape = getattr(values, "shape", None)
    return np.ndim(values) == 1 if shape is None else len(shape) == 1


def check_row_order(**given: Any) -> None:
    """Check that pandas containers which label their rows alike have them in one order: rows are matched by place.

    Parameters
    ----------
    **given : Any
        Arguments of a fit by name, whatever containers they are.

    Raises
    ------
    AttributionError
        If two of them have the same labels in another order.

    Examples
    --------
    >>> check_row_order(masks=np.ones((3, 2)), outputs=[1, 2, 3])
    """
    first: tuple[str, Any] | None = None
    for name, values in given.items():
        if type(values).__module__.split(".")[0] != "pandas" or not hasattr(values, "index"):
            continue
        index = values.index
        if first is None:
            first = name, index
            continue
        earlier, other = first
        if len(index) != len(other) or index.equals(other) or not (index.is_unique and other.is_unique):
            continue
        if index.isin(other).all():
            raise AttributionError(
                f"the rows of {name} have the labels of {earlier} in another order, and rows are matched by place. "
                f"Give {name}.loc[{earlier}.index] where labels say what belongs together, or {name}.to_numpy() where "
                "places do."
            )


def column_names(values: Any) -> NDArray[Any] | None:
    """Return the column names of a data frame, if all of them are text.

    Parameters
    ----------
    values : Any
        A pandas or polars frame, or any other value.

    Returns
    -------
    (n,) object array or None
        As scikit-learn's `feature_names_in_`.
    """
    if type(values).__module__.split(".")[0] not in ("pandas", "polars") or not hasattr(values, "columns"):
        return None
    names = list(values.columns)
    return np.array(names, dtype=object) if all(isinstance(one, str) for one in names) else None


def unpack_masks(packed: Any, n_players: int, bitorder: str = "little") -> NDArray[np.bool_]:
    """Unpack masks that hold eight players to a byte.

    Parameters
    ----------
    packed : (m, ceil(n / 8)) uint8
        Packed masks.
    n_players : int
        Number of players, n.
    bitorder : {"little", "big"}
        Whether player 0 is the lowest or the highest bit of the first byte. A campaign's store and
        `np.packbits(..., bitorder="little")` have it lowest.

    Returns
    -------
    (m, n) bool

    Raises
    ------
    AttributionError
        If the bytes are too few or too many for the players, or the bit order is another word.

    Examples
    --------
    >>> masks = np.array([[True, False, True], [False, True, True]])
    >>> bool((unpack_masks(np.packbits(masks, axis=1, bitorder="little"), 3) == masks).all())
    True
    """
    rows = np.asarray(packed)
    if bitorder not in ("little", "big"):
        raise AttributionError(f"bitorder must be 'little' or 'big'; got {bitorder!r}.")
    if rows.dtype != np.uint8 or rows.ndim != 2 or rows.shape[1] != -(-int(n_players) // 8):
        raise AttributionError(
            f"packed masks of {n_players} players are uint8 of shape (n_masks, {-(-int(n_players) // 8)}); got "
            f"{rows.dtype} of shape {rows.shape}."
        )
    return np.unpackbits(rows, axis=1, count=int(n_players), bitorder=bitorder).astype(np.bool_)  # type: ignore[call-overload]


def _of_tensor(tensor: Any, name: str) -> Any:
    """The values of a torch tensor, whatever its device, layout and gradient."""
    if tensor.is_meta:
        raise AttributionError(f"{name} is a tensor on the meta device, which has no values. Give its values.")
    tensor = tensor.detach()
    if tensor.layout is not _strided(tensor):
        tensor = tensor.to_dense()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    tensor = tensor.resolve_conj().resolve_neg().cpu()
    if str(tensor.dtype) == "torch.bfloat16" or "float8" in str(tensor.dtype):  # NumPy has neither
        tensor = tensor.float()
    return tensor.numpy()


def _strided(tensor: Any) -> Any:
    """torch.strided, without importing torch."""
    import sys

    return sys.modules["torch"].strided


def _without_objects(array: NDArray[Any]) -> NDArray[Any]:
    """Object arrays of booleans as booleans; of numbers and missing values as float64; others unchanged."""
    if array.dtype != object:
        return array
    flat = array.ravel()
    missing = np.array([one is None or type(one).__name__ in ("NAType", "NaTType") for one in flat], dtype=bool)
    if not missing.any() and all(isinstance(one, (bool, np.bool_)) for one in flat):
        return array.astype(np.bool_)
    if all(isinstance(one, (bool, np.bool_, int, float, np.integer, np.floating)) for one in flat[~missing]):
        numbers = np.full(flat.shape, np.nan)
        try:
            numbers[~missing] = flat[~missing].astype(np.float64)
        except OverflowError:  # an integer above 1e308
            return array
        return numbers.reshape(array.shape)
    return array
