"""Decisions about players (keep, drop, review): evidence, rules, reasons, budgets, baselines."""
