"""Default levels of confidence and of false discovery, in one place."""

from __future__ import annotations

Z95 = 1.959963984540054  # half-width of a two-sided 95% interval in standard errors, the 97.5% normal quantile
FDR_LEVEL = 0.05  # false discovery rate at which sets are listed, gates open and intervals allow for selection
# q-value up to which every set of a screen is stored: readers may list sets at up to twice FDR_LEVEL.
REPORTED_Q = 2 * FDR_LEVEL

# Of the labels called wrong, at most this share is expected to be right: an accusation holds four times of five.
LABEL_RATE = 0.2
