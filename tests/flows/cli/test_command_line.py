"""The `coterie` command from outside: exit codes, one clear message, nothing left running."""

from __future__ import annotations

import json
import re
import signal
import socket
import sqlite3
import subprocess
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from flows.store.campaign import Campaign
from tests.flows.toy import (
    COTERIE,
    TOY,
    coterie,
    process,
    stamps,
    survivors,
    wait_until,
    without_lock,
    write_image_folder,
    write_parquet_folder,
)

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefect's own folder, so that nothing of the user's is touched."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture
def run(home: Path, tmp_path: Path) -> Run:
    """Run coterie with the toy's settings for the campaign in tmp_path/campaign: (exit code, output)."""

    def run(command: str, *overrides: str, name: str = "quickstart") -> tuple[int, str]:
        folder = f"campaign.folder={tmp_path / 'campaign'}"
        return coterie(command, name, *TOY, folder, *overrides, mark=str(tmp_path), home=home)

    return run


def one_clear_message(output: str) -> str:
    """The only line that says error; no traceback anywhere."""
    assert "Traceback" not in output, output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    return errors[0]


# --- from nothing to a report ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.ray
def test_two_commands_the_first_makes_a_report_the_second_has_nothing_to_do(
    run: Run, home: Path, tmp_path: Path
) -> None:
    code, output = run("run", "name=two-commands")
    assert code == 0, output
    assert "Traceback" not in output
    assert f"Report: {tmp_path}/campaign/report.html" in output
    assert "models: 56/56" in output and "targets:" in output
    assert re.search(r"starting Ray .*\n.*starting Prefect", output), "what is waited for is named"
    assert survivors(str(tmp_path)) == []
    assert f"writes to {home}/coterie-temporary-server.log" in output, "its own words go there"
    assert (home / "coterie-temporary-server.log").is_file()
    with sqlite3.connect(home / "prefect.db") as database:
        artifacts = dict(database.execute("select key, type from artifact where key like '%two-commands-%'"))
        flows = dict(database.execute("select f.name, r.state_type from flow_run r join flow f on f.id = r.flow_id"))
    identity = json.loads((tmp_path / "campaign" / "campaign.json").read_text())["identity_hash"][:8]
    mine = {f"faithfulness-two-commands-{identity}": "table", f"interactions-two-commands-{identity}": "markdown"}
    assert artifacts.items() >= mine.items()
    assert {flows[stage] for stage in ("campaign", "plan", "retrain", "attribute", "report")} == {"COMPLETED"}

    before = without_lock(stamps(tmp_path / "campaign"))
    code, output = run("run", "name=two-commands")
    assert (code, "Nothing to do." in output, "Report: " in output) == (0, True, True)
    assert "Prefect" not in output and "Ray" not in output
    assert without_lock(stamps(tmp_path / "campaign")) == before


@pytest.mark.slow
@pytest.mark.prefect
@pytest.mark.ray
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_run_that_is_ended_in_the_middle_loses_nothing_and_leaves_nothing_running(
    how: signal.Signals, home: Path, tmp_path: Path
) -> None:
    mark = str(tmp_path)
    folder = tmp_path / "campaign"
    command = [str(COTERIE), "run", "quickstart", *TOY, f"campaign.folder={folder}"]
    command += ["recipe.epochs=400", "campaign.n_fit=320", "campaign.shard_size=8", "compute.workers=1"]
    with process(command, mark, PREFECT_HOME=str(home)) as running:
        wait_until(lambda: folder.is_dir() and any((folder / "outputs").glob("[!.]*.parquet")), "the first shard")
        busy_code, busy = coterie(*command[1:], mark=f"{mark}-second", home=home)
        assert (busy_code, running.poll()) == (4, None), busy
        assert re.search(r"is being written by .*process \d+", one_clear_message(busy))
        running.send_signal(how)
        output = end_of(running, again=how)
        # Ray's agents look a minute for a head that died with its driver, and were seen to take two.
        wait_until(lambda: survivors(mark) == [], "Ray and Prefect's temporary server to end", seconds=300)
    assert "Traceback" not in output
    if how == signal.SIGINT:
        assert running.returncode == 130
        assert "finished models are kept" in one_clear_message(output)
    campaign = Campaign(folder)
    kept = campaign.read("outputs")
    assert kept.num_rows > 0 and set(kept["status"].to_pylist()) == {"ok"}
    with campaign.lock():
        pass  # whoever was killed holds it no longer
    code, status = coterie("status", str(folder), mark=mark, home=home)
    assert code == 0 and re.search(rf"fit\D+320\D+{kept.num_rows}\D", status), status


