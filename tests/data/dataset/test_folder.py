"""The output folder: no file of others is touched, one build at a time locks it, no unfinished file is visible."""

import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from uuid import uuid4

import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.parquet import write_rows
from imagemill.data.errors import BuildFailed, FolderInUse, NotAnImagemillDataset, OutputError
from imagemill.data.records import Staged
from imagemill.data.staging.in_flight import InFlight
from imagemill.data.staging.store import Staging
from tests.conftest import ROOT

HOLD = """
import sys, time
from imagemill.data.dataset.folder import Folder
with Folder(sys.argv[1]).lock("night"):
    print("held", flush=True)
    time.sleep(120)
"""


def contents(folder):
    return {str(path.relative_to(folder)): path.is_file() and path.read_bytes() for path in sorted(folder.rglob("*"))}


@pytest.fixture
def holder(tmp_path):
    """A real process that holds the lock of tmp_path / "out"."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "out")], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def dataset(tmp_path, schema, dataset_rows):
    """A folder with two committed files."""
    folder = Folder(tmp_path / "out")
    with folder.lock("night"):
        for number in range(2):
            scratch = folder.scratch("shard.parquet")
            folder.commit(scratch, number, write_rows(scratch, schema, dataset_rows[number:]))
        folder.clear_work()
    return folder


def test_a_foreign_folder_is_refused_untouched(tmp_path):
    (tmp_path / "holiday").mkdir()
    (tmp_path / "holiday" / "beach.jpg").write_bytes(b"x")
    before = contents(tmp_path)
    folder = Folder(tmp_path / "holiday")
    with (
        pytest.raises(NotAnImagemillDataset, match="exists and is not an imagemill dataset; nothing in it was touched"),
        folder.lock("n"),
    ):
        pytest.fail("held")
    assert contents(tmp_path) == before


def test_a_file_in_the_folders_place_is_refused(tmp_path):
    (tmp_path / "out").write_text("x")
    with pytest.raises(NotAnImagemillDataset, match="is not an imagemill dataset"):
        Folder(tmp_path / "out").check_owner("n")


def test_another_datasets_folder_is_refused_untouched(dataset):
    before = contents(dataset.root)
    with pytest.raises(NotAnImagemillDataset) as caught, dataset.lock("day"):
        pytest.fail("held")
    assert "holds the dataset 'night', and the recipe's name is 'day'; nothing in it was touched" in str(caught.value)
    assert str(caught.value).endswith("or name the recipe 'night'.")
    assert contents(dataset.root) == before


def test_an_empty_folder_may_be_taken(tmp_path):
    (tmp_path / "out").mkdir()
    with Folder(tmp_path / "out").lock("n"):
        pass
    Folder(tmp_path / "out").check_owner("n")


def test_a_locked_folder_is_refused_with_its_holder_and_time(tmp_path, holder):
    before = contents(tmp_path)
    with pytest.raises(FolderInUse) as caught, Folder(tmp_path / "out").lock("night"):
        pytest.fail("held")
    assert re.search(rf"process {holder.pid} on \S+, since 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00\.", str(caught.value))
    assert contents(tmp_path) == before


def test_a_lock_left_by_a_killed_process_does_not_block(tmp_path, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    folder = Folder(tmp_path / "out")
    assert (folder.state / "holder.json").exists()
    with folder.lock("night"):
        assert str(os.getpid()) in (folder.state / "holder.json").read_text()
    assert not (folder.state / "holder.json").exists()


def test_a_folder_is_free_after_a_build_that_failed(tmp_path):
    folder = Folder(tmp_path / "out")
    with pytest.raises(KeyError), folder.lock("n"):
        raise KeyError
    with folder.lock("n"):
        pass


def test_a_pinned_decision_stays(tmp_path):
    folder = Folder(tmp_path / "out")
    with folder.lock("n"):
        assert folder.pin("seed", lambda: 7) == 7
    with folder.lock("n"):
        assert folder.pin("seed", lambda: 8) == 7
    assert folder.pinned()["seed"] == 7


def test_a_write_leaves_no_temporary_file_and_replaces_as_a_whole(tmp_path):
    folder = Folder(tmp_path / "out")
    for content in (b"one", b"two"):
        folder.write(folder.card, content)
    files = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert files == [folder.card]
    assert folder.card.read_bytes() == b"two"


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    folder = Folder(tmp_path / "out")
    folder.write(folder.card, b"one")
    with pytest.raises(TypeError):
        folder.write(folder.card, "not bytes")
    assert folder.card.read_bytes() == b"one"


def test_committed_files_are_recognised(dataset):
    whole, damaged = dataset.committed()
    assert [(file.number, file.rows) for file in whole] == [(0, 3), (1, 2)]
    assert damaged == []


@pytest.mark.parametrize(
    "damage",
    [lambda content: content[:-30], lambda content: b"", lambda content: content[:200] + b"\0" + content[201:]],
)
def test_a_damaged_or_edited_file_is_noticed(dataset, damage):
    path = dataset.data / dataset.committed()[0][0].name
    path.write_bytes(damage(path.read_bytes()))
    whole, damaged = dataset.committed()
    assert [file.number for file in whole] == [1]
    assert damaged == [path]


def test_a_whole_file_that_replaces_another_is_noticed(dataset):
    first, second = (dataset.data / file.name for file in dataset.committed()[0])
    first.write_bytes(second.read_bytes())
    assert dataset.committed()[1] == [first]


def test_a_whole_file_under_the_name_of_another_content_is_noticed_without_a_journal(dataset):
    first, second = (dataset.data / file.name for file in dataset.committed()[0])
    first.write_bytes(second.read_bytes())
    dataset.journal.path.unlink()
    assert dataset.committed()[1] == [first]


def test_a_file_of_the_earlier_version_is_recognised_under_its_name_without_a_hash(dataset):
    first = dataset.data / dataset.committed()[0][0].name
    first.rename(dataset.data / "train-00000.parquet")
    whole, damaged = dataset.committed()
    assert (whole[0].name, damaged) == ("train-00000.parquet", [])


def test_a_copied_or_moved_folder_is_recognised_by_its_bytes(dataset, tmp_path):
    moved = Folder(tmp_path / "elsewhere")
    dataset.root.rename(moved.root)
    for path in moved.data.iterdir():
        os.utime(path, (1, 1))
    whole, damaged = moved.committed()
    assert (len(whole), damaged) == (2, [])


def test_a_lost_journal_costs_nothing(dataset):
    dataset.journal.path.unlink()
    assert len(dataset.committed()[0]) == 2


def test_unfinished_files_are_invisible(dataset, tmp_path):
    dataset.scratch("train-00002.parquet").write_bytes(b"half")
    assert len(dataset.committed()[0]) == 2
    dataset.clear_work()
    assert not dataset.tmp.exists()


def test_a_straggler_of_a_killed_build_leaves_nothing_in_a_finished_dataset(dataset):
    dataset.staged.mkdir()
    is_staging, is_over = Event(), Event()

    def stage_on() -> None:
        while not is_over.is_set():
            staged = Staged(uuid4().hex, "0" * 64, 8, 8, 1, "cpu")
            with InFlight(dataset.staged, "killed", [staged.key]).mark([staged.key]):
                Staging(dataset.staged).put(b"image", staged, "png")
            is_staging.set()

    with ThreadPoolExecutor(1) as straggler:
        stages = straggler.submit(stage_on)
        try:
            assert is_staging.wait(60)
            dataset.clear_work()
            with pytest.raises(BuildFailed, match="is gone: the build that requested them has ended"):
                stages.result(60)
        finally:
            is_over.set()
    assert sorted(path.name for path in dataset.state.iterdir()) == ["files.jsonl", "folder.json"]


def test_rejected_rows_have_a_folder_and_a_journal_of_their_own(dataset, schema, dataset_rows):
    before = dataset.committed()
    assert dataset.next_number() == 2
    scratch = dataset.scratch("shard.parquet")
    file = dataset.commit(scratch, 5, write_rows(scratch, schema.rejected(), dataset_rows), "test", "rejected")
    assert (dataset.root / "rejected" / file.name).exists()
    assert file.name.startswith("test-00005-")
    assert dataset.area("rejected").committed() == ([file], [])
    assert dataset.committed() == before
    assert dataset.next_number() == 6
    (dataset.root / "rejected" / file.name).write_bytes(b"damaged")
    assert dataset.area("rejected").committed()[1] == [dataset.root / "rejected" / file.name]


@pytest.mark.parametrize("name", ["rejected", "pairs", "scores", "answers"])
def test_a_link_in_place_of_a_folder_of_a_judged_dataset_is_refused(dataset, tmp_path, name):
    (tmp_path / "elsewhere").mkdir()
    (dataset.root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match=rf"{name}.* is a link"):
        dataset.check_contents(links=False)
