"""Faults of disks, files, clocks and configurations: a clear message, a telling exit code, nothing lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.chaos.campaigns import Small
from tests.chaos.faults import Result


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A tmpfs of its own at `folder`; needs root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def _run(result: Result, campaign: Small, log: Path, code: int, says: str) -> None:
    """Run, and hold the exit code and the message to what they should be."""
    log.unlink(missing_ok=True)
    found = campaign.finish(log)
    text = log.read_text(errors="replace")
    result.times += 1
    result.check(found == code, f"exit code {found} instead of {code}")
    result.check(says in text, f"the message does not say {says!r}")
    last = [line for line in text.splitlines() if line.startswith("error:")]
    result.check(bool(last) or code == 0, "no line that begins with error:")
    result.seen += last[-1:]


def disk_full(folder: Path, finished: Small) -> Result:
    """A disk with room for a part of the campaign; then some is freed, and the rest is trained."""
    result = Result("disk full")
    with mounted(folder / "full", "size=3m") as disk:
        ballast = disk / "ballast"
        campaign = Small(disk / "campaign")
        shutil.copytree(finished.folder, campaign.folder, ignore=shutil.ignore_patterns("analys*", "report*"))
        for path in campaign.campaign.fragment_paths("outputs")[10:]:
            path.unlink()
        before = campaign.fragments()
        free = shutil.disk_usage(disk).free
        ballast.write_bytes(b"\0" * max(0, free - 60_000))
        _run(result, campaign, folder / "full.log", 5, "the disk is full")
        middle = campaign.fragments()
        result.lost += len(set(before) - set(middle))
        ballast.unlink()
        result.check(campaign.finish(folder / "full.log") == 0, "the rerun failed")
        result.lost += len(set(middle) - set(campaign.fragments()))
        result.wrong += campaign.faults()
    return result


def read_only(folder: Path, finished: Small) -> Result:
    """The campaign's folder becomes read-only (root writes through permissions, so the file system is)."""
    result = Result("read-only folder")
    with mounted(folder / "ro", "size=20m") as disk:
        campaign = Small(disk / "campaign")
        shutil.copytree(finished.folder, campaign.folder)
        campaign.campaign.fragment_paths("outputs")[0].unlink()
        before = campaign.fragments()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        _run(result, campaign, folder / "ro.log", 5, "be written")
        result.lost += len(set(before) - set(campaign.fragments()))
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        result.check(campaign.finish(folder / "ro.log") == 0, "the rerun failed")
        result.wrong += campaign.faults()
    return result


def damaged(folder: Path, finished: Small, how: str) -> Result:
    """A fragment truncated or with one bit turned: found by a run and by an audit, set aside, made again."""
    result = Result(f"fragment {how}")
    campaign = Small(folder / how.replace(" ", "-"))
    shutil.copytree(finished.folder, campaign.folder)
    path = campaign.campaign.fragment_paths("outputs")[3]
    data = bytearray(path.read_bytes())
    import pyarrow.parquet as pq

    pages = pq.ParquetFile(path).metadata.row_group(0).column(4)
    data[pages.data_page_offset + pages.total_compressed_size - 5] ^= 1
    path.write_bytes(data if how == "bit-flipped" else path.read_bytes()[: len(data) // 2])
    more = replace(campaign, n_fit=campaign.n_fit + 4)  # a top-up: the analysis has to read everything again
    _run(result, more, folder / f"{path.stem}-{how}.log", 5, str(path))
    command = ["audit", str(campaign.folder), "--sample", "0"]
    audit = subprocess.run(_coterie(*command), capture_output=True, text=True, check=False)
    result.check(audit.returncode == 9 and path.name in audit.stdout, f"audit: exit code {audit.returncode}")
    repaired = subprocess.run(_coterie(*command, "--repair"), capture_output=True, text=True, check=False)
    aside = list((campaign.folder / "quarantine").glob(f"*/outputs/{path.name}"))
    result.check(repaired.returncode == 9 and len(aside) == 1, "the broken fragment is not in quarantine")
    result.check(more.finish(folder / f"{path.stem}-{how}.log") == 0, "the rerun failed")
    result.wrong += more.faults()
    difference = _same_fit_rows(more, finished)
    result.check(not difference, difference)
    return result


def _same_fit_rows(more: Small, finished: Small) -> str:
    now, then = more.campaign.training_pairs("fit").outputs, finished.campaign.training_pairs("fit").outputs
    return "" if (now[: len(then)] == then).all() else "the recomputed rows are not those that were there"


def _coterie(*arguments: str) -> list[str]:
    import sys

    from tests.chaos.campaigns import RUN

    return [sys.executable, "-c", RUN, *arguments]


def clock_set_back(folder: Path, finished: Small) -> Result:
    """Every file is a day younger than the clock says: as after the clock was set back."""
    result = Result("clock set back a day")
    campaign = Small(folder / "clock", n_fit=finished.n_fit + 8)
    shutil.copytree(finished.folder, campaign.folder)
    tomorrow = time.time() + 86_400
    for path in campaign.folder.rglob("*"):
        os.utime(path, (tomorrow, tomorrow))
    before = campaign.fragments()
    result.check(campaign.finish(folder / "clock.log") == 0, "the run failed")
    result.times = 1
    after = campaign.fragments()
    result.lost += len(set(before) - set(after))
    result.twice += sum(after[name] != when for name, when in before.items() if name in after)
    result.wrong += campaign.faults()
    return result


def other_configuration(folder: Path, finished: Small, change: str) -> Result:
    """The folder of another campaign, or a changed configuration: refused, and nothing in the folder is touched."""
    result = Result(f"configuration changed ({change})")
    campaign = Small(finished.folder, extra=(change,))
    before = finished.fragments()
    _run(result, campaign, folder / f"changed-{change.split('=')[0]}.log", 3, "belongs to another campaign")
    result.check(finished.fragments() == before, "the folder was touched")
    return result