def end_of(process: subprocess.Popen[str], again: signal.Signals) -> str:
    """The whole output of a process that is sent a signal to end, and again every second, as people do."""
    for _ in range(120):
        try:
            return process.communicate(timeout=1)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(again)
    raise AssertionError("it did not end in two minutes")


# --- exit codes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("sampler.alfa=0.3",), "unknown key 'sampler.alfa'.*Did you mean 'sampler.alpha'"),
        (("sampler.alpha=nan",), "sampler.alpha must be.*greater than 0 and less than 1; got nan"),
        (("campaign.n_fit=0",), "campaign.n_fit must be at least 1.*; got 0"),
    ],
    ids=str,
)
def test_a_wrong_configuration_ends_with_2(run: Run, tmp_path: Path, overrides: tuple[str, ...], message: str) -> None:
    code, output = run("run", *overrides)
    assert code == 2 and re.search(message, one_clear_message(output))
    assert not (tmp_path / "campaign").exists()


def test_another_campaigns_folder_ends_with_3_and_is_left_as_it_is(run: Run, home: Path, tmp_path: Path) -> None:
    from flows.plan import plan
    from tests.flows.toy import toy

    plan.fn(toy(tmp_path / "campaign"))
    before = stamps(tmp_path / "campaign")
    code, output = run("run", "recipe.width=3")
    assert code == 3 and "recipe.width: the folder has 2, the configuration 3" in one_clear_message(output)
    assert stamps(tmp_path / "campaign") == before


def test_other_pictures_in_the_same_place_are_another_campaign(run: Run, home: Path, tmp_path: Path) -> None:
    from flows.plan import plan
    from tests.flows.toy import random_picture, toy

    pictures = write_image_folder(tmp_path / "pictures")
    plan.fn(toy(tmp_path / "campaign", f"dataset.path={pictures}", name="images"))
    for picture in (pictures / "train" / "cat").iterdir():
        picture.write_bytes(random_picture(10_000 + len(picture.name) + int(picture.stem), 32))
    code, output = run("run", f"dataset.path={pictures}", name="images")
    assert code == 3 and "dataset.fingerprint" in one_clear_message(output)


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_file_in_the_folders_place_ends_with_5(run: Run, tmp_path: Path, below: str) -> None:
    (tmp_path / "campaign").write_text("mine")
    code, output = run("run", f"campaign.folder={tmp_path}/campaign{below}")
    assert code == 5 and "campaign is a file" in one_clear_message(output)
    assert (tmp_path / "campaign").read_text() == "mine"


@pytest.mark.parametrize(
    ("stage", "remedy"),
    [("retrain", "coterie plan quickstart`"), ("attribute", "coterie (plan|retrain) quickstart`"),
     ("report", "coterie attribute quickstart`")],
)
def test_a_stage_without_its_input_ends_with_6_and_names_the_stage_before(run: Run, stage: str, remedy: str) -> None:
    code, output = run(stage)
    assert code == 6 and re.search(f"Run `{remedy}", one_clear_message(output))


def test_a_prefect_server_that_does_not_answer_ends_with_7(home: Path, tmp_path: Path) -> None:
    command = [str(COTERIE), "plan", "quickstart", *TOY, f"campaign.folder={tmp_path / 'campaign'}"]
    url = "http://127.0.0.1:1/api"
    with process(command, str(tmp_path), PREFECT_HOME=str(home), PREFECT_API_URL=url) as started:
        output, _ = started.communicate(timeout=120)
    assert started.returncode == 7
    assert re.search(f"{url} cannot be reached.*prefect server start.*PREFECT_API_URL", one_clear_message(output))


class _Refusing(BaseHTTPRequestHandler):
    """A server that wants another key."""

    def do_GET(self) -> None:
        self.send_error(401)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


