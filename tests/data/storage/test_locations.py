"""A dataset's folder in an object store, against a real S3 server: one lock, atomic writes, no other file touched."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
import s3fs

from imagemill.data.dataset.files.placing import Placement, Settled, settle
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import read_columns, write_rows
from imagemill.data.errors import FolderInUse, InputError, NotAnImagemillDataset, OutputError
from imagemill.data.prompts.reader import read_records
from imagemill.data.storage.locations import RemotePath, locate, work_folder
from imagemill.data.storage.lock import check_still_locked
from tests.conftest import ROOT, wait_until

HOLD = """
import sys, time
from imagemill.data.dataset.folder import Folder
with Folder(sys.argv[1]).lock("night"):
    print("held", flush=True)
    time.sleep(120)
"""


@pytest.fixture
def url(bucket: str) -> str:
    return f"s3://{bucket}/sets/night"


@pytest.fixture
def dataset(url: str, schema, dataset_rows) -> Folder:
    """A remote dataset of two committed files."""
    folder = Folder(url)
    with folder.lock("night"):
        for number in range(2):
            scratch = folder.scratch("shard.parquet")
            folder.commit(scratch, number, write_rows(scratch, schema, dataset_rows[number:]))
        folder.clear_work()
    return folder


@pytest.fixture
def holder(url: str) -> Iterator[subprocess.Popen]:
    """A real process that holds the lock of the remote folder."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def objects(bucket: str) -> dict[str, bytes]:
    client = boto3.client("s3")
    listed = client.list_objects_v2(Bucket=bucket).get("Contents", [])
    return {entry["Key"]: client.get_object(Bucket=bucket, Key=entry["Key"])["Body"].read() for entry in listed}


def put_lock(bucket: str, **holder: object) -> None:
    lock = {"pid": 1, "host": "elsewhere", "since": "2026-01-01T00:00:00+00:00", "token": "theirs", **holder}
    boto3.client("s3").put_object(Bucket=bucket, Key="sets/night/.imagemill/lock", Body=json.dumps(lock).encode())


def test_a_foreign_prefix_is_refused_untouched(bucket: str, url: str):
    boto3.client("s3").put_object(Bucket=bucket, Key="sets/night/beach.jpg", Body=b"x")
    with (
        pytest.raises(NotAnImagemillDataset, match="exists and is not an imagemill dataset; nothing in it"),
        Folder(url).lock("n"),
    ):
        pytest.fail("held")
    assert objects(bucket) == {"sets/night/beach.jpg": b"x"}


def test_an_object_in_the_folders_place_is_refused(bucket: str, url: str):
    boto3.client("s3").put_object(Bucket=bucket, Key="sets/night", Body=b"x")
    with pytest.raises(NotAnImagemillDataset, match="is not an imagemill dataset"):
        Folder(url).check_owner("night")


def test_another_datasets_prefix_is_refused_untouched(bucket: str, dataset: Folder):
    before = objects(bucket)
    with (
        pytest.raises(NotAnImagemillDataset, match="holds the dataset 'night', and the recipe's name is 'day'"),
        dataset.lock("day"),
    ):
        pytest.fail("held")
    assert objects(bucket) == before


def test_a_prefix_whose_name_begins_alike_is_ignored(bucket: str, url: str):
    boto3.client("s3").put_object(Bucket=bucket, Key="sets/night-two/beach.jpg", Body=b"x")
    Folder(url).check_owner("night")


def test_a_locked_prefix_is_refused_with_its_holder_and_time(bucket: str, url: str, holder: subprocess.Popen):
    before = objects(bucket)
    with pytest.raises(FolderInUse) as caught, Folder(url).lock("night"):
        pytest.fail("held")
    assert re.search(rf"process {holder.pid} on \S+, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\.", str(caught.value))
    assert objects(bucket) == before


def test_a_lock_left_by_a_killed_process_of_this_machine_does_not_block(url: str, holder: subprocess.Popen):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    folder = Folder(url)
    assert folder.lock_file.exists()
    with folder.lock("night"):
        assert json.loads(folder.lock_file.read_bytes())["pid"] == os.getpid()
    assert not folder.lock_file.exists()


def test_another_machines_lock_blocks_until_it_expires(bucket: str, url: str):
    put_lock(bucket, expires=time.time() + 60)
    with pytest.raises(FolderInUse, match="process 1 on elsewhere"), Folder(url).lock("night"):
        pytest.fail("held")
    put_lock(bucket, expires=time.time() - 1)
    with Folder(url).lock("night"):
        assert json.loads(Folder(url).lock_file.read_bytes())["host"] == socket.gethostname()


