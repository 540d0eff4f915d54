"""Datasets judged by a language model, through the real flow: asked once, pinned, chosen by, and within a budget."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.folder import Folder
from imagemill.data.errors import BuildFailed
from imagemill.data.verify.integrity import verify_files
from imagemill.data.verify.score_report import report_scores
from imagemill.flows.plan_dataset import plan_dataset
from imagemill.flows.run.dashboard_text import embedded_scores
from imagemill.models.drawing.measure_registry import measures_of
from tests.conftest import Build, write_prompts
from tests.flows.build.test_judged_builds import candidates, manifest_of, rows_in
from tests.models.chat_server import Asked, ChatServer, fails, malformed, refuses
from tests.models.transformers_server import needs_serving, serving

pytestmark = pytest.mark.slow

SHARP = {"kind": "pixels", "measure": "sharpness"}


def grade(asked: Asked) -> dict[str, Any]:
    """A grade by the pixels of the last image, and a reason that could do harm."""
    pixels = hashlib.sha256(asked.images[-1].tobytes()).digest()
    return {"follows": 1 + pixels[0] % 5, "keeps": 1 + pixels[1] % 5, "reason": "{prompt} <b>../x</b>\n# it is"}


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    with ChatServer(grade).running() as server:
        yield server


def judge(chat: ChatServer, **settings: Any) -> dict[str, Any]:
    return {
        "kind": "chat",
        "model": "judge",
        "api": {"base_url": chat.address, "retries": 0},
        "ask": "How well does it show {prompt}?",
        "fields": {"follows": "1..5", "reason": "text"},
        **settings,
    }


@pytest.fixture
def images(fields: dict[str, Any], chat: ChatServer) -> dict[str, Any]:
    """The fields of a recipe with three candidates of each of four prompts, of which the judge's best is kept."""
    generate = {**fields["generate"], "select": {"of": 3, "best": "judge_follows"}}
    return {**fields, "generate": generate, "edit": None, "scorers": {"sharp": SHARP, "judge": judge(chat)}}


