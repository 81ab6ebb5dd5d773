"""Tests, and the games with known answers that they and the benchmarks share."""
