"""Frozen plans of further retrainings (certify, verify, brittleness), their training and results."""
