"""Execution: the connection to Ray, the streaming map, and the units of work that nodes run."""
