"""Exhaustive screens: statistics of all pairs and triples, and heredity."""
