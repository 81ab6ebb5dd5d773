"""Forecasts before anything is trained: time, cost, disk, expected R2."""
