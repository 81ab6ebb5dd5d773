"""A campaign in an object store: the same tables, fragments whole or absent, one driver at a time.

Runs against a real S3 server on this machine: moto's, which is among the dev extras (COTERIE_MOTO names another
moto_server); skipped without one.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from pyarrow import fs

from flows.audit.fragments import audit, repair
from flows.errors import CampaignBusy, StoreError
from flows.storage import object_store as storage
from flows.storage.files import write_text
from flows.storage.object_store import ObjectPath, lease, place
from flows.store.campaign import Campaign
from tests.flows.small_campaign import small_config, train_missing

BESIDE_PYTHON = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
MOTO = os.environ.get("COTERIE_MOTO") or shutil.which("moto_server", path=BESIDE_PYTHON)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if MOTO is None:
        pytest.skip("no moto_server here: pip install -e '.[dev]', or name it in COTERIE_MOTO")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (tmp_path_factory.mktemp("moto") / "log").open("wb")
    server = subprocess.Popen([MOTO, "-H", "127.0.0.1", "-p", str(port)], stdout=log, stderr=log)
    patch = pytest.MonkeyPatch()
    patch.setenv("AWS_ACCESS_KEY_ID", "test")
    patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    try:
        for _ in range(100_000):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
        store = fs.S3FileSystem(endpoint_override=f"127.0.0.1:{port}", scheme="http", allow_bucket_creation=True)
        store.create_dir("campaigns")
        yield "s3://campaigns"
    finally:
        server.terminate()
        server.wait(20)
        patch.undo()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "SETTLE_SECONDS", 0.0)


@pytest.fixture(scope="module")
def pair(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Campaign, Campaign]:
    """The same campaign in the store and on disk."""
    patch = pytest.MonkeyPatch()
    patch.setattr(storage, "SETTLE_SECONDS", 0.0)
    there = train_missing(small_config(f"{bucket}/small"))
    here = train_missing(small_config(tmp_path_factory.mktemp("disk") / "small"))
    patch.undo()
    return there, here


def test_a_campaign_in_a_store_equals_one_on_disk(pair: tuple[Campaign, Campaign]) -> None:
    there, here = pair
    assert [path.name for path in there.fragment_paths("outputs")] == [p.name for p in here.fragment_paths("outputs")]
    np.testing.assert_array_equal(there.training_pairs().outputs, here.training_pairs().outputs)
    np.testing.assert_array_equal(there.training_pairs().masks, here.training_pairs().masks)
    config = small_config(str(there.folder))
    assert audit(there, config, sample=1).findings == []
    assert not (there.folder / ".lock").exists()


def test_a_damaged_object_is_set_aside_and_made_again(pair: tuple[Campaign, Campaign]) -> None:
    there, here = pair
    path = there.fragment_paths("outputs")[0]
    content = path.read_bytes()
    assert isinstance(path, ObjectPath)
    path.put(content[: len(content) // 2])
    config = small_config(str(there.folder))
    report = audit(there, config)
    assert {finding.kind for finding in report.findings} == {"broken", "missing"}
    aside = repair(there, report)
    assert aside is not None and (aside / "outputs" / path.name).is_file()
    again = train_missing(config)
    np.testing.assert_array_equal(again.training_pairs().outputs, here.training_pairs().outputs)


def test_a_writer_that_fails_half_way_leaves_no_object(bucket: str) -> None:
    path = place(f"{bucket}/atomic/file.json")

    def fails(local: Path) -> None:
        local.write_text("half")
        raise ValueError("the writer died")

    from flows.storage.files import write_atomically

    with pytest.raises(ValueError, match="the writer died"):
        write_atomically(path, fails)
    assert not path.exists() and list(path.parent.glob("*")) == []


def test_a_second_driver_learns_who_holds_the_lease(bucket: str) -> None:
    path = ObjectPath.from_uri(f"{bucket}/lease/.lock")
    with lease(path, "the campaign"), pytest.raises(CampaignBusy, match="is being written by process"):
        with lease(path, "the campaign"):
            pass
    with lease(path, "the campaign"):  # released: free again
        pass


def test_a_lease_whose_holder_died_runs_out(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = place(f"{bucket}/dead/.lock")
    write_text(path, '{"token": "x", "owner": "process 1", "renewed": "2020-01-01T00:00:00+00:00"}')
    with lease(ObjectPath.from_uri(str(path)), "the campaign") as still_held:
        still_held()


def test_a_holder_whose_lease_was_taken_over_may_not_write(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "RENEW_SECONDS", 0.01)
    path = ObjectPath.from_uri(f"{bucket}/stolen/.lock")
    with lease(path, "the campaign") as still_held:
        storage._renew(path, {"token": "another", "owner": "process 2"})
        with pytest.raises(CampaignBusy, match="was taken over"):
            for _ in range(10_000_000):
                still_held()


@pytest.mark.parametrize(
    "uri", ["s3://key:secret@bucket/x", "s3://bucket/x?access_key=a&secret_key=b", "s3:///x", "nosuch://bucket/x"]
)
def test_uris_with_secrets_or_without_a_store_are_refused(uri: str) -> None:
    with pytest.raises(StoreError) as caught:
        place(uri)
    assert "secret" not in str(caught.value).replace("secret_key", "").replace("AWS_SECRET", "")
