"""Features of the project's own networks: what the last layer reads of every training example."""

from __future__ import annotations

import numpy as np

from training.data.dataset import Dataset
from training.errors import TrainingInputError
from training.recipe import Recipe


def embed(
    dataset: Dataset,
    recipe: Recipe,
    seeds: list[int],
    *,
    masks: np.ndarray | None = None,
    ensemble_size: int = 32,
    device: str = "cpu",
    mode: str = "grouped",
) -> tuple[np.ndarray, np.ndarray]:
    """Train networks and return their features and logits of all training examples.

    Parameters
    ----------
    dataset : Dataset
        Images and players.
    recipe : Recipe
        How each network is trained.
    seeds : list of int
        One training seed a network.
    masks : (n_networks, n_players) bool array, optional
        The players each network is trained on, at least one each; all players by default. With masks, a network's
        logits of the examples that it was not trained on are out of sample.
    ensemble_size : int
        Networks trained together (K); the last of them may be fewer.
    device : str
        A torch device.
    mode : str
        Execution mode of the training, see `training.engine.modes`. The features are computed in it too, except in
        `native`, whose trained weights torch evaluates (`training.engine.engine.Engine.features`).

    Returns
    -------
    features : (n_networks, n_train, width) float32 array
        What the last layer reads, in coordinates of each network's own. NaN where a network diverged.
    logits : (n_networks, n_train, n_classes) float32 array
        NaN where a network diverged.

    Raises
    ------
    TrainingInputError
        For masks that do not match the seeds or the players, an ensemble size below 1, and an unknown device or mode.

    Examples
    --------
    >>> from training import Recipe, load_dataset
    >>> digits = load_dataset("digits", n_train=20, n_targets=10, n_audit=10)
    >>> features, logits = embed(digits, Recipe(epochs=1), seeds=[0, 1])
    >>> features.shape, logits.shape
    ((2, 20, 32), (2, 20, 10))
    """
    from training.engine.factory import make_engine

    present = np.ones((len(seeds), dataset.n_players), dtype=bool) if masks is None else np.asarray(masks)
    if present.shape != (len(seeds), dataset.n_players) or not present.any(axis=1).all():
        raise TrainingInputError(
            f"one mask per seed with at least one player is needed, ({len(seeds)}, {dataset.n_players}); got "
            f"{present.shape}."
        )
    if ensemble_size < 1:
        raise TrainingInputError(f"ensemble_size must be at least 1; got {ensemble_size}.")
    engine = make_engine(dataset, recipe, device=device, mode=mode)
    examples = present[:, dataset.players]
    parts = []
    for start in range(0, len(seeds), ensemble_size):
        rows = slice(start, start + ensemble_size)
        part = engine.features(examples[rows], [int(seed) for seed in seeds[rows]])
        part.features[part.diverged] = np.nan
        part.logits[part.diverged] = np.nan
        parts.append(part)
    return np.concatenate([part.features for part in parts]), np.concatenate([part.logits for part in parts])
