"""Builds that are killed while they ask language models: no answer is asked for again, here or elsewhere."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from imagemill.data.answers.journal import AnswerJournal, read_lines
from imagemill.data.answers.records import Answer
from imagemill.data.answers.sharing import SHARE_ANSWERS
from imagemill.data.dataset.folder import Folder
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.commands import Launch
from tests.conftest import Build, wait_until, write_prompts
from tests.models.chat_server import Asked, ChatServer
from tests.starter import Started

pytestmark = pytest.mark.slow


class Teller:
    """Answers a number of questions; the others wait until it may go on."""

    def __init__(self) -> None:
        self.answered: Counter[str] = Counter()
        self.most = 0
        self._may_go_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self, asked: Asked) -> dict[str, Any] | None:
        with self._lock:
            is_answered = sum(self.answered.values()) < self.most
            if is_answered:
                self.answered[asked.text] += 1
        if not is_answered:
            self._may_go_on.wait(120)
            return None
        return {"prompt": f"told: {asked.text}", "note": "n"}

    def stop_after(self, answers: int) -> None:
        self._may_go_on.set()
        self._may_go_on = threading.Event()
        self.most = answers


@pytest.fixture
def teller() -> Teller:
    return Teller()


@pytest.fixture
def chat(teller: Teller) -> Iterator[ChatServer]:
    with ChatServer(teller).running() as server:
        yield server
        teller.stop_after(0)


def words_of(chat: ChatServer, concurrency: int, **more: Any) -> dict[str, Any]:
    served = {"base_url": chat.address, "concurrency": concurrency, "retries": 0}
    return {"model": "teller", "api": served, "ask": "Tell of {topic}.", "fields": {"prompt": "text"}, **more}


@pytest.fixture
def topics(fields: dict[str, Any], chat: ChatServer, tmp_path: Path) -> dict[str, Any]:
    write_prompts(tmp_path / "prompts.jsonl", [{"topic": f"topic {number}"} for number in range(12)])
    fields = {name: value for name, value in fields.items() if name != "edit"}
    return {**fields, "llm": [words_of(chat, 3)], "shard_size": 6}


def start(launch: Launch, fields: dict[str, Any], folder: Path, *options: str) -> Started:
    recipe = folder / "recipe.yaml"
    recipe.write_text(yaml.safe_dump(fields))
    return launch("build", str(recipe), *options)


def test_kills_while_asking_ask_nothing_twice_and_change_no_image(
    build: Build, topics: dict[str, Any], chat: ChatServer, teller: Teller, launch: Launch, tmp_path: Path, cluster: str
) -> None:
    output = Path(topics["output"])
    for answers in (2, 5, 9):
        teller.stop_after(answers)
        process = start(launch, topics, tmp_path, "--cluster", cluster)

        def reached(answers: int = answers) -> bool:
            return (
                sum(len(lines_of(path)) for path in AnswerJournal(output / ".imagemill/answers").paths())
                + filed(output)
                >= answers
            )

        wait_until(lambda p=process, at=reached: at() or p.poll() is not None, f"{answers} answers")
        process.kill()
        process.wait()
    teller.stop_after(1000)
    last = start(launch, topics, tmp_path, "--cluster", cluster)
    assert last.wait(300) == 0, last.communicate()
    assert len(teller.answered) == 12
    assert max(teller.answered.values()) == 1
    teller.answered.clear()
    undisturbed = build({**topics, "output": str(tmp_path / "other")})
    assert json.loads((output / "manifest.json").read_text())["fingerprint"] == undisturbed["fingerprint"]
    assert verify_files(output, measures_of).good


def lines_of(path: Path) -> list[Answer]:
    return [entry for entry in read_lines(path.read_bytes().splitlines()) if isinstance(entry, Answer)]


def filed(output: Path) -> int:
    import pyarrow.parquet as pq

    rows = [row for path in output.glob("answers/*.parquet") for row in pq.read_table(path).to_pylist()]
    return sum(row["question"] is not None for row in rows)


def test_another_machine_asks_nothing_that_was_copied_to_the_store(
    build: Build,
    bucket: str,
    chat: ChatServer,
    teller: Teller,
    launch: Launch,
    tmp_path: Path,
    cluster: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count = SHARE_ANSWERS + 20
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    lines = [{"topic": str(number), "id": str(number), "images": "red.png"} for number in range(count)]
    write_prompts(tmp_path / "rows.jsonl", lines)
    fields = {
        "name": "told",
        "prompts": str(tmp_path / "rows.jsonl"),
        "output": f"s3://{bucket}/sets/told",
        "llm": [words_of(chat, 8, fields={"note": "text"}, max_requests=10 * count)],
    }
    teller.stop_after(SHARE_ANSWERS + 5)
    process = start(launch, fields, tmp_path, "--cluster", cluster)
    copies = Folder(fields["output"]).shared_answers

    def copied() -> int:
        paths = copies.iterdir() if copies.exists() else []
        return sum(isinstance(entry, Answer) for path in paths for entry in read_lines(path.read_bytes().splitlines()))

    wait_until(lambda: copied() >= SHARE_ANSWERS or process.poll() is not None, "the copy of the journal")
    process.kill()
    process.wait()
    shared = copied()
    assert shared >= SHARE_ANSWERS
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "another machine"))
    before = dict(teller.answered)
    teller.stop_after(10_000)
    run = build(fields)
    assert (run["rows"], run["asked"]) == (count, count - shared)
    again = [text for text, times in teller.answered.items() if times > before.get(text, 0) and text in before]
    assert len(again) == len(before) - shared
    assert not list(copies.iterdir()) if copies.exists() else True
    # The first machine comes back: it has answers that the second one asked for again, and asks nothing.
    monkeypatch.setenv("IMAGEMILL_WORK", str(tmp_path / "work"))
    assert not build(fields).get("asked")
    assert verify_files(fields["output"], measures_of).good
