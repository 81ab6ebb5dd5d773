"""Execution: the connection to Ray, the streaming map, and the tasks that nodes run."""
