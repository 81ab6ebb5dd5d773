"""Features of training images for grouping: principal components of the pixels, or an embedding of the owner's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.dataset import ImageSet, expanded
from training.errors import TrainingInputError

N_COMPONENTS = 40


def pixel_features(images: np.ndarray, seed: int) -> np.ndarray:
    """Reduce images to their leading principal components.

    Parameters
    ----------
    images : (n, height, width, channels) uint8
    seed : int
        Of the randomized decomposition.

    Returns
    -------
    (n, at most 40) float64 array
    """
    flat = images.reshape(len(images), -1).astype(np.float32) / 255
    return leading_components(flat, seed)


def leading_components(features: np.ndarray, seed: int) -> np.ndarray:
    """Return the leading principal components of features, at most 40 and in units of the features.

    Parameters
    ----------
    features : (n, d) float array
    seed : int
        Of the randomized decomposition.

    Returns
    -------
    (n, min(n, d, 40)) float64 array
    """
    from sklearn.decomposition import PCA

    count = min(N_COMPONENTS, *features.shape)
    found: np.ndarray = PCA(count, svd_solver="randomized", random_state=seed).fit_transform(features)
    return found.astype(np.float64)


def network_features(networks: np.ndarray) -> np.ndarray:
    """Join the features of several networks, each with equal weight.

    Parameters
    ----------
    networks : (k, n, width) float array
        What the last layer of each network reads (`training.engine.features.embed`); NaN where one diverged.

    Returns
    -------
    (n, d) float64 array
        Every network centred and divided by its root mean square, side by side.

    Raises
    ------
    TrainingInputError
        When every network diverged.
    """
    parts = []
    for features in networks.astype(np.float64):
        if np.isfinite(features).all():
            centred = features - features.mean(axis=0)
            parts.append(centred / max(float(np.sqrt((centred**2).sum(axis=1).mean())), 1e-12))
    if not parts:
        raise TrainingInputError(
            f"all {len(networks)} networks that find groups diverged. Lower recipe.learning_rate, or set "
            f"players.features=pixels."
        )
    return np.concatenate(parts, axis=1)


def owned_features(file_name: str, column: str, train: ImageSet) -> np.ndarray:
    """Read the owner's embedding of the training images from a Parquet file.

    Parameters
    ----------
    file_name : str
        A Parquet file with a column `name` (as in the campaign's lists) or, without one, a row for every training
        image of the source in its order.
    column : str
        The column of the embedding: a list of numbers a row, all of one length.
    train : ImageSet
        The training images.

    Returns
    -------
    (n_train, d) float64 array

    Raises
    ------
    TrainingInputError
        For a file or column that cannot be read, lists of several lengths, values that are no numbers, and images
        without a row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path: Path = expanded(file_name)
    try:
        names = pq.read_schema(path).names
        if column not in names:
            raise TrainingInputError(
                f"{path} has no column {column!r}; it has {', '.join(names)}. Set players.embedding_column to one of "
                "them."
            )
        table = pq.read_table(path, columns=[name for name in ("name", column) if name in names])
    except (OSError, pa.ArrowException) as error:
        raise TrainingInputError(
            f"players.embedding={path} cannot be read as Parquet ({str(error).strip()}). Write it again."
        ) from error
    rows = _rows_of(table, train, path)
    return _as_matrix(table[column].to_pylist(), column, path)[rows]


def _rows_of(table: object, train: ImageSet, path: Path) -> np.ndarray:
    """Row of the file for each training image, by name where the file has names, else by the source's rows."""
    import pyarrow as pa

    assert isinstance(table, pa.Table)
    if "name" in table.column_names:
        at = {name: row for row, name in enumerate(table["name"].to_pylist())}
        missing = [name for name in train.names.tolist() if name not in at]
        if missing:
            raise TrainingInputError(
                f"{path} has no row for {len(missing)} of {len(train)} training images, {missing[0]!r} among them. Add "
                "their embeddings; names are those of the campaign's lists."
            )
        return np.array([at[name] for name in train.names.tolist()], dtype=np.int64)
    if train.source_index.max() >= table.num_rows:
        raise TrainingInputError(
            f"{path} has {table.num_rows} rows and no column name, and a training image is row "
            f"{int(train.source_index.max())} of its source. Write one row for every image, or add a column name."
        )
    return train.source_index


def _as_matrix(entries: list[object], column: str, path: Path) -> np.ndarray:
    widths = {len(entry) if isinstance(entry, list) else None for entry in entries}
    if len(widths) != 1 or None in widths or widths == {0}:
        shown = ", ".join(sorted("no list" if width is None else str(width) for width in widths))
        raise TrainingInputError(
            f"{path}, column {column}: every row must be a list of as many numbers; found lengths {shown}. Write one "
            "embedding of one network."
        )
    try:
        found = np.array(entries, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TrainingInputError(f"{path}, column {column} holds something else than numbers ({error}).") from error
    if not np.isfinite(found).all():
        raise TrainingInputError(
            f"{path}, column {column}: {int((~np.isfinite(found)).any(axis=1).sum())} rows hold NaN or infinity. Give "
            "every image a finite embedding."
        )
    return found
