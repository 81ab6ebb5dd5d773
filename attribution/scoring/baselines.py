"""Attributions that cost nothing or a few networks, to compare a method with.

Every function returns (n_players, n_targets): positive where the player's presence is expected to raise the output.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attribution.errors import AttributionError
from attribution.randomness import Purpose, random_stream
from attribution.types import Array

Classes = NDArray[np.int64]


def random_attribution(n_players: int, n_targets: int, seed: int = 0) -> Array:
    """Draw attributions that know nothing.

    Parameters
    ----------
    n_players, n_targets : int
    seed : int

    Returns
    -------
    (n_players, n_targets) float64
        Standard normal numbers.
    """
    return random_stream(Purpose.RANDOM_ATTRIBUTION, seed).normal(size=(n_players, n_targets))


def same_class(player_classes: Classes, target_classes: Classes) -> Array:
    """Attribute 1 to players of the target's class and 0 to others.

    Parameters
    ----------
    player_classes : (n,) int64
        Negative for a player of no single class.
    target_classes : (t,) int64

    Returns
    -------
    (n, t) float64

    Examples
    --------
    >>> same_class(np.array([0, 1, -1]), np.array([1])).ravel().tolist()
    [0.0, 1.0, 0.0]
    """
    return ((player_classes[:, None] == target_classes[None, :]) & (player_classes[:, None] >= 0)).astype(np.float64)


def feature_similarity(
    features: Array, target_features: Array, classes: Classes, target_classes: Classes
) -> Array:
    """Attribute the cosine similarity of features, negative where the classes differ.

    Parameters
    ----------
    features : (k, n, d) float
        Of training examples, in the coordinates of each of k networks.
    target_features : (k, t, d) float
        Of the targets, by the same networks.
    classes, target_classes : (n,) and (t,) int64

    Returns
    -------
    (n, t) float64
        Mean over networks. Features are centred on the training examples first.
    """
    signs = np.where(classes[:, None] == target_classes[None, :], 1.0, -1.0)
    found = [signs * _cosine(own, others) for own, others in _networks(features, target_features)]
    return np.asarray(np.mean(found, axis=0))


def knn_shapley(
    features: Array, target_features: Array, classes: Classes, target_classes: Classes, n_neighbours: int = 5
) -> Array:
    """Compute exact Shapley values of a nearest-neighbour classifier on features.

    Parameters
    ----------
    features, target_features, classes, target_classes
        As in `feature_similarity`.
    n_neighbours : int
        K of the classifier.

    Returns
    -------
    (n, t) float64
        Mean over networks. For each target, the values sum to the share of its K nearest neighbours of its class.

    Raises
    ------
    AttributionError
        For fewer training examples than neighbours.

    Notes
    -----
    Jia et al. (2019), "Efficient task-specific data valuation for nearest neighbor algorithms", theorem 1: of examples
    sorted by distance, s_N = 1[y_N = y] / N and s_i = s_{i+1} + (1[y_i = y] - 1[y_{i+1} = y]) / K * min(K, i) / i.
    """
    n = len(classes)
    if not 1 <= n_neighbours <= n:
        raise AttributionError(f"n_neighbours must lie between 1 and the {n} training examples; got {n_neighbours}.")
    right = (classes[:, None] == target_classes[None, :]).astype(np.float64)
    place = np.arange(1, n, dtype=np.float64)
    step = (np.minimum(n_neighbours, place) / place / n_neighbours)[:, None]
    found = np.zeros((n, len(target_classes)))
    networks = list(_networks(features, target_features))
    for own, others in networks:
        squared = (own**2).sum(axis=1)[:, None] - 2 * own @ others.T  # less the target's own norm, which orders nothing
        order = np.argsort(squared, axis=0, kind="stable")
        sorted_right = np.take_along_axis(right, order, axis=0)
        values = np.empty_like(sorted_right)
        values[-1] = sorted_right[-1] / n
        differences = step * (sorted_right[:-1] - sorted_right[1:])
        values[:-1] = values[-1] + np.cumsum(differences[::-1], axis=0)[::-1]
        back = np.empty_like(values)
        np.put_along_axis(back, order, values, axis=0)
        found += back
    return found / len(networks)


def gradient_similarity(
    features: Array,
    logits: Array,
    classes: Classes,
    target_features: Array,
    target_logits: Array,
    target_classes: Classes,
) -> Array:
    """Attribute the inner product of the last layer's loss gradients (TracIn at the end of training).

    Parameters
    ----------
    features, logits : (k, n, d) and (k, n, c) float
        What the last layer reads and returns for training examples, of k networks.
    classes : (n,) int64
        Labels below c.
    target_features, target_logits, target_classes
        The same for targets.

    Returns
    -------
    (n, t) float64
        Mean over networks.

    Notes
    -----
    The gradient of the cross entropy with respect to the last layer's weights and bias is (p - e_y) (h, 1)', so that
    the inner product of two gradients is <p - e_y, q - e_z> (<h, g> + 1) (Pruthi et al. 2020, last layer only).
    """
    found = []
    for network, (own, others) in enumerate(zip(features, target_features, strict=True)):
        residual = _probabilities(logits[network]) - np.eye(logits.shape[2])[classes]
        of_targets = _probabilities(target_logits[network]) - np.eye(logits.shape[2])[target_classes]
        values = (residual @ of_targets.T) * (own.astype(np.float64) @ others.T.astype(np.float64) + 1.0)
        if np.isfinite(values).all():
            found.append(values)
    if not found:
        raise AttributionError("no network has finite features: all of them diverged.")
    return np.asarray(np.mean(found, axis=0))


def sum_over_players(values: Array, players: NDArray[np.int64], n_players: int) -> Array:
    """Add up the attributions of the examples of each player.

    Parameters
    ----------
    values : (n_examples, t) float64
    players : (n_examples,) int64
        The player of each example.
    n_players : int

    Returns
    -------
    (n_players, t) float64
    """
    total = np.zeros((n_players, values.shape[1]))
    np.add.at(total, players, values)
    return total


def _networks(features: Array, target_features: Array) -> list[tuple[Array, Array]]:
    """Centred features of each network that did not diverge."""
    found = []
    for own, others in zip(features.astype(np.float64), target_features.astype(np.float64), strict=True):
        if np.isfinite(own).all() and np.isfinite(others).all():
            centre = own.mean(axis=0)
            found.append((own - centre, others - centre))
    if not found:
        raise AttributionError("no network has finite features: all of them diverged.")
    return found


def _cosine(own: Array, others: Array) -> Array:
    first = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-12)
    second = others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-12)
    return np.asarray(first @ second.T)


def _probabilities(logits: Array) -> Array:
    values = logits.astype(np.float64)
    shifted = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
