"""Campaigns small enough to run whole in a test, and questions to ask of the system."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from conf.compose import compose
from conf.schema import CampaignConfig
from flows.store.campaign import Campaign

ROOT = Path(__file__).parents[2]
COTERIE = Path(sys.executable).with_name("coterie")

# 16 digits as players; a model trains for a few steps.
TOY = (
    "dataset.n_train=16",
    "dataset.n_targets=8",
    "dataset.n_audit=8",
    "recipe.epochs=2",
    "recipe.width=2",
    "campaign.n_fit=40",
    "campaign.n_holdout=8",
    "campaign.shard_size=8",
    "compute.mode=grouped",  # nothing is measured, and every run of a test trains in the same mode
    "attribution.n_targets=2", "attribution.published_targets=0",
)


def toy(folder: Path, *overrides: str, name: str = "quickstart") -> CampaignConfig:
    """The toy campaign in `folder`."""
    return compose(name, [*TOY, f"campaign.folder={folder}", *overrides])


def run_stages(config: CampaignConfig, *stages: str) -> None:
    """Run stages as plain functions: Prefect's decorators taken off, no server."""
    import importlib

    for stage in stages or ("plan", "retrain", "attribute", "report"):
        getattr(importlib.import_module(f"flows.{stage}"), stage).fn(config)


# What a second training of the same rows need not repeat: how long it took and where.
NOT_RESULTS = ("train_seconds", "host")


def results(folder: Path, table: str = "outputs") -> pa.Table:
    """A table in the order of its keys, without what is not a result; NaN as null, so that equal tables are equal."""
    read = Campaign(folder).read(table)
    read = read.drop_columns([name for name in NOT_RESULTS if name in read.column_names])
    for place, field in enumerate(read.schema):
        if pa.types.is_floating(field.type):
            column = read[field.name]
            read = read.set_column(place, field, pc.if_else(pc.is_nan(column), pa.scalar(None, field.type), column))
    keys = [name for name in ("mask_id", "replicate") if name in read.column_names]
    return (read.sort_by([(name, "ascending") for name in keys]) if keys else read).combine_chunks()


def stamps(folder: Path) -> dict[str, int]:
    """When each file of a folder was last written, in nanoseconds."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def without_lock(found: dict[str, int]) -> dict[str, int]:
    return {name: at for name, at in found.items() if name != ".lock"}


def random_picture(seed: int, size: int = 8) -> bytes:
    """A colour PNG of noise."""
    from PIL import Image

    packed = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(packed, "PNG")
    return packed.getvalue()


def write_image_folder(folder: Path, classes: Sequence[str] = ("cat", "dog"), per_class: int = 16) -> Path:
    """train/<class>/ and test/<class>/ with pictures of noise, 32 pixels a side."""
    seed = 0
    for half in ("train", "test"):
        for name in classes:
            (folder / half / name).mkdir(parents=True)
            for number in range(per_class):
                seed += 1
                (folder / half / name / f"{number}.png").write_bytes(random_picture(seed, 32))
    return folder


def write_parquet_folder(folder: Path, classes: Sequence[str] = ("automobile", "truck"), rows: int = 32) -> Path:
    """train and test files in the layout Hugging Face uses: columns img and label, class names in the metadata."""
    import json

    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    features = {"img": {"_type": "Image"}, "label": {"names": list(classes), "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    for first, half in ((0, "train"), (1000, "test")):
        table = pa.table(
            {
                "img": [{"bytes": random_picture(first + row, 32), "path": None} for row in range(rows)],
                "label": [row % len(classes) for row in range(rows)],
                "family": [f"family {row // 4}" for row in range(rows)],
            }
        )
        pq.write_table(table.replace_schema_metadata(about), folder / f"{half}-00000-of-00001.parquet")
    return folder


# --- processes ---------------------------------------------------------------------------------------------------

# Plans and evaluates, to be killed: python -c DRIVER CONFIGURATION_AS_JSON
DRIVER = """
import sys
from conf.schema import CampaignConfig
from flows.plan import plan
from flows.retrain import retrain
config = CampaignConfig.model_validate_json(sys.argv[1])
plan.fn(config)
retrain.fn(config)
"""


@contextmanager
def process(command: list[str], mark: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """Run a command that Ctrl-C can reach; whatever it leaves behind is ended with the block.

    `mark` travels in the environment of everything the command starts, so that `survivors` can find it.
    """
    started = subprocess.Popen(
        ["env", "--default-signal=INT", *command],
        cwd=ROOT,
        env={**os.environ, "COTERIE_TEST": mark, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield started
    finally:
        for pid in survivors(mark):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        started.communicate()


def coterie(*arguments: str, mark: str, home: Path, timeout: float = 240) -> tuple[int, str]:
    """Run the command line to its end: (exit code, all output)."""
    with process([str(COTERIE), *arguments], mark, PREFECT_HOME=str(home)) as started:
        output, _ = started.communicate(timeout=timeout)
        return started.returncode, output


def survivors(mark: str) -> list[int]:
    """Living processes that inherited `mark` from a command."""
    wanted, found = f"COTERIE_TEST={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            carries = wanted in (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended, or is not ours to look at
        if carries and is_alive(int(folder.name)):
            found.append(int(folder.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process exists and has not ended (a zombie has)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 300) -> None:
    """Return as soon as `condition` holds; fail, saying what was waited for, when it never does."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:.0f} s for {what}")
        time.sleep(0.05)
