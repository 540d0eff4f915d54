"""Datasets with words by a language model, through the real flow: asked once, pinned, resumed, and within a budget."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.errors import BuildFailed
from imagemill.data.storage.locations import hash_file
from imagemill.data.verify.integrity import verify_files
from imagemill.flows.plan_dataset import plan_dataset
from imagemill.models.drawing.measure_registry import measures_of
from tests.commands import Ask, Run, recipe_file
from tests.conftest import Build, wait_until, write_prompts
from tests.models.chat_server import Asked, ChatServer, fails, huge, malformed, refuses

pytestmark = pytest.mark.slow

TOPICS = ["foxes", "kites", "rings"]


def say(asked: Asked) -> dict[str, Any]:
    """A prompt on the topic, another for each seed."""
    return {"prompt": f"{asked.text} ({asked.body.get('seed')})"}


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with ChatServer(say).running() as server:
        yield server


@pytest.fixture
def topics(fields: dict[str, Any], chat: ChatServer, tmp_path: Path) -> dict[str, Any]:
    """The fields of a recipe whose prompts a language model writes, two for each topic."""
    write_prompts(tmp_path / "prompts.jsonl", [{"id": topic, "topic": topic} for topic in TOPICS])
    step = {
        "model": "teller",
        "api": {"base_url": chat.address, "retries": 0},
        "ask": "Write of {topic}.",
        "fields": {"prompt": "text"},
        "count": 2,
        "seed": 7,
    }
    fields = {name: value for name, value in fields.items() if name != "edit"}
    return {**fields, "llm": [step], "max_set_aside": 1.0}


@pytest.fixture
def described(chat: ChatServer, tmp_path: Path) -> dict[str, Any]:
    """The fields of a recipe that only describes given images."""
    for number in range(3):
        Image.new("RGB", (1500, 600) if number else (40, 30), (80 * number, 0, 0)).save(tmp_path / f"{number}.png")
    write_prompts(tmp_path / "rows.jsonl", [{"images": f"{number}.png", "id": str(number)} for number in range(3)])
    chat.answer = lambda asked: {"seen": f"{asked.images[0].size} {asked.images[0].getpixel((0, 0))[0]}", "good": 3}
    step = {
        "model": "teller",
        "api": {"base_url": chat.address, "retries": 0},
        "sees": ["images"],
        "ask": "What is there?",
        "fields": {"seen": "text", "good": "1..5"},
    }
    return {"prompts": str(tmp_path / "rows.jsonl"), "output": str(tmp_path / "out"), "llm": [step]}


def rows(fields: dict[str, Any]) -> list[dict[str, Any]]:
    paths = sorted(Path(fields["output"], "data").glob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path).to_pylist()]


def set_aside(fields: dict[str, Any]) -> list[dict[str, Any]]:
    path = Path(fields["output"], "set_aside.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_prompts_are_written_once_and_their_rows_have_ids_of_the_record(
    build: Build, topics: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    run = build(topics)
    assert [(row["id"], row["prompt"]) for row in rows(topics)] == [
        (f"{topic}-{number}", f"Write of {topic}. ({7 + number})") for topic in TOPICS for number in range(2)
    ]
    assert (run["asked"], run["answered"], run["completion_tokens"] > 0, run["generated"]) == (6, 6, True, 6)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["answers"]["rows"] == 6
    card = (tmp_path / "out/README.md").read_text()
    assert "- llm.0: `teller`, served by a chat API with weights of an unknown version, licence: unknown" in card
    assert "- `answers/`: 6 rows" in card
    assert verify_files(topics["output"], measures_of).good

    again = build(topics)
    assert (again.get("asked", 0), again["generated"], again["fingerprint"]) == (0, 0, run["fingerprint"])
    # Neither order nor growth, nor a count that is raised, changes what was there.
    write_prompts(tmp_path / "prompts.jsonl", [{"topic": topic, "id": topic} for topic in ("stars", *TOPICS[::-1])])
    assert (grown := build(topics))["asked"] == 2
    assert grown["generated"] == 2
    topics["llm"][0]["count"] = 3
    assert (more := build(topics))["asked"] == 4
    assert more["generated"] == 4
    assert max(chat.asked.values()) == 1


def test_a_recipe_with_words_alone_describes_given_images(
    build: Build, described: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    run = build(described)
    assert [(row["id"], row["seen"], row["good"]) for row in rows(described)] == [
        ("0", "(40, 30) 0", 3),
        ("1", "(1024, 410) 80", 3),
        ("2", "(1024, 410) 160", 3),
    ]
    assert (run["generated"], run["asked"]) == (0, 3)
    assert verify_files(described["output"], measures_of).faults == []
    # Loopback is this machine.
    assert "notes" not in run
    # The same pixels in another file are the same question.
    for number in range(3):
        Image.open(tmp_path / f"{number}.png").save(tmp_path / f"{number}.png", compress_level=1)
    assert not build(described).get("asked")
    assert max(chat.asked.values()) == 1


def test_an_image_over_a_limit_is_shown_to_no_model(build: Build, described: dict[str, Any], chat: ChatServer) -> None:
    described |= {"images": {"max_pixels": 10_000}, "max_set_aside": 1.0}
    assert build(described)["asked"] == 1
    assert [line["id"] for line in set_aside(described)] == ["1", "2"]
    assert "max_pixels is 10,000" in set_aside(described)[0]["reason"]


def test_given_images_stay_while_their_words_are_not_asked_for(
    build: Build, described: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    build(described)
    described["llm"][0] |= {"ask": "What else?", "max_requests": 4}
    write_prompts(tmp_path / "rows.jsonl", [{"images": f"{number}.png", "id": str(number)} for number in range(2)])
    with pytest.raises(BuildFailed, match="1 row is not asked yet"):
        build(described)
    assert sorted(row["id"] for row in rows(described)) == ["0", "1", "2"]
    described["llm"][0] |= {"max_requests": None}
    assert build(described)["removed"] == 1
    assert sorted(row["id"] for row in rows(described)) == ["0", "1"]


def test_the_dashboard_and_the_log_say_what_is_asked(
    build: Build, described: dict[str, Any], ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    described |= {"name": "told.on-the-dashboard"}
    with caplog.at_level("INFO"):
        build(described)
    note = "3 requests, 3 answers, 300 + "
    assert any(line.startswith(f"Language models: {note}") for line in caplog.messages)

    def artifacts() -> dict[str, str]:
        keys = {"artifacts": {"key": {"like_": "told-on-the-dashboard"}}}
        return {artifact["key"]: artifact["data"] for artifact in ask("/artifacts/filter", keys)}

    found = wait_until(lambda: len(artifacts()) >= 2 and artifacts(), "the artifacts")
    assert note.replace("+", "\\+") in found["told-on-the-dashboard-words"]
    assert f"| language models | {note}".replace("+", "\\+") in found["told-on-the-dashboard-report"]


def test_a_caption_changes_no_row_that_was_there_before(
    build: Build, fields: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    before = build(fields)
    chat.answer = lambda asked: {"caption": f"a caption of {asked.text}"}
    step = {"model": "m", "api": {"base_url": chat.address}, "ask": "{prompt}", "fields": {"caption": "text"}}
    after = build({**fields, "llm": [step]})
    assert (after["generated"], after["fingerprint"]) == (0, before["fingerprint"])
    assert {row["caption"] for row in rows(fields)} == {f"a caption of {row['prompt']}" for row in rows(fields)}


def test_a_refusal_is_an_answer_until_it_is_to_be_asked_again(
    build: Build, topics: dict[str, Any], chat: ChatServer
) -> None:
    chat.troubles = lambda asked, number: refuses if "kites" in asked.text else None
    assert build(topics)["set_aside"] == 2
    assert len(rows(topics)) == 4
    first, second = set_aside(topics)
    assert (first["id"], first["line"]) == ("kites-0", 2)
    assert first["reason"].startswith("llm.0: the model refused: ")
    assert second["id"] == "kites-1"
    chat.troubles = lambda asked, number: None
    assert not (again := build(topics)).get("asked")
    assert again["set_aside"] == 2
    assert plan_dataset(load_recipe(topics), retry_set_aside=True)["asking"]["questions"] == {"llm.0": 2}
    assert build(topics, retry_set_aside=True)["asked"] == 2
    assert [row["id"] for row in rows(topics)][-2:] == ["kites-0", "kites-1"]
    assert set_aside(topics) == []
    assert not build(topics, retry_set_aside=True).get("asked")


def test_an_unreadable_answer_is_asked_for_once_more_and_then_pinned(
    build: Build, topics: dict[str, Any], chat: ChatServer
) -> None:
    chat.troubles = lambda asked, number: malformed if "kites" in asked.text else None
    assert build(topics)["asked"] == 4 + 2 * 2
    assert [line["id"] for line in set_aside(topics)] == ["kites-0", "kites-1"]
    assert not build(topics).get("asked")


def test_a_question_that_failed_is_asked_again_by_the_next_build(
    build: Build, topics: dict[str, Any], chat: ChatServer
) -> None:
    chat.troubles = lambda asked, number: fails(400, "No.") if "kites" in asked.text and not number else None
    assert build(topics)["set_aside"] == 2
    assert "asks again" in set_aside(topics)[0]["reason"]
    assert build(topics)["asked"] == 2
    assert (len(rows(topics)), set_aside(topics)) == (6, [])


def test_a_budget_builds_the_rest_and_the_next_build_goes_on(
    build: Build, topics: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    step = topics["llm"][0]
    step |= {"max_requests": 4, "cost_per_request": 0.5, "api": {**step["api"], "concurrency": 1}}
    recipe = load_recipe(topics)
    plan = plan_dataset(recipe)
    assert plan["asking"] == {"rows": 6, "questions": {"llm.0": 4}, "costs": {"llm.0": 2.0}}
    assert (plan["rows"], chat.requests) == (0, [])
    with pytest.raises(BuildFailed, match=r"2 rows are not asked yet: llm.0.max_requests \(4\) is reached"):
        build(topics)
    assert len(rows(topics)) == 4
    assert [line["reason"] for line in set_aside(topics)] == ["not asked yet: llm.0.max_requests (4) is reached"] * 2
    last = json.loads((tmp_path / "out/runs.jsonl").read_text().splitlines()[-1])
    assert (last["status"], last["not_asked"], last["set_aside"], last["cost"]) == ("failed", 2, 0, 2.0)
    assert plan_dataset(recipe)["asking"] == {"rows": 2, "questions": {}, "costs": {}}
    step["max_requests"] = 100
    assert plan_dataset(load_recipe(topics))["asking"]["questions"] == {"llm.0": 2}
    run = build(topics)
    assert (run["asked"], run["kept"], run["status"]) == (2, 4, "complete")
    assert (len(chat.requests), max(chat.asked.values())) == (6, 1)


def test_a_budget_takes_no_row_out_of_the_dataset(build: Build, topics: dict[str, Any], chat: ChatServer) -> None:
    build(topics)
    before = {row["id"]: row["sha256"] for row in rows(topics)}
    # Another question, and no more requests: the words of before are the recipe's no longer, but the rows stay.
    topics["llm"][0] |= {
        "ask": "Tell of {topic}.",
        "max_requests": 7,
        "api": {"base_url": chat.address, "concurrency": 1},
    }
    with pytest.raises(BuildFailed, match="5 rows are not asked yet"):
        build(topics)
    after = {row["id"]: row["sha256"] for row in rows(topics)}
    assert after.keys() == before.keys()
    assert sum(after[name] != before[name] for name in before) == 1
    topics["llm"][0]["max_requests"] = 0
    with pytest.raises(BuildFailed, match=r"5 rows are not asked yet: llm.0.max_requests \(0\)"):
        build(topics)
    assert len(rows(topics)) == 6


def test_a_hostile_answer_harms_nothing(build: Build, topics: dict[str, Any], chat: ChatServer, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(b"secret")
    hostile = [
        "{0.__class__.__mro__} {topic} {{}} %s ${HOME}",
        "</td><script>alert(1)</script> | ![x](http://localhost/x) `rm -rf`",
        f"{tmp_path}/secret.png",
        "file:///etc/passwd hf:org/name @/etc/passwd",
        "\u202e\u0000\ud800 {{",
    ]
    topics["llm"] = [
        {**topics["llm"][0], "count": len(hostile), "seed": 0, "fields": {"prompt": "text", "note": "list"}},
        {**topics["llm"][0], "count": None, "ask": "Of {prompt}", "fields": {"more": "text"}},
    ]
    topics["template"] = {"text": "{prompt} and {more}"}

    def answer(asked: Asked) -> dict[str, Any]:
        if asked.text.startswith("Of "):
            return {"more": asked.text}
        text = hostile[asked.body["seed"]]
        return {"prompt": text, "note": [text]}

    chat.answer = answer
    chat.troubles = lambda asked, number: huge if "rings" in asked.text else None
    run = build(topics)
    found = {row["id"]: row for row in rows(topics)}
    # The last one is no text that a prompts file could have either.
    assert found.keys() == {f"{topic}-{number}" for topic in ("foxes", "kites") for number in range(4)}
    assert found["foxes-0"]["prompt"] == f"{hostile[0]} and Of {hostile[0]}"
    assert found["foxes-2"]["prompt"] == f"{hostile[2]} and Of {hostile[2]}"
    assert found["kites-1"]["note"] == [hostile[1]]
    assert run["set_aside"] == len(hostile) + 2
    assert all(len(line["reason"]) <= 400 for line in set_aside(topics))
    assert "<script>" not in (tmp_path / "out/README.md").read_text()
    assert verify_files(topics["output"], measures_of).good


def test_a_row_without_what_the_question_names_is_set_aside(
    build: Build, topics: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    write_prompts(tmp_path / "prompts.jsonl", [{"topic": "foxes"}, {"subject": "kites"}, {"topic": ["a", 1]}])
    topics["llm"][0]["count"] = 1
    run = build(topics)
    assert (run["asked"], run["set_aside"]) == (1, 2)
    reasons = [line["reason"] for line in set_aside(topics)]
    assert reasons[0] == "llm.0.ask has {topic}, for which the row has no text or number (it has 'subject')"


def test_the_order_and_speed_of_answers_change_nothing(
    build: Build, topics: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    first = build(topics)
    gate, arrived, in_time = threading.Event(), [], []

    def late(asked: Asked) -> dict[str, Any]:
        # Answered last. Not those of the first topic: a build asks its first question alone.
        arrived.append(asked)
        if len(arrived) == 6:
            gate.set()
        if TOPICS[1] in asked.text:
            in_time.append(gate.wait(60))
        return say(asked)

    chat.answer = late
    second = build({**topics, "output": str(tmp_path / "other")})
    assert in_time == [True, True]
    assert second["fingerprint"] == first["fingerprint"]
    assert [row["id"] for row in rows(topics)] == [
        row["id"] for row in rows({**topics, "output": str(tmp_path / "other")})
    ]


def test_without_a_prompts_file_the_model_writes_all_rows(
    build: Build, topics: dict[str, Any], chat: ChatServer
) -> None:
    topics |= {"prompts": "", "output": topics["output"]}
    topics["llm"][0] |= {"ask": "Write a prompt.", "count": 3}
    assert build(topics)["asked"] == 3
    assert [row["id"] for row in rows(topics)] == ["row-0", "row-1", "row-2"]
    topics["llm"][0] |= {"count": 4}
    assert (run := build(topics))["asked"] == 1
    assert run["generated"] == 1


def test_the_first_build_that_sends_images_elsewhere_says_so_and_the_card_names_it(
    build: Build, described: dict[str, Any], chat: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look_up = socket.getaddrinfo

    def resolve(host: Any, *more: Any, **others: Any) -> Any:
        return look_up("127.0.0.1" if host in ("models.example", b"models.example") else host, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    described["llm"][0]["api"]["base_url"] = chat.address.replace("127.0.0.1", "models.example")
    origin = described["llm"][0]["api"]["base_url"].removesuffix("/v1")
    said = f"3 images, at most 1024 pixels a side, were sent to {origin}, where a language model saw them."
    assert build(described)["notes"] == [said]
    write_prompts(tmp_path / "rows.jsonl", [{"images": "0.png"}, {"images": "1.png", "id": "more"}])
    described["llm"][0]["ask"] = "What else is there?"
    assert "notes" not in build(described)
    assert f"- images were sent to `{origin}`" in (tmp_path / "out/README.md").read_text()


def test_answers_of_a_foreign_dataset_are_read_by_the_recipe(
    build: Build, described: dict[str, Any], tmp_path: Path
) -> None:
    build(described)
    (path,) = (tmp_path / "out/answers").iterdir()
    table = pq.read_table(path)
    hostile = [
        '{"seen": "x", "good": 3, "images": "/etc/passwd"}',
        '{"seen": "x", "good": 9}',
        '{"seen": 1, "good": 1}',
    ]
    path.unlink()
    forged = tmp_path / "out/answers/answers-00000-00000000.parquet"
    pq.write_table(table.set_column(table.schema.get_field_index("values"), "values", [hostile]), forged)
    forged.rename(forged.with_name(f"answers-00000-{hash_file(forged)[:8]}.parquet"))
    described["max_set_aside"] = 1.0
    assert build(described)["rows"] == 1
    assert rows(described)[0]["seen"] == "x"
    assert {line["reason"] for line in set_aside(described)} == {
        "llm.0: the dataset's answer is not one: good is 9, not a whole number from 1 to 5",
        "llm.0: the dataset's answer is not one: seen is 1, not a text",
    }


def test_plan_says_how_many_questions_there_are_at_most(
    topics: dict[str, Any], chat: ChatServer, tmp_path: Path, imagemill: Run
) -> None:
    more = {"ask": "Of {prompt}", "fields": {"other": "text"}, "count": 3}
    topics["llm"] = [{**topics["llm"][0], "cost_per_request": 0.25}, {**topics["llm"][0], **more}]
    recipe = recipe_file(topics)
    code, printed = imagemill("plan", recipe)
    assert code == 0
    assert "up to 6 questions by llm.0 (about 1.5), up to 18 questions by llm.1" in printed
    assert "18 rows without words yet" in printed
    assert chat.requests == []
    assert not Path(topics["output"]).exists()