def test_a_language_models_grade_chooses_and_its_words_are_a_column(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    figures = build(images)
    assert (figures["rows"], figures["generated"], figures["asked"]) == (4, 12, 12)
    assert max(chat.asked.values()) == 1
    for rows in candidates(images).values():
        best = max(rows, key=lambda row: (row["score_judge_follows"], -row["candidate"]))
        assert [row["area"] == "data" for row in rows] == [row is best for row in rows]
        assert {row["judge_reason"] for row in rows} == {"{prompt} <b>../x</b>\n# it is"}
    assert verify_files(images["output"], measures_of).good
    report = report_scores(images["output"], "judge_follows >= 3", "judge_follows")
    assert report.scores["score_judge_follows"].number == 12
    assert report.threshold is not None
    assert "where: {judge_follows: {min: 3.0}}" in (report.threshold.rule or "")
    card = (Path(images["output"]) / "README.md").read_text()
    line = "- scorer `judge_follows`: chat, `judge`, weights of an unknown version, licence: unknown"
    assert line in card
    recipe = load_recipe(images)
    assert "Highest and lowest scores" in embedded_scores(Folder(recipe.output), recipe)


def test_a_second_build_and_another_rule_ask_nothing_and_the_first_rule_gives_the_first_fingerprint(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    first = build(images)
    asked = len(chat.requests)
    assert build(images)["generated"] == 0
    other = build(images, {"generate.select": {"of": 3, "where": {"judge_follows": {"min": 2}}, "best": "sharp"}})
    assert other["generated"] == 0
    assert build(images)["fingerprint"] == first["fingerprint"] != other["fingerprint"]
    assert len(chat.requests) == asked


def test_only_what_passes_the_other_rules_is_asked_about_and_plan_says_what_a_lower_threshold_asks(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    build(images | {"scorers": {"sharp": SHARP}}, {"generate.select.best": "sharp"})
    scores = sorted(row["score_sharp"] for rows in candidates(images).values() for row in rows)
    # Between two scores: the column is float32, the ledger float64.
    lowest, fourth = (sum(scores[number : number + 2]) / 2 for number in (0, 3))
    images["scorers"]["judge"] |= {"cost_per_request": 0.5}
    strict = {"generate.select.where": {"sharp": {"min": fourth}}}
    plan = plan_dataset(load_recipe(images, strict))
    assert (plan["judging"]["ask"], plan["judging"]["ask_costs"]) == ({"judge": 8}, {"judge": 4.0})
    figures = build(images, strict)
    assert (figures["generated"], len(chat.requests), figures["cost"]) == (0, 8, 4.0)
    found = [row for rows in candidates(images).values() for row in rows]
    assert {row["score_judge_follows"] is None for row in found if row["score_sharp"] < fourth} == {True}
    lower = {"generate.select.where": {"sharp": {"min": lowest}}}
    assert plan_dataset(load_recipe(images, lower))["judging"]["ask"] == {"judge": 3}
    build(images, lower)
    assert (len(chat.requests), max(chat.asked.values())) == (11, 1)


def test_a_judge_of_edits_sees_input_and_edited_image_in_that_order(
    build: Build, fields: dict[str, Any], chat: ChatServer
) -> None:
    settings = {"sees": ["input_image", "edited_image"], "ask": "Instruction: {edit_prompt}"}
    grades = {"follows": "1..5", "keeps": "1..5", "reason": "text"}
    scorers = {
        "judge": judge(chat, **settings, fields=grades),
        "mean": {"kind": "formula", "text": "sqrt(judge_follows * judge_keeps)"},
    }
    edit = {**fields["edit"], "select": {"of": 2, "best": "mean"}}
    figures = build({**fields, "edit": edit, "scorers": scorers})
    assert (figures["rows"], figures["asked"]) == (4, 8)
    assert {request.text for request in chat.requests} == {"Instruction: make it red"}
    rows = [row for rows in candidates(fields).values() for row in rows]
    inputs = {row["input_image"]["bytes"] for row in rows}
    edited = {row["edited_image"]["bytes"] for row in rows}
    assert [len(request.images) for request in chat.requests] == [2] * 8
    assert {request.images[0].tobytes() for request in chat.requests} == {pixels(content) for content in inputs}
    assert {request.images[1].tobytes() for request in chat.requests} == {pixels(content) for content in edited}
    for row in rows:
        expected = (row["score_judge_follows"] * row["score_judge_keeps"]) ** 0.5
        assert row["score_mean"] == pytest.approx(expected, abs=1e-4)


def test_a_refusal_sets_its_candidate_aside_with_the_models_words_until_it_is_retried(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    images["scorers"]["judge"]["api"]["concurrency"] = 1
    chat.script.append(refuses)
    figures = build(images)
    assert (figures["rows"], figures["set_aside"]) == (4, 0)
    (line,) = set_aside(images)
    assert 'scorer judge: the model refused: "I can\'t help with that."' in line["reason"]
    asked = len(chat.requests)
    build(images)
    assert len(chat.requests) == asked
    figures = build(images, retry_set_aside=True)
    assert (len(chat.requests), figures["generated"]) == (asked + 1, 0)
    assert set_aside(images) == []
    assert all(row["score_judge_follows"] for rows in candidates(images).values() for row in rows)


def test_an_unreadable_answer_is_asked_for_once_more_and_no_further_build_asks(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    chat.troubles = lambda asked, number: malformed if "fox" in asked.text else None
    images["max_set_aside"] = 1.0
    figures = build(images)
    assert (figures["rows"], figures["set_aside"], len(chat.requests)) == (3, 1, 15)
    assert len(set_aside(images)) == 3
    build(images)
    assert len(chat.requests) == 15


def test_an_api_that_fails_for_one_image_is_asked_again_by_the_next_build(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    images["max_set_aside"] = 1.0
    chat.troubles = lambda asked, number: fails(500, "oops") if "fox" in asked.text and number == 0 else None
    figures = build(images)
    assert (figures["rows"], figures["set_aside"]) == (3, 1)
    assert "the next build asks again" in set_aside(images)[0]["reason"]
    figures = build(images)
    assert (figures["rows"], figures["set_aside"], figures["generated"]) == (4, 0, 0)


def test_a_budget_stops_the_questions_and_not_the_rest_and_a_higher_one_goes_on(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    images["scorers"]["judge"] |= {"max_requests": 7}
    with pytest.raises(BuildFailed, match=r"5 images are not judged yet .*judge.max_requests \(7\) is reached"):
        build(images)
    assert len(chat.requests) == 7
    kept = manifest_of(images)["rows"]
    assert 0 < kept < 4
    assert len(rows_in(images["output"])) + len(rows_in(images["output"], "rejected")) == 12
    figures = build(images, {"scorers.judge.max_requests": 12})
    assert (figures["rows"], figures["generated"], figures["asked"]) == (4, 0, 5)
    assert max(chat.asked.values()) == 1
    assert verify_files(images["output"], measures_of).good


def test_a_caption_is_a_column_and_its_scorer_added_later_generates_nothing(
    build: Build, images: dict[str, Any], chat: ChatServer
) -> None:
    plain = images | {"scorers": {"sharp": SHARP}}
    first = build(plain, {"generate.select.best": "sharp"})
    chat.answer = lambda asked: {"caption": f"{asked.images[0].size}"}
    caption = judge(chat, ask="Describe it.", fields={"caption": "text"})
    figures = build(plain | {"scorers": {"sharp": SHARP, "words": caption}}, {"generate.select.best": "sharp"})
    assert (figures["generated"], figures["fingerprint"]) == (0, first["fingerprint"])
    assert {row["words_caption"] for row in rows_in(images["output"])} == {"(64, 64)"}
    assert "score_words_caption" not in rows_in(images["output"])[0]
    back = build(plain, {"generate.select.best": "sharp"})
    assert (back["generated"], back["fingerprint"]) == (0, first["fingerprint"])
    assert "words_caption" not in rows_in(images["output"])[0]


def test_given_images_are_judged_and_a_lossy_datasets_pairs_are_made_by_the_grades(
    build: Build, images: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    for number in range(4):
        Image.new("RGB", (40 + number, 30), (60 * number, 0, 0)).save(tmp_path / f"{number}.jpg")
    write_prompts(tmp_path / "rows.jsonl", [{"images": f"{number}.jpg", "topic": "x"} for number in range(4)])
    given = {
        "prompts": str(tmp_path / "rows.jsonl"),
        "output": str(tmp_path / "given"),
        "scorers": {"judge": judge(chat, ask="Is it {topic}?")},
        "given": {"select": {"where": {"judge_follows": {"min": 1}}}},
    }
    figures = build(given)
    assert (figures["rows"], figures["asked"]) == (4, 4)
    assert {row["score_judge_follows"] for row in rows_in(given["output"])} <= {1.0, 2.0, 3.0, 4.0, 5.0}
    assert all(row["score_judge_follows"] >= 1 for row in rows_in(given["output"]))
    pairs = {**images, "image_format": "jpeg", "pairs": {"by": "judge_follows", "margin": 1, "where": "any"}}
    figures = build(pairs)
    assert figures["asked"] == 12
    found = rows_in(images["output"], "pairs")
    assert found
    assert all(abs(row["score_0"] - row["score_1"]) >= 1 for row in found)


@needs_serving
def test_a_server_that_is_not_ours_is_asked_and_its_garbage_sets_candidates_aside_with_its_words(
    build: Build, images: dict[str, Any], chat: ChatServer, tmp_path: Path
) -> None:
    from tests.models.tiny.vision_language import save_llava

    model = save_llava(tmp_path / "llava")
    with serving(model) as address:
        asking = judge(chat, model=str(model), api={"base_url": address}, max_tokens=16)
        images |= {"scorers": {"sharp": SHARP, "judge": asking}, "max_set_aside": 1.0}
        with pytest.raises(BuildFailed, match="no image passed"):
            build(images, {"generate.select.of": 1, "generate.select.best": "judge_follows"})
    lines = (Folder(images["output"]).state / "failures.jsonl").read_text()
    assert lines.count("scorer judge: the model's answer is unreadable, as ") == 4


def pixels(content: bytes) -> bytes:
    return Image.open(io.BytesIO(content)).convert("RGB").tobytes()


def set_aside(fields: dict[str, Any]) -> list[dict[str, Any]]:
    path = Path(fields["output"], "set_aside.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
