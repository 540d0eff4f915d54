"""What a worker has appended is read back, whatever happens to the worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.records import Score


def score(number: int, **fields: object) -> Score:
    return Score("scorer", f"request-{number}", f"pixels-{number}", "key", "sha", **{"score": number / 8, **fields})  # type: ignore[arg-type]


def test_scores_hashes_and_vectors_are_read_back_as_they_were(tmp_path: Path) -> None:
    scores = [score(0), score(1, score=None, hash=2**64 - 1), score(2, vector=bytes(range(256))), score(3, score=None)]
    ScoreJournal(tmp_path / "journal").append(scores)
    assert list(ScoreJournal(tmp_path / "journal").read()) == scores


def test_each_object_appends_to_a_file_of_its_own(tmp_path: Path) -> None:
    for number in range(3):
        journal = ScoreJournal(tmp_path)
        journal.append([score(number)])
        journal.append([score(number + 10)])
    assert len(journal.sizes()) == 3
    assert {found.request for found in journal.read()} == {f"request-{number}" for number in (0, 1, 2, 10, 11, 12)}


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_that_was_cut_short_is_ignored(tmp_path: Path, cut: int) -> None:
    journal = ScoreJournal(tmp_path)
    journal.append([score(0), score(1)])
    (file,) = journal.sizes()
    file.write_bytes(file.read_bytes()[:-cut])
    assert list(journal.read()) == ([score(0), score(1)] if cut == 1 else [score(0)])


def test_lines_that_hold_something_else_are_ignored(tmp_path: Path) -> None:
    journal = ScoreJournal(tmp_path)
    journal.append([score(0)])
    (tmp_path / "strange.jsonl").write_bytes(
        b'[1]\n"text"\n{"scorer": "s"}\n{"a": 1}\n\xff\n'
        b'{"scorer": 1, "request": "", "pixels": "", "image_key": "", "sha256": ""}\n'
        + b"[" * 100_000
        + b'\n{"scorer": "s", "vector": "%"}\n'
    )
    assert list(journal.read()) == [score(0)]


def test_a_batch_is_on_disk_when_append_returns_and_survives_a_kill(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from imagemill.data.scores.journal import ScoreJournal\n"
        "from imagemill.data.scores.records import Score\n"
        "ScoreJournal(Path(sys.argv[1])).append([Score('s', str(n), 'p', 'k', 'h', n / 8) for n in range(100)])\n"
        "print('done', flush=True); sys.stdin.read()"
    )
    worker = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdin
    assert worker.stdout
    assert worker.stdout.readline() == b"done\n"
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    worker.stdin.close()
    worker.stdout.close()
    assert [found.request for found in ScoreJournal(tmp_path).read()] == [str(number) for number in range(100)]


def test_after_a_write_that_failed_the_next_batch_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = ScoreJournal(tmp_path)
    journal.append([score(0)])
    write = os.write

    def full(descriptor: int, content: memoryview) -> int:
        write(descriptor, content[:10])
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="space"):
        journal.append([score(1)])
    monkeypatch.undo()
    journal.append([score(2)])
    assert {found.request for found in journal.read()} == {"request-0", "request-2"}


def test_clearing_leaves_what_was_appended_since(tmp_path: Path) -> None:
    first, second = ScoreJournal(tmp_path), ScoreJournal(tmp_path)
    first.append([score(0)])
    second.append([score(1)])
    sizes = first.sizes()
    second.append([score(2)])
    assert {found.request for found in first.read(sizes)} == {"request-0", "request-1"}
    first.clear(sizes)
    assert [found.request for found in first.read()] == ["request-1", "request-2"]
    first.clear()
    assert list(first.read()) == []


def test_a_journal_without_a_folder_is_empty(tmp_path: Path) -> None:
    journal = ScoreJournal(tmp_path / "none")
    journal.append([])
    journal.clear()
    assert (list(journal.read()), journal.folder.exists()) == ([], False)
