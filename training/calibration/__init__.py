"""Measurement of the fastest execution mode on this machine."""
