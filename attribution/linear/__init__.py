"""The LASSO datamodel, cross-fitted, and main effects from it."""