def test_of_many_builds_that_find_a_dead_holder_one_gets_the_lock(bucket: str, url: str):
    put_lock(bucket, expires=time.time() - 1)
    results, done = [], threading.Event()

    def take() -> None:
        try:
            with Folder(url).lock("night"):
                results.append("held")
                done.wait(30)
        except FolderInUse:
            results.append("refused")

    threads = [threading.Thread(target=take) for _ in range(6)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(results) == 6, "six answers")
    done.set()
    for thread in threads:
        thread.join()
    assert sorted(results) == ["held"] + ["refused"] * 5


def test_a_process_of_another_container_is_not_taken_for_dead(bucket: str, url: str):
    put_lock(bucket, host=socket.gethostname(), pid=2**30, pids="pid:[1]", expires=time.time() + 60)
    with pytest.raises(FolderInUse), Folder(url).lock("night"):
        pytest.fail("held")


def test_a_lock_is_renewed_while_it_is_held(url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.data.storage.lock.RENEW_INTERVAL_S", 0.1)
    folder = Folder(url)
    with folder.lock("night"):
        first = json.loads(folder.lock_file.read_bytes())["expires"]
        wait_until(lambda: json.loads(folder.lock_file.read_bytes())["expires"] > first, "a later expiry")


def test_a_build_that_lost_its_lock_writes_nothing_more(bucket: str, url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.data.storage.lock.RENEW_INTERVAL_S", 0.1)
    folder = Folder(url)
    with folder.lock("night"):

        def is_noticed() -> bool:
            # Repeated: the holder may have been writing its own lock at that moment.
            put_lock(bucket, expires=time.time() + 60)
            return all(thread.name != "lock" for thread in threading.enumerate())

        wait_until(is_noticed, "the holder to notice the other lock")
        with pytest.raises(OutputError, match="has lost its lock"):
            folder.write(folder.card, b"mine")
        with pytest.raises(OutputError, match="has lost its lock"):
            folder.remove("train-00000.parquet")
        check_still_locked(folder.merge)
    assert not folder.card.exists()
    assert json.loads(folder.lock_file.read_bytes())["token"] == "theirs"


def test_committed_objects_are_recognised_without_reading_them(dataset: Folder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("imagemill.data.dataset.files.journal.hash_file", lambda path: pytest.fail(f"{path} was read"))
    whole, damaged = dataset.committed()
    assert [(file.number, file.rows) for file in whole] == [(0, 3), (1, 2)]
    assert damaged == []


def test_another_machine_recognises_committed_files(
    dataset: Folder, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with dataset.lock("night"):
        dataset.journal.share()
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "another machine"))
    monkeypatch.setattr("imagemill.data.dataset.files.journal.hash_file", lambda path: pytest.fail(f"{path} was read"))
    assert len(Folder(url).committed()[0]) == 2


def test_a_lost_work_folder_and_journal_cost_nothing(dataset: Folder, url: str, monkeypatch, tmp_path: Path):
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "another machine"))
    assert len(Folder(url).committed()[0]) == 2


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-30], lambda content: b"", lambda content: content[:200] + b"\0" + content[201:]],
)
def test_a_damaged_or_replaced_object_is_noticed(bucket: str, dataset: Folder, damage):
    name = dataset.committed()[0][0].name
    key = f"sets/night/data/{name}"
    boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=damage(objects(bucket)[key]))
    whole, damaged = dataset.committed()
    assert [file.number for file in whole] == [1]
    assert damaged == [dataset.data / name]


def test_reading_columns_does_not_fetch_the_images_between_them(
    url: str, schema, dataset_rows, monkeypatch: pytest.MonkeyPatch
):
    folder, fetched = Folder(url), []
    with folder.lock("night"):
        heavy = [{**row, "image": {"bytes": os.urandom(10**6), "path": "0.png"}} for row in dataset_rows]
        scratch = folder.scratch("shard.parquet")
        file = folder.commit(scratch, 0, write_rows(scratch, schema, heavy))
    fetch = s3fs.core.S3File._fetch_range

    def recorded(self: s3fs.core.S3File, start: int, end: int) -> bytes:
        fetched.append(end - start)
        return fetch(self, start, end)

    monkeypatch.setattr(s3fs.core.S3File, "_fetch_range", recorded)
    (columns,) = read_columns(folder.data / file.name, ["row_key", "id"])
    assert columns["id"] == ["row-0", "row-1", "row-2"]
    assert len(fetched) <= 4
    assert sum(fetched) < 200_000 < file.bytes


