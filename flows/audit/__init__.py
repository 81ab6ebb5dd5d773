"""Checks of a campaign's folder: every row once, as written, and reproducible."""
