"""The store of answers has each answer once and counts every request, whatever is killed and wherever it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from imagemill.data.answers import sharing
from imagemill.data.answers.answer_files import ANSWERS
from imagemill.data.answers.budget import Budget, BudgetReached
from imagemill.data.answers.journal import AnswerJournal, read_lines
from imagemill.data.answers.records import Answer, Question, SeenImage, Spent
from imagemill.data.answers.store import AnswerStore, answer_files
from imagemill.data.config.words.answer_fields import parse_fields
from imagemill.data.dataset.files.growing_files import GrowingFiles
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import OutputError
from imagemill.data.storage.locations import RemotePath
from tests.conftest import wait_until

FREE = Budget("llm.0")


def question(number: int = 0, **more: Any) -> Question:
    return Question("llm.0", "teller", "", f"question {number}", parse_fields({"words": "text"}), **more)


def answer(number: int = 0, **more: Any) -> Answer:
    asked = question(number)
    fields = {"values": {"words": f"answer {number}"}, "fault": None, "text": "{}", "requests": 1, "seconds": 0.5}
    return Answer(asked.question_id([]), asked.request_id, "llm.0", "teller", **{**fields, **more})


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    folder = Folder(tmp_path / "out")
    with folder.lock("words"):
        yield folder


def file_rows(folder: Folder) -> list[dict[str, Any]]:
    return [
        row
        for path in sorted(Path(folder.root, "answers").glob("*.parquet"))
        for row in pq.read_table(path).to_pylist()
    ]


def test_an_answer_is_found_again_as_it_was(folder: Folder) -> None:
    hostile = {
        "words": "{0.__class__} </td><script> ../../etc/passwd \x00 \u2028",
        "many": ["a", "b"],
        "n": 1.5,
        "k": 3,
    }
    with AnswerStore.opened(folder) as store:
        assert store.find(question()) is None
        store.add(answer(values=hostile))
        assert store.find(question()) == answer(values=hostile)
    with AnswerStore.opened(folder) as store:
        assert store.find(question()) == answer(values=hostile)
    assert len(file_rows(folder)) == 1


def test_what_decides_an_answer_is_part_of_its_id_and_nothing_else_is() -> None:
    first = question(seed=3, revision="a", extra={"top_p": 1}, images=(SeenImage("/a", "00"),))
    same = [{"asker": "llm.1"}, {"max_tokens": 9}, {"images": (SeenImage("/b", "00"),)}]
    others: list[dict[str, Any]] = [
        *({"model": "other"}, {"revision": "b"}, {"system": "s"}, {"text": "t"}, {"seed": 4}, {"number": 1}),
        *({"temperature": 1.0}, {"extra": {}}, {"images": (SeenImage("/a", "01"),)}, {"images": ()}),
        {"fields": parse_fields({"words": "list"})},
    ]

    def changed(more: dict[str, Any]) -> Question:
        fields = {name: getattr(first, name) for name in Question.__slots__}
        return Question(**{**fields, **more})

    assert {changed(more).request_id for more in same} == {first.request_id}
    ids = [first.request_id, *(changed(more).request_id for more in others)]
    assert len(set(ids)) == len(ids)
    assert first.question_id(["p"]) not in (first.question_id(["q"]), first.request_id)


def test_the_same_pixels_in_another_file_have_the_same_answer(folder: Folder) -> None:
    with AnswerStore.opened(folder) as store:
        store.add(answer())
        assert store.find_by_pixels(question().question_id([])) == answer()


def test_after_a_kill_every_answer_and_every_request_counts(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from imagemill.data.answers.store import AnswerStore\n"
        "from imagemill.data.dataset.folder import Folder\n"
        "from tests.data.answers.test_store import FREE, Budget, answer\n"
        "folder = Folder(sys.argv[1])\n"
        "with folder.lock('words'), AnswerStore.opened(folder) as store:\n"
        "    for number in range(3):\n"
        "        store.begin_request('llm.0', Budget('llm.0', cost_per_request=0.5))\n"
        "        store.add(answer(number, cost=0.5))\n"
        "    store.begin_request('llm.0', Budget('llm.0', cost_per_request=0.5))\n"
        "    print('asking', flush=True); sys.stdin.read()\n"
    )
    root = Path(__file__).parents[3]
    asker = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "out"), str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert asker.stdin
    assert asker.stdout
    assert asker.stdout.readline() == b"asking\n"
    os.kill(asker.pid, signal.SIGKILL)
    asker.wait()
    asker.stdin.close()
    asker.stdout.close()
    folder = Folder(tmp_path / "out")
    with AnswerStore.opened(folder, tmp_path / "index.sqlite") as store:
        assert store.spent("llm.0") == Spent(4, 2.0)
    with folder.lock("words"):
        for _ in range(2):
            with AnswerStore.opened(folder) as store:
                assert [store.find(question(number)) for number in range(3)] == [answer(n, cost=0.5) for n in range(3)]
                assert store.spent("llm.0") == Spent(4, 2.0)
    assert sorted(row["requests"] for row in file_rows(folder)) == [1, 1, 1, 1]
    assert not list(folder.answer_journal.iterdir())


def test_a_kill_between_the_file_and_the_journal_doubles_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(AnswerJournal, "clear", lambda self: None)
        with AnswerStore.opened(folder) as store:
            store.begin_request("llm.0", FREE)
            store.add(answer())
            store.begin_request("llm.0", FREE)
    assert list(folder.answer_journal.iterdir())
    with AnswerStore.opened(folder) as store:
        assert store.spent("llm.0").requests == 2
    assert len(file_rows(folder)) == 2


def test_a_budget_counts_what_was_ever_asked(folder: Folder) -> None:
    budget = Budget("llm.0", max_requests=3, max_cost=0.3, cost_per_request=0.1)
    for _ in range(3):
        with AnswerStore.opened(folder) as store:
            store.begin_request("llm.0", budget)
            store.begin_request("llm.1", budget)
    with AnswerStore.opened(folder) as store:
        with pytest.raises(BudgetReached, match="max_requests"):
            store.begin_request("llm.0", budget)
        with pytest.raises(BudgetReached, match=r"llm.0.max_cost \(0.3\)"):
            store.begin_request("llm.0", Budget("llm.0", max_cost=0.3, cost_per_request=0.1))
        assert budget.left(store.spent("llm.0")) == 0
        store.begin_request("llm.0", Budget("llm.0", max_cost=0.4, cost_per_request=0.1))


def test_an_answer_takes_the_place_of_a_refusal_and_both_were_paid_for(folder: Folder) -> None:
    refusal = answer(values=None, fault="it refused", text="I cannot", cost=1.0)
    with AnswerStore.opened(folder) as store:
        store.add(refusal)
        assert store.find(question()) == refusal
    with AnswerStore.opened(folder) as store:
        store.add(answer(cost=2.0))
        store.add(refusal)
        assert store.find(question()) == answer(cost=2.0)
    with AnswerStore.opened(folder) as store:
        assert store.find(question()) == answer(cost=2.0)
        assert store.spent("llm.0") == Spent(3, 4.0)


def test_a_store_of_a_folder_that_is_not_locked_changes_nothing_there(folder: Folder, tmp_path: Path) -> None:
    AnswerJournal(folder.answer_journal).add_answer(answer())
    before = sorted(folder.state.rglob("*"))
    with AnswerStore.opened(folder, tmp_path / "index.sqlite") as store:
        assert store.find(question()) == answer()
    assert sorted(folder.state.rglob("*")) == before
    assert not (tmp_path / "index.sqlite").exists()


def test_a_journal_with_something_else_in_it_harms_nothing(folder: Folder) -> None:
    folder.answer_journal.mkdir()
    lines = [b"[1]", b'{"asked": 1, "cost": 0}', b'{"asked": "llm.0", "cost": -1}', b'{"answer": {"a": 1}}', b"\xff{"]
    (folder.answer_journal / "strange.jsonl").write_bytes(b"\n".join(lines) + b"\n" + b"[" * 100_000)
    with AnswerStore.opened(folder) as store:
        assert store.spent("llm.0") == Spent()
    assert not file_rows(folder)


def test_a_damaged_file_is_named(folder: Folder) -> None:
    with AnswerStore.opened(folder) as store:
        store.add(answer())
    (path,) = (folder.root / "answers").iterdir()  # type: ignore[union-attr]
    Path(path).write_bytes(b"nothing")
    with pytest.raises(OutputError, match="answers in it are then requested again"), AnswerStore.opened(folder):
        pass


def test_small_files_are_merged_and_listed(folder: Folder) -> None:
    for number in range(5):
        with AnswerStore.opened(folder) as store:
            store.add(answer(number))
    (file,) = answer_files(folder)
    assert (file.rows, ANSWERS.is_file_name(file.name)) == (5, True)
    assert [path.name for path in GrowingFiles(folder, ANSWERS).paths()] == [file.name]


@pytest.mark.slow
def test_a_remote_datasets_journal_is_copied_after_a_while(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "SHARE_INTERVAL_S", 0.05)
    folder = Folder(f"s3://{bucket}/words")
    with folder.lock("words"):
        with AnswerStore.opened(folder) as store:
            store.add(answer())
            copies = folder.shared_answers
            assert isinstance(copies, RemotePath)
            (copy,) = wait_until(lambda: list(copies.iterdir()), "the copy")
            (entry,) = read_lines(copy.read_bytes().splitlines())
            assert entry == answer()
        assert not list(copies.iterdir())
        assert len(list((folder.root / "answers").iterdir())) == 1
