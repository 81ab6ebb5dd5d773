"""Which package may import which, and what commands that only read may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.toy import ROOT

HEAVY = {"torch", "ray", "prefect"}


def imported_modules(path: Path) -> set[str]:
    """Every module a file imports, wherever in the file the import stands."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            found.add(node.module or "")
    return found


def imported_packages(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imported_modules(path)}


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("training", {"attribution", "flows", "conf", "ray", "prefect"}),
        ("attribution", {"training", "flows", "conf", "ray", "prefect"}),
        ("conf", {"training", "attribution", "flows", "ray", "prefect", "torch"}),
    ],
)
def test_imports_run_downward_only(package: str, forbidden: set[str]) -> None:
    offending = {path.name: bad for path in files(package) if (bad := imported_packages(path) & forbidden)}
    assert offending == {}


def test_ray_is_spoken_to_in_the_cluster_files_only() -> None:
    speaking = {path.name for path in files("flows") if "ray" in imported_packages(path)}
    assert speaking and all(name.startswith("cluster") for name in speaking)


def test_what_runs_on_the_nodes_imports_neither_ray_nor_prefect() -> None:
    """Nor does anything of flows that it imports, at any depth."""
    seen: set[str] = set()
    queue = ["flows.work"]
    while queue:
        module = queue.pop()
        if module in seen:
            continue
        seen.add(module)
        path = ROOT / (module.replace(".", "/") + ".py")
        path = path if path.is_file() else ROOT / module.replace(".", "/") / "__init__.py"
        assert not imported_packages(path) & {"ray", "prefect"}, path
        queue += [name for name in imported_modules(path) if name.split(".")[0] == "flows"]
    assert len(seen) > 1


# Reading and writing of fragments, their target-major copy, and what leaves a campaign for other programs.
SPEAKS_PARQUET = {"files.py", "compaction.py", "export.py"}


def test_stages_and_commands_leave_parquet_to_the_store() -> None:
    touching = {path.name for path in files("flows") if "pyarrow.parquet" in imported_modules(path)}
    assert "files.py" in touching
    assert touching <= SPEAKS_PARQUET


@pytest.mark.parametrize("package", ["training", "attribution", "conf.compose", "flows.store", "flows.survey"])
def test_importing_a_package_loads_nothing_heavy(package: str) -> None:
    assert loaded_after(f"import {package}") & HEAVY == set()


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["run", "quickstart", "--dry-run", "campaign.folder={folder}"],
        ["status", "quickstart", "campaign.folder={folder}"],
        ["status", "{folder}"],
        ["show", "{folder}"],
    ],
    ids=" ".join,
)
def test_commands_that_only_read_load_none_of_torch_ray_prefect(command: list[str], small_campaign: Path) -> None:
    arguments = [part.format(folder=small_campaign) for part in command]
    code = f"import sys; sys.argv = {['coterie', *arguments]!r}; from flows.cli import main\ntry: main()\n"
    assert loaded_after(code + "except SystemExit as end: assert not end.code, end.code") & HEAVY == set()


def loaded_after(code: str) -> set[str]:
    """Top-level packages in memory after `code` has run in a process of its own."""
    tail = "\nimport json, sys; sys.stderr.write('LOADED' + json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code + tail], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.rpartition("LOADED")[2]))


@pytest.fixture(scope="module")
def small_campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A campaign with a quickstart's identity and tables of a few rows."""
    from conf.compose import compose
    from conf.schema import identity_settings
    from flows.store import Campaign
    from tests.flows.report_campaign import make_campaign

    folder = tmp_path_factory.mktemp("small") / "campaign"
    identity = identity_settings(compose("quickstart", [f"campaign.folder={folder}"]))
    make_campaign(folder)
    meta = json.loads((folder / "campaign.json").read_text()) | {"identity": identity, "alpha": 0.5}
    (folder / "campaign.json").write_text(json.dumps(meta))
    analysis = json.loads((folder / "analysis.json").read_text()) | {"n_open": 3, "n_explained": 7}
    (folder / "analysis.json").write_text(json.dumps(analysis))
    assert Campaign(folder).exists
    return folder
