"""The command `coterie`."""

from __future__ import annotations


def main() -> None:
    """Entry point of the command; exits with a code that says what went wrong (`coterie --help` lists them)."""
    import sys

    from flows.runtime.preflight import EnvironmentProblem, check_packages

    try:
        check_packages()
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
    from flows.cli.commands import main as run

    run()
