"""Which training examples act together: interactions, effects and their evidence, from masks and outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from attribution.duplicates.search import ClusterSearch, FoundCluster, find_clusters
    from attribution.errors import AttributionError, AttributionWarning
    from attribution.estimators.boosted_proxy import BoostedProxy
    from attribution.estimators.datamodel import Datamodel
    from attribution.estimators.pairwise_lasso import PairwiseLasso
    from attribution.estimators.proxyspex import ProxySPEX
    from attribution.estimators.ridge import RidgeDatamodel
    from attribution.estimators.sample_reuse import SampleReuseBanzhaf
    from attribution.estimators.weighted_least_squares import WeightedLeastSquares
    from attribution.fourier.spectrum import Spectrum
    from attribution.interactions.interaction import Interaction
    from attribution.statistics.variance_by_order import OrderWeights, order_weights

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
    "BoostedProxy": "attribution.estimators.boosted_proxy",
    "ClusterSearch": "attribution.duplicates.search",
    "FoundCluster": "attribution.duplicates.search",
    "find_clusters": "attribution.duplicates.search",
    "Datamodel": "attribution.estimators.datamodel",
    "Interaction": "attribution.interactions.interaction",
    "OrderWeights": "attribution.statistics.variance_by_order",
    "PairwiseLasso": "attribution.estimators.pairwise_lasso",
    "ProxySPEX": "attribution.estimators.proxyspex",
    "RidgeDatamodel": "attribution.estimators.ridge",
    "SampleReuseBanzhaf": "attribution.estimators.sample_reuse",
    "Spectrum": "attribution.fourier.spectrum",
    "WeightedLeastSquares": "attribution.estimators.weighted_least_squares",
    "order_weights": "attribution.statistics.variance_by_order",
}


def __getattr__(name: str) -> Any:
    # Imported when first used: scikit-learn, SciPy and LightGBM cost a second that `--help` should not wait for.
    if name in _WHERE:
        import importlib

        return getattr(importlib.import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'attribution' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
