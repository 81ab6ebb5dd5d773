"""The command `coterie`."""

from __future__ import annotations


def main() -> None:
    """Entry point of the command; exits with a code that says what went wrong (`coterie --help` lists them)."""
    from flows.cli.commands import main as run

    run()
