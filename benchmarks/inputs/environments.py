"""Does `coterie run quickstart` work in the environments that people have, or say in a sentence why not?

    python benchmarks/inputs/environments.py [--only http_proxy TMPDIR]

Every environment runs the whole quickstart at its smallest (plan, retrain, attribute, report) as a process of its own,
in a folder of its own. A proxy is a port of this machine that accepts a connection and never answers. An environment
passes if the run ends well, or if it ends within five seconds with one sentence, an exit code of the project's and no
traceback; seconds are the smaller of the wall's and the processor's, because a busy machine stretches the first.
"""

from __future__ import annotations

import argparse
import os
import resource
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

ROOT = Path(__file__).parents[2]
COTERIE = Path(sys.executable).with_name("coterie")
LIMIT = 5.0  # seconds for a sentence
TINY = (
    "dataset.n_train=16", "dataset.n_targets=8", "dataset.n_audit=8", "recipe.epochs=2", "recipe.width=2",
    "campaign.n_fit=40", "campaign.n_holdout=8", "campaign.shard_size=24", "compute.mode=grouped", "compute.workers=1",
    "attribution.n_targets=2", "attribution.published_targets=0",
)  # fmt: skip
CLOUD = """active = "local"
[profiles.cloud]
PREFECT_API_URL = "{url}"
PREFECT_API_KEY = "pnu_none"
"""


class _Refusing(BaseHTTPRequestHandler):
    """A server that accepts no key."""

    def do_GET(self) -> None:
        self.send_error(401)

    do_POST = do_GET  # noqa: N815  the name that http.server calls

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def environments(scratch: Path, port: int, refusing: int) -> Iterator[tuple[str, dict[str, str | None]]]:
    """Name and variables (None: not set) of each environment."""
    http, nowhere = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{_closed_port()}"
    yield "as it is", {}
    yield "http_proxy, https_proxy", {"http_proxy": http, "https_proxy": http}
    yield "HTTP_PROXY and no_proxy of the company", {"HTTP_PROXY": http, "no_proxy": "intranet.example"}
    yield "all_proxy=socks5", {"all_proxy": f"socks5://127.0.0.1:{port}"}
    yield "ALL_PROXY=socks5h", {"ALL_PROXY": f"socks5h://127.0.0.1:{port}"}
    long = scratch / ("x" * 60) / ("y" * 60)
    long.mkdir(parents=True)
    yield "TMPDIR of 120 characters and more", {"TMPDIR": str(long)}
    yield "HOME that cannot be written", {"HOME": "/proc/nowhere", "PREFECT_HOME": None}
    yield "the same, PREFECT_HOME elsewhere", {"HOME": "/proc/nowhere"}
    yield "PREFECT_HOME that cannot be written", {"PREFECT_HOME": "/proc/nowhere"}
    (scratch / "file").touch()
    yield "PREFECT_HOME below a file", {"PREFECT_HOME": str(scratch / "file" / "prefect")}
    yield "PREFECT_PROFILE of the cloud, not made", {"PREFECT_PROFILE": "cloud"}
    refuses = f"http://127.0.0.1:{refusing}"
    for name, url in (("reached by nobody", nowhere), ("that never answers", http), ("that refuses the key", refuses)):
        home = scratch / name.replace(" ", "-")
        home.mkdir()
        (home / "profiles.toml").write_text(CLOUD.format(url=f"{url}/api/accounts/a/workspaces/b"))
        yield f"PREFECT_PROFILE of a cloud {name}", {"PREFECT_PROFILE": "cloud", "PREFECT_HOME": str(home)}
    yield "PREFECT_API_URL of a server that is not there", {"PREFECT_API_URL": f"{nowhere}/api"}
    yield "a Prefect setting of another type", {"PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "soon"}
    yield "temporary server switched off", {"PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false"}
    for package in ("training", "conf", "flows"):
        other = scratch / f"project-{package}"
        (other / package).mkdir(parents=True)
        (other / package / "__init__.py").write_text("answer = 42\n")
        yield f"PYTHONPATH with a package {package}", {"PYTHONPATH": f"{other}{os.pathsep}{ROOT}"}
    yield "RAY_ADDRESS of a cluster that is gone", {"RAY_ADDRESS": nowhere.removeprefix("http://")}


def _closed_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def measure(name: str, variables: dict[str, str | None], scratch: Path) -> tuple[str, bool]:
    """One row of the table, and whether the environment passes."""
    own = Path(tempfile.mkdtemp(dir=scratch))
    (own / "prefect").mkdir()
    given = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(own / "prefect"), "PREFECT_API_URL": ""}
    if "PREFECT_PROFILE" in variables:
        del given["PREFECT_API_URL"]
    given = {key: value for key, value in {**given, **variables}.items() if value is not None}
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    try:
        done = subprocess.run(
            [str(COTERIE), "run", "quickstart", *TINY, f"campaign.folder={own / 'campaign'}"],
            env=given, cwd=own, capture_output=True, text=True, timeout=600, start_new_session=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"| {name} | HANGS | 600 | | |", False
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    works = done.returncode == 0 and (own / "campaign" / "report.html").is_file()
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    traceback = "Traceback" in done.stderr + done.stdout
    sentence = len(errors) == 1 and not traceback and done.returncode != 0
    in_time = min(seconds, processor) <= LIMIT
    what = "works" if works else "a sentence" if sentence else "FAILS"
    said = errors[0].removeprefix("error: ") if errors else "" if works else done.stderr.strip()[-300:]
    said = said.replace(str(scratch), "…").replace("|", "/").replace("\n", " ")
    row = f"| {name} | {what}{'' if not sentence or in_time else ', LATE'} | {seconds:.1f} | {processor:.1f} | {said} |"
    return row, works or (sentence and in_time)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="*", default=[], help="environments whose name holds one of these words")
    wanted = parser.parse_args().only
    print("| environment | | wall seconds | processor seconds | said |\n|---|---|---|---|---|", flush=True)
    passed = True
    with tempfile.TemporaryDirectory(prefix="env-", dir="/tmp") as folder, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(100)
        refusing = HTTPServer(("127.0.0.1", 0), _Refusing)
        threading.Thread(target=refusing.serve_forever, daemon=True).start()
        for name, variables in environments(Path(folder), silent.getsockname()[1], refusing.server_port):
            if not wanted or any(word in name for word in wanted):
                row, good = measure(name, variables, Path(folder))
                passed &= good
                print(row, flush=True)
    sys.exit(0 if passed else 1)


if __name__ == "__main__":
    main()
