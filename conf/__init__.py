"""Configurations people run, and the schema that checks them."""