def test_pinned_decisions_stay_and_runs_are_appended(dataset: Folder, url: str):
    with dataset.lock("night"):
        assert dataset.pin("seed", lambda: 7) == 7
        dataset.add_run({"generated": 1})
    with Folder(url).lock("night"):
        assert dataset.pin("seed", lambda: 8) == 7
        dataset.add_run({"generated": 2})
    assert dataset.runs.read_bytes().splitlines() == [b'{"generated": 1}', b'{"generated": 2}']


def test_prompts_are_read_from_the_store(bucket: str):
    boto3.client("s3").put_object(Bucket=bucket, Key="prompts.jsonl", Body=b'{"prompt": "a fox"}\n')
    assert [record.fields for record in read_records(f"s3://{bucket}/prompts.jsonl")] == [{"prompt": "a fox"}]
    with pytest.raises(InputError, match="does not exist"):
        list(read_records(f"s3://{bucket}/nothing.jsonl"))


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("dask://bucket/name", r"cannot be opened: its protocol is none of s3://.* the URL of an object store"),
        ("simplecache::s3://bucket/name", r"cannot be opened: its protocol is none of"),
        ("s3://no-such-bucket-here/name", r"there is no such bucket"),
        ("s3://", r"names no bucket. Give it as s3://bucket/name"),
    ],
)
def test_an_unusable_output_is_one_clear_error(bucket: str, output: str, message: str):
    with pytest.raises(OutputError, match=message), Folder(output).lock("night"):
        pytest.fail("held")


def test_missing_credentials_are_one_clear_error(object_store: str):
    code = """
from imagemill.data.errors import InputError, OutputError
from imagemill.data.dataset.folder import Folder
from imagemill.data.prompts.reader import read_records
for error, use in ((OutputError, lambda: Folder("s3://b/n").check_owner("n")),
                   (InputError, lambda: list(read_records("s3://b/prompts.jsonl")))):
    try:
        use()
    except error as caught:
        print(caught)
"""
    hidden = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    environment |= {"AWS_EC2_METADATA_DISABLED": "true", "HOME": "/nowhere", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=ROOT)
    output, prompts = done.stdout.splitlines()
    assert "Unable to locate credentials. Check the name, the credentials (AWS_PROFILE" in output
    assert "'s3://b/prompts.jsonl' cannot be read: Unable to locate credentials" in prompts


def test_a_missing_package_is_named_in_the_error():
    # In a new process: fsspec keeps the classes that it has imported.
    code = """
import sys
sys.modules["gcsfs"] = None
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
try:
    Folder("gs://bucket/name")
except OutputError as error:
    print(error)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert re.search(r"gs://bucket/name.*pip install 'imagemill\[s3\]'.*imagemill\[gcs\]", done.stdout)


def test_a_file_url_is_a_local_folder(tmp_path: Path):
    assert locate(f"file://{tmp_path}/out") == tmp_path / "out"


def test_the_work_folder_is_in_the_cache_or_in_imagemill_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    night, day = locate("s3://sets/night/"), locate("s3://sets/day")
    assert isinstance(night, RemotePath)
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path))
    assert work_folder(night).parent == work_folder(day).parent == tmp_path
    assert work_folder(night) == work_folder(locate("s3://sets/night")) != work_folder(day)
    monkeypatch.delenv("IMAGEMILL_WORK")
    assert work_folder(night).parent == Path.home() / ".cache" / "imagemill"


def test_rows_move_between_areas_of_a_remote_dataset_and_another_machine_knows_their_files(
    dataset: Folder, url: str, schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def half(keys):
        return {key: Placement("rejected" if key[-1] in "02468ace" else "data", "train", {}) for key in keys}

    with dataset.lock("night"):
        assert settle(dataset, schema, half).moved == 2
        for area in dataset.areas:
            area.journal.share()
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "another machine"))
    monkeypatch.setattr("imagemill.data.dataset.files.journal.hash_file", lambda path: pytest.fail(f"{path} was read"))
    other = Folder(url)
    assert [sum(file.rows for file in area.committed()[0]) for area in other.areas] == [1, 2]
    with other.lock("night"):
        assert settle(other, schema, half) == Settled()
