"""Environments that would end in a hang or a traceback end in one sentence, before Ray and Prefect start."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.runtime import preflight
from flows.runtime.preflight import (
    EnvironmentProblem,
    check_environment,
    check_ray_address,
    check_ray_answers,
    short_temporary_folder,
)
from tests.flows.toy import COTERIE, ROOT


def coterie(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in an environment of its own."""
    return subprocess.run(
        [str(COTERIE), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd="/",
    )


def checked_with(**environment: str) -> str:
    """What `check_environment` reports in a process with these variables; empty where nothing is wrong."""
    code = (
        "import sys\nfrom flows.runtime.preflight import EnvironmentProblem, check_environment\n"
        "try: check_environment()\nexcept EnvironmentProblem as problem: sys.stdout.write(str(problem))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_usual_environment_has_no_problem() -> None:
    check_environment()


@pytest.mark.parametrize("name", ["training", "conf", "attribution"])
def test_a_package_of_the_same_name_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    done = coterie("plan", "quickstart", "--dry-run", PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert done.returncode == 7
    assert done.stderr.startswith(f"error: the package '{name}' of another project, in {tmp_path / name}, hides")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("variable", ["http_proxy", "HTTPS_PROXY", "all_proxy"])
def test_this_machine_is_reached_without_the_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "http://proxy.example:3128")
    monkeypatch.setenv("no_proxy", "intranet.example")
    preflight.exempt_this_machine_from_proxies()
    assert os.environ["no_proxy"] == "intranet.example,127.0.0.1,localhost"
    assert os.environ["NO_PROXY"] == "127.0.0.1,localhost"


def test_without_a_proxy_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*preflight.PROXIES, *map(str.upper, preflight.PROXIES), "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    preflight.exempt_this_machine_from_proxies()
    assert "no_proxy" not in os.environ


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"all_proxy": "socks5://127.0.0.1:9"}, "all_proxy names a SOCKS proxy"),
        ({"PREFECT_HOME": "/proc/nowhere"}, "Prefect keeps its state in /proc/nowhere"),
        ({"PREFECT_HOME": "", "HOME": "/proc/nowhere"}, "Set PREFECT_HOME to a folder"),
        ({"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}, "temporary server is switched off"),
        ({"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "soon"}, "Prefect's settings cannot be read"),
        ({"PREFECT_LOGGING_LEVEL": "LOUD"}, "'level' of LoggingSettings: Input should be 'DEBUG'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_environment_that_cannot_work_is_one_sentence(environment: dict[str, str], message: str) -> None:
    assert message in checked_with(PREFECT_API_URL="", **environment)


def test_an_address_that_no_ray_cluster_has_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    for address in ("auto", "local", "10.0.0.1:6379", "[::1]:6379", "head.cluster:6379", "ray://head:10001", None):
        check_ray_address(address)
    for address in ("nowhere", "head:port", "10.0.0.1", "http://head:8265"):
        with pytest.raises(EnvironmentProblem, match="compute.ray_address must be host:port"):
            check_ray_address(address)
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(EnvironmentProblem, match="RAY_ADDRESS must be host:port.*got 'nowhere'"):
        check_ray_address(None)


def test_a_cluster_that_is_not_there_is_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
        for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}", f"ray://127.0.0.1:{port}/namespace"):
            with pytest.raises(EnvironmentProblem, match=f"no Ray cluster answers at '{address}' .compute.ray_address"):
                check_ray_answers(address)
        one.listen()
        check_ray_answers(f"127.0.0.1:{port}")
        monkeypatch.setenv("RAY_ADDRESS", "no-such-host.invalid:6379")
        with pytest.raises(EnvironmentProblem, match="no-such-host.invalid:6379' .RAY_ADDRESS"):
            check_ray_answers(None)
    for address in ("auto", "local"):
        check_ray_answers(address)


def test_a_long_temporary_folder_is_replaced_for_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/" + "x" * 90)
    folder = short_temporary_folder()
    assert folder is not None and len(folder) <= preflight.LONGEST_TEMPORARY_FOLDER


def test_without_a_short_temporary_folder_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/scratch/" + "x" * 90)
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(EnvironmentProblem, match="Set TMPDIR to a shorter one"):
        short_temporary_folder()


@pytest.mark.slow
@pytest.mark.ray
def test_ray_starts_where_the_temporary_folder_has_a_long_path(tmp_path: Path) -> None:
    """As batch systems set it: Ray's sockets would not fit there."""
    long = tmp_path / ("x" * 60) / ("y" * 40)
    long.mkdir(parents=True)
    code = (
        "from flows.compute.ray_cluster import Cluster\n"
        "with Cluster(cpus=1) as cluster:\n"
        "    print([outcome.value for outcome in cluster.map(max, 1, [2])])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(long)}, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stdout.strip() == "[2]", done.stderr
