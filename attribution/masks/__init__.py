"""Masks as a fit receives them: validation, row groups, folds, mixtures of alphas."""
