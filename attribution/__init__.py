"""Which training examples act together: interactions, effects and their evidence, from masks and outputs.

Names are imported when they are first used: scikit-learn, SciPy and LightGBM take a second that `coterie --help`
should not wait for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attribution.lazy import attach

if TYPE_CHECKING:
    from attribution.containers import unpack_masks
    from attribution.duplicates.search import (  # earlier names
        ClusterSearch,
        CopyGroup,
        CopySearch,
        FoundCluster,
        find_clusters,
        find_copies,
    )
    from attribution.errors import AttributionError, AttributionWarning
    from attribution.estimators.blended_proxyspex import BlendedProxySPEX
    from attribution.estimators.boosted_proxy import BoostedProxy
    from attribution.estimators.datamodel import Datamodel
    from attribution.estimators.link_datamodel import LinkDatamodel
    from attribution.estimators.pairwise_lasso import PairwiseLasso
    from attribution.estimators.proxyspex import ProxySPEX
    from attribution.estimators.published_proxyspex import PublishedProxySPEX
    from attribution.estimators.ridge import RidgeDatamodel
    from attribution.estimators.sample_reuse import SampleReuseBanzhaf
    from attribution.estimators.spex import SPEX
    from attribution.estimators.weighted_least_squares import WeightedLeastSquares
    from attribution.fourier.spectrum import Spectrum
    from attribution.interactions.interaction import Interaction
    from attribution.plot import plot_interactions
    from attribution.spex.design import SpexDesign
    from attribution.statistics.variance_by_order import OrderWeights, order_weights

__getattr__, __dir__, __all__ = attach(__name__, __file__)