def test_a_cloud_that_refuses_the_key_or_never_answers_ends_with_7(home: Path, tmp_path: Path) -> None:
    command = [str(COTERIE), "plan", "quickstart", *TOY, f"campaign.folder={tmp_path / 'campaign'}"]
    refusing, silent = HTTPServer(("127.0.0.1", 0), _Refusing), socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(10)
    threading.Thread(target=refusing.serve_forever, daemon=True).start()
    try:
        for port, said in (
            (refusing.server_port, "refuses the key in PREFECT_API_KEY .401.*PREFECT_PROFILE=ephemeral"),
            (silent.getsockname()[1], "cannot be reached: timed out.*PREFECT_PROFILE=ephemeral"),
        ):
            own = tmp_path / str(port)
            own.mkdir()
            url = f"http://127.0.0.1:{port}/api"
            (own / "profiles.toml").write_text(
                f'active = "local"\n[profiles.cloud]\nPREFECT_API_URL = "{url}"\nPREFECT_API_KEY = "none"\n'
            )
            with process(command, str(own), PREFECT_HOME=str(own), PREFECT_PROFILE="cloud") as started:
                output, _ = started.communicate(timeout=120)
            assert started.returncode == 7 and re.search(said, one_clear_message(output))
    finally:
        refusing.shutdown()
        refusing.server_close()
        silent.close()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def bad_data(kind: str, folder: Path) -> list[str]:
    """Spoil a source of pictures; the overrides that choose it."""
    if kind == "truncated Parquet file":
        data = write_parquet_folder(folder)
        truncate(next(data.glob("train*")))
        return ["dataset=cifar10_parquet", f"dataset.path={data}"]
    if kind == "no such folder":
        return ["dataset=cifar10_parquet", f"dataset.path={folder / 'nowhere'}"]
    if kind == "more targets than test images":
        return ["dataset.n_targets=4000"]
    data = write_image_folder(folder)
    if kind == "a class without test images":
        for picture in (data / "test" / "dog").iterdir():
            picture.unlink()
    elif kind == "a class missing from the test images":
        (data / "test" / "dog").rename(folder / "elsewhere")
    elif kind == "truncated picture":
        truncate(next((data / "train" / "cat").iterdir()))
    return ["dataset=image_folder", f"dataset.path={data}"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated Parquet file", r"train-00000-of-00001.parquet is not a readable Parquet file"),
        ("no such folder", r"nowhere, does not exist"),
        ("more targets than test images", r"n_targets = 4000.*only \d+ test images"),
        ("a class without test images", r"test/dog holds no pictures"),
        ("a class missing from the test images", r"test has no class dog"),
        ("truncated picture", r"1 picture in .* cannot be read"),
    ],
)
def test_bad_data_end_with_8_before_anything_is_made(run: Run, tmp_path: Path, kind: str, message: str) -> None:
    code, output = run("run", *bad_data(kind, tmp_path / "data"))
    assert code == 8 and re.search(message, one_clear_message(output)), output
    assert not (tmp_path / "campaign").exists()


def test_status_of_a_half_done_campaign_says_what_is_missing(run: Run, home: Path, tmp_path: Path) -> None:
    from flows.plan import plan
    from tests.flows.toy import toy

    assert run("status")[0] == 0  # no campaign at all
    plan.fn(toy(tmp_path / "campaign"))
    code, output = run("status")
    assert code == 0 and re.search(r"retrain\s+to do: 56 of 56 models to train", output), output
    code, output = coterie("show", str(tmp_path / "campaign"), mark=str(tmp_path), home=home)
    assert code == 6 and "coterie attribute" in one_clear_message(output)


def test_a_dry_run_checks_sizes_against_the_data(run: Run, tmp_path: Path) -> None:
    code, output = run("run", "--dry-run", "dataset.n_targets=100000")
    assert code == 8 and "100000" in one_clear_message(output).replace(",", "")
    assert not (tmp_path / "campaign").exists()


def test_a_dry_run_makes_nothing(run: Run, tmp_path: Path) -> None:
    code, output = run("run", "--dry-run")
    assert code == 0 and re.search(r"retrain\s+run\s+56 models to train", output)
    assert not (tmp_path / "campaign").exists()
