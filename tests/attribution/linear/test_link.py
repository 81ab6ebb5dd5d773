"""The link: curvatures of known saturating functions, and targets of which nothing is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from attribution.fourier.basis import basis
from attribution.linear.datamodel_fit import fit_linear
from attribution.linear.link import fit_link

N_MASKS, N_PLAYERS = 1200, 20


def fitted(outputs_of, seed: int = 0):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    phi = basis(rng.random((N_MASKS, N_PLAYERS)) < 0.5, 0.5)
    outputs = outputs_of(phi, rng)
    folds = np.arange(N_MASKS) % 6
    linear = fit_linear(phi, outputs, folds)
    return phi, outputs, linear, fit_link(phi, outputs, linear, folds)


@pytest.mark.parametrize("curvature", [-0.15, 0.1])
def test_the_curvature_of_a_quadratic_link_is_found_with_its_error(curvature: float) -> None:
    def outputs_of(phi: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        weights = np.abs(rng.normal(size=(8, N_PLAYERS)))
        weights /= np.sqrt((weights**2).sum(axis=1, keepdims=True))
        linear = phi @ weights.T
        return linear + curvature * linear**2 + 0.3 * rng.normal(size=linear.shape)

    _, _, _, link = fitted(outputs_of)
    helping = link.curvature[:, 0]
    assert np.abs(helping - curvature).max() < 0.05
    assert (np.abs(link.raw[:, 0] - curvature) < 4 * link.raw_stderr[:, 0]).all()


def test_a_target_without_effects_has_no_curve_and_warns_of_nothing() -> None:
    def outputs_of(phi: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        pairs = phi[:, 0] * phi[:, 1]  # an interaction and no main effect
        return np.stack([pairs, phi[:, 2] * phi[:, 3], phi @ np.ones(N_PLAYERS) / 4], axis=1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, outputs, linear, link = fitted(outputs_of)
    assert np.isfinite(link.predicted).all() and np.isfinite(link.curvature).all()
    empty = ~linear.coef.any(axis=1)
    assert empty.any() and not link.curvature[empty].any()
