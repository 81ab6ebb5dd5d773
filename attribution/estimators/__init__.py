"""Estimators with scikit-learn's interface: fit(masks, outputs), predict(masks)."""
