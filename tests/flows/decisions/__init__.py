"""Tests of flows.decisions."""
