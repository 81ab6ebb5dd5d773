"""Estimators with scikit-learn's interface: fit(masks, outputs), predict(masks).

| estimator | use it |
|---|---|
| `ProxySPEX` | to find interactions, with errors and q-values |
| `SPEX` | as `ProxySPEX`, on structured masks: pure sets of order 3 to 6, many players, outputs without noise |
| `BlendedProxySPEX` | as `ProxySPEX`, for better predictions of exact outputs that have very many interactions |
| `Datamodel` | for main effects and predictions: LASSO, the linear model that predicts best when few players matter |
| `LinkDatamodel` | to compare: main effects and a curve, what an output has without any specific set of players |
| `RidgeDatamodel` | for predictions when many players have small effects of similar size |
| `SampleReuseBanzhaf` | for a quick ranking of players, without any penalty or tuning |
| `WeightedLeastSquares` | to estimate Shapley or LIME values from masks that exist already |
| `PairwiseLasso` | as a baseline: one penalty over all players and pairs, up to 300 players |
| `BoostedProxy` | as a baseline: predictions by boosted trees, without evidence for any set |
| `PublishedProxySPEX` | to compare with the paper: its own steps and defaults on the same masks |

The pipeline uses the methods of `ProxySPEX` and `SPEX`. The others are peers; each documents when to use it and when
not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attribution.lazy import attach

if TYPE_CHECKING:
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

__getattr__, __dir__, __all__ = attach(__name__, __file__)
