"""Factorial retraining of chosen sets: design, power, verdicts, comparison with planted truth."""
