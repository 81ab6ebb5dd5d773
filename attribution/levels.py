"""Default levels of confidence and of false discovery, in one place."""

from __future__ import annotations

Z95 = 1.959963984540054  # half-width of a two-sided 95% interval in standard errors, the 97.5% normal quantile
FDR_LEVEL = 0.05  # false discovery rate at which sets are listed, gates open and intervals allow for selection
