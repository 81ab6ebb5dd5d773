"""The command `coterie`."""

from __future__ import annotations


def main() -> None:
    """Check the installed packages, then run the command (`coterie --help` lists its exit codes).

    Raises
    ------
    SystemExit
        With the problem's exit code when a package check fails, else with that of the command.
    """
    import sys

    from flows.runtime.preflight import EnvironmentProblem, check_packages

    try:
        check_packages()
    except EnvironmentProblem as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(problem.exit_code)
    from flows.cli.commands import main as run

    run()
