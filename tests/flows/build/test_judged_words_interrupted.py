"""Builds with words, killed or answered in another order: nothing is asked twice, and the dataset is the same."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from benchmarks import words
from imagemill.data.answers.journal import Asked as Counted
from imagemill.data.answers.journal import read_lines
from imagemill.data.dataset.folder import Folder
from tests.commands import Launch
from tests.conftest import Build, wait_until
from tests.models.chat_server import Asked, ChatServer
from tests.models.seeing_judge import see

CONCURRENCY = 4


class Numbered:
    """The model that sees; each of its answers has a number, by which it is found among those that are pinned."""

    def __init__(self) -> None:
        self._numbers = itertools.count()
        self.questions: dict[int, str] = {}

    def __call__(self, asked: Asked) -> dict[str, Any]:
        number = next(self._numbers)
        self.questions[number] = asked.question
        return {"number": number, **see(asked)}

    def pinned(self, output: Path) -> set[str]:
        """The questions whose answers are on disk."""
        texts = [row["text"] for path in output.glob("answers/*.parquet") for row in pq.read_table(path).to_pylist()]
        for path in Folder(output).answer_journal.glob("*"):
            entries = read_lines(path.read_bytes().splitlines())
            texts += [entry.text for entry in entries if not isinstance(entry, Counted)]
        # A row without an answer counts requests that brought none.
        return {self.questions[json.loads(text)["number"]] for text in texts if text}


class Backwards:
    """The model that sees; of several questions that wait, it answers the newest first."""

    def __init__(self) -> None:
        self._waiting: list[int] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()

    def __call__(self, asked: Asked) -> dict[str, Any]:
        with self._changed:
            mine = next(self._numbers)
            self._waiting.append(mine)
            self._changed.notify_all()
            # The last few questions of a step have none behind them.
            self._changed.wait_for(lambda: len(self._waiting) >= CONCURRENCY and mine == max(self._waiting), 0.2)
            self._waiting.remove(mine)
            self._changed.notify_all()
        return see(asked)


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with ChatServer(see).running() as server:
        yield server


@pytest.fixture
def worded(chat: ChatServer, tmp_path: Path) -> dict[str, Any]:
    """The fields of a recipe whose instructions are written, and whose edits are judged."""
    prompts = words.write_images(tmp_path, 8)
    fields = words.judged(words.recipe(prompts, tmp_path / "out", chat.address, 2, 1), chat.address, 2)
    for section in (fields["llm"][0], fields["scorers"]["judge"]):
        section["api"]["concurrency"] = CONCURRENCY
    select = {"of": 2, "where": {"judge_keeps": {"min": 1}}, "best": "judge_follows"}
    return {**fields, "edit": {**fields["edit"], "select": select}, "shard_size": 4}


def outcome(output: str | Path) -> tuple[str, list[tuple[Any, ...]]]:
    """The fingerprint, and what the rows say, by key."""
    names = ("row_key", "edit_prompt", "score_judge_follows", "score_judge_keeps", "judge_reason", "inverse", "short")
    rows = sorted(tuple(row[name] for name in names) for row in words.rows_in(Path(output)))
    return json.loads(Path(output, "manifest.json").read_text())["fingerprint"], rows


@pytest.mark.slow
def test_answers_in_another_order_give_the_same_dataset(
    build: Build, worded: dict[str, Any], chat: ChatServer, tmp_path: Path
):
    build(worded)
    chat.answer = Backwards()
    build({**worded, "output": str(tmp_path / "backwards")})
    assert chat.max_in_flight == CONCURRENCY
    assert outcome(tmp_path / "backwards") == outcome(worded["output"])
    assert set(chat.asked.values()) == {2}


@pytest.mark.parametrize(
    "moments",
    [
        pytest.param((9, 14, 6), marks=pytest.mark.slow),
        pytest.param((1, 3, 4, 5, 4, 3, 5, 6, 7, 4), marks=pytest.mark.long),
    ],
    ids=["three", "ten"],
)
def test_a_killed_build_asks_no_question_again_whose_answer_it_had(
    server: str,
    worded: dict[str, Any],
    chat: ChatServer,
    launch: Launch,
    tmp_path: Path,
    moments: tuple[int, ...],
):
    """``moments``: after how many requests of a build it is killed."""
    model = chat.answer = Numbered()
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(worded))
    output, pinned = Path(worded["output"]), set[str]()
    for requests in moments:
        before = len(chat.requests)
        # Not the shared cluster: its workers go on with what a killed build has given them.
        process = launch("build", str(recipe), "--workers", "1")
        wait_until(
            lambda p=process, b=before, n=requests: len(chat.requests) >= b + n or p.poll() is not None,
            f"{requests} requests",
        )
        process.kill()
        process.wait()
        assert not pinned.intersection(asked.question for asked in chat.requests[before:])
        assert pinned <= (pinned := model.pinned(output))
    before, last = len(chat.requests), launch("build", str(recipe), "--workers", "1")
    assert last.wait(300) == 0, last.communicate()
    assert not pinned.intersection(asked.question for asked in chat.requests[before:])
    # Only what was in flight, and whose answer was lost, was asked again.
    lost = len(moments) * CONCURRENCY
    assert len(chat.requests) - len(chat.asked) <= lost
    paths = output.glob("answers/*.parquet")
    counted = sum(pq.read_table(path, columns=["requests"])["requests"].to_numpy().sum() for path in paths)
    assert len(chat.requests) <= counted <= len(chat.requests) + lost
    chat.answer = see
    # By the same number of workers: each has a share of the cores, and so its own order of sums.
    recipe.write_text(yaml.safe_dump({**worded, "output": str(tmp_path / "undisturbed")}))
    assert launch("build", str(recipe), "--workers", "1").wait(300) == 0
    assert outcome(output) == outcome(tmp_path / "undisturbed")
