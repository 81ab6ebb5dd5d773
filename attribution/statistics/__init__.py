"""Statistics that know of no player: p-values, false discovery rates, shrinkage, intervals, R2."""
