"""Which training examples act together: interactions, effects and their evidence, from masks and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attribution.boosted import BoostedProxy
    from attribution.cluster_search import ClusterSearch, FoundCluster, find_clusters
    from attribution.datamodel import Datamodel
    from attribution.errors import AttributionError, AttributionWarning
    from attribution.interaction import Interaction
    from attribution.noise_stability import OrderWeights, order_weights
    from attribution.pairwise_lasso import PairwiseLasso
    from attribution.proxyspex import ProxySPEX
    from attribution.ridge import RidgeDatamodel
    from attribution.sample_reuse import SampleReuseBanzhaf
    from attribution.spectrum import Spectrum
    from attribution.weighted_least_squares import WeightedLeastSquares

__all__ = [
    "AttributionError",
    "AttributionWarning",
    "BoostedProxy",
    "ClusterSearch",
    "Datamodel",
    "FoundCluster",
    "Interaction",
    "OrderWeights",
    "PairwiseLasso",
    "ProxySPEX",
    "RidgeDatamodel",
    "SampleReuseBanzhaf",
    "Spectrum",
    "WeightedLeastSquares",
    "find_clusters",
    "order_weights",
]

_WHERE = {
    "AttributionError": "attribution.errors",
    "AttributionWarning": "attribution.errors",
    "BoostedProxy": "attribution.boosted",
    "ClusterSearch": "attribution.cluster_search",
    "FoundCluster": "attribution.cluster_search",
    "find_clusters": "attribution.cluster_search",
    "Datamodel": "attribution.datamodel",
    "Interaction": "attribution.interaction",
    "OrderWeights": "attribution.noise_stability",
    "PairwiseLasso": "attribution.pairwise_lasso",
    "ProxySPEX": "attribution.proxyspex",
    "RidgeDatamodel": "attribution.ridge",
    "SampleReuseBanzhaf": "attribution.sample_reuse",
    "Spectrum": "attribution.spectrum",
    "WeightedLeastSquares": "attribution.weighted_least_squares",
    "order_weights": "attribution.noise_stability",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: scikit-learn, SciPy and LightGBM cost a second that `--help` should not wait for.
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'attribution' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
