"""Which package may import which, and what commands that only read may load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from flows.games.table import GAMES
from tests.flows.toy import ROOT

HEAVY = {"torch", "ray", "prefect"}


def imported_modules(path: Path, members: bool = False) -> set[str]:
    """Every module a file imports, wherever in the file the import stands; members: what comes `from` a package too."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are written in full"
            module = node.module or ""
            found.add(module)
            if members and "." not in module:
                found |= {f"{module}.{alias.name}" for alias in node.names}
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
        ("training", {"coterie", "attribution", "ablation", "flows", "conf", "ray", "prefect"}),
        ("attribution", {"coterie", "training", "ablation", "flows", "conf", "ray", "prefect"}),
        ("ablation", {"coterie", "training", "attribution", "flows", "conf", "ray", "prefect"}),
        ("flows", {"coterie"}),
        ("conf", {"attribution", "ablation", "flows", "ray", "prefect", "torch"}),
    ],
)
def test_imports_run_downward_only(package: str, forbidden: set[str]) -> None:
    offending = {path.name: bad for path in files(package) if (bad := imported_packages(path) & forbidden)}
    assert offending == {}


def test_a_configuration_knows_of_training_its_recipe_and_its_sources_alone() -> None:
    """`Recipe` defines the recipe section, the table of sources what dataset.source may be; neither loads torch."""
    of_training = {module for path in files("conf") for module in imported_modules(path) if "training" in module}
    assert of_training == {"training.recipe", "training.data.sources"}


# Each line may import from the lines below it, not from those above; folders of one line do not import each other,
# but a flow may call a flow of its own line. A file at a package's top counts as a folder.
ORDER = {
    "attribution": [
        ["__init__"],
        ["interop", "plot"],
        ["analysis", "curation", "scoring"],
        ["estimators"],
        ["interactions", "duplicates", "experiments"],
        ["screening", "proxy", "linear", "spex"],
        ["statistics"],
        ["masks"],
        ["fourier"],
        ["checks", "device"],
        ["containers"],
        ["errors", "lazy", "levels", "randomness", "types"],
    ],
    "training": [
        ["__init__"],
        ["calibration"],
        ["retrain"],
        ["engine"],
        ["grouping"],
        ["data"],
        ["masks", "packed_masks", "recipe", "architectures", "randomness", "cache"],
        ["errors"],
    ],
    "ablation": [
        ["__init__"],
        ["finetuning"],
        ["components", "patches"],
        ["discovery", "fills", "fixed_model", "regions"],
        ["sites", "trace"],
        ["errors", "players"],
    ],
    "flows": [
        ["__init__"],
        ["cli", "top_up", "weekly"],
        ["campaign", "plan", "retrain", "attribute", "report", "certify", "curate", "verify", "brittleness", "refine",
         "prune", "flip"],
        ["scoring"],
        ["experiments", "audit", "forecast", "decisions", "reporting", "banks"],
        ["refinement"],
        ["compute"],
        ["games"],
        ["lenses"],
        ["players"],
        ["store"],
        ["storage"],
        ["runtime"],
        ["errors"],
    ],
}
CALLS_ITS_OWN_LINE = {("flows", 2), ("training", 6)}


def place_in(package: str, module: str) -> str:
    """The folder of a module below a package, or its own name where it lies at the top."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


@pytest.mark.parametrize("package", ORDER)
def test_imports_run_one_way_between_the_folders_of_a_package(package: str) -> None:
    lines = {place: number for number, line in enumerate(ORDER[package]) for place in line}
    upward = []
    for path in files(package):
        here = place_in(package, ".".join(path.relative_to(ROOT).with_suffix("").parts))
        for module in imported_modules(path, members=True):
            there = place_in(package, module)
            if module.split(".")[0] != package or module == package or there not in lines or there == here:
                continue
            down = lines[there] > lines[here]
            if not down and not (lines[there] == lines[here] and (package, lines[here]) in CALLS_ITS_OWN_LINE):
                upward.append(f"{path.relative_to(ROOT)} imports {module}")
    assert upward == []


@pytest.mark.parametrize("package", ORDER)
def test_every_folder_of_a_package_has_a_place_in_its_order(package: str) -> None:
    folder = ROOT / package
    found = {path.name for path in folder.iterdir() if any(path.glob("*.py"))}
    found |= {path.stem for path in folder.glob("*.py")}
    assert found == {place for line in ORDER[package] for place in line}


@pytest.mark.parametrize("package", ORDER)
def test_no_folder_is_crowded_and_no_file_is_long(package: str) -> None:
    sources = [path for path in (ROOT / package).rglob("*") if path.suffix in {".py", ".cpp", ".h", ".j2", ".css"}]
    crowded = {folder: n for folder, n in Counter(path.parent for path in sources).items() if n > 16}
    assert crowded == {}
    lengths = {path.name: len(path.read_text().splitlines()) for path in sources if path.suffix == ".py"}
    assert {name: n for name, n in lengths.items() if n > 400} == {}


def test_ray_is_spoken_to_in_two_files_only() -> None:
    speaking = {path.name for path in files("flows") if "ray" in imported_packages(path)}
    assert speaking == {"ray_cluster.py", "streaming_map.py"}


def test_what_runs_on_the_nodes_imports_neither_ray_nor_prefect() -> None:
    """Nor does anything of flows that it imports, at any depth."""
    seen: set[str] = set()
    queue = ["flows.compute.work", *(place.partition(":")[0] for place in GAMES.values())]
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


# Reading and writing of fragments, their target-major copy, what leaves a campaign for other programs, and what users
# bring: banks, attributions, tables of players and targets.
SPEAKS_PARQUET = {"files.py", "compaction.py", "export.py", "arrays.py", "user_rows.py"}


def test_stages_and_commands_leave_parquet_to_the_store() -> None:
    touching = {path.name for path in files("flows") if "pyarrow.parquet" in imported_modules(path)}
    assert "files.py" in touching
    assert touching <= SPEAKS_PARQUET


@pytest.mark.parametrize(
    "package",
    [
        "coterie",
        "training",
        "ablation",
        "attribution",
        "attribution.estimators",
        "conf.compose",
        "flows.store",
        "flows.store.campaign",
        "flows.cli.stage_states",
    ],
)
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
    code = f"import sys; sys.argv = {['coterie', *arguments]!r}; from flows.cli.commands import main\ntry: main()\n"
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
    from flows.games.table import full_identity, make_game
    from flows.store.campaign import Campaign
    from tests.flows.report_campaign import make_campaign

    folder = tmp_path_factory.mktemp("small") / "campaign"
    config = compose("quickstart", [f"campaign.folder={folder}"])
    identity = full_identity(config, make_game(config))
    make_campaign(folder)
    meta = json.loads((folder / "campaign.json").read_text()) | {"identity": identity, "alpha": 0.5}
    (folder / "campaign.json").write_text(json.dumps(meta))
    analysis = json.loads((folder / "analysis.json").read_text()) | {"n_open": 3, "n_explained": 7}
    (folder / "analysis.json").write_text(json.dumps(analysis))
    assert Campaign(folder).exists
    return folder
