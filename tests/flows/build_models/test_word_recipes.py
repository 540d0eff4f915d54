"""The shipped recipes with words by models, each built against a server whose model sees what images show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import words
from benchmarks.words import is_right, rows_in
from imagemill.models.bundled.wording import scene_of
from tests.conftest import ROOT, Build, write_prompts
from tests.flows.build_models.test_shipped_recipes import differences, scene
from tests.models.chat_server import ChatServer
from tests.models.seeing_judge import see

pytestmark = pytest.mark.slow


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    """The server, with a model that sees."""
    with ChatServer(see).running() as server:
        yield server


def recipe(name: str, chat: ChatServer, output: Path, count: int) -> dict[str, Any]:
    """A shipped recipe as it is, but for the server's address, and for how many rows its model writes."""
    fields = yaml.safe_load((ROOT / f"data/recipes/{name}.yaml").read_text()) | {"output": str(output / "out")}
    asking = [*fields["llm"], *(scorer for scorer in fields["scorers"].values() if scorer["kind"] == "chat")]
    for section in asking:
        assert section["api"]["base_url"] == "http://localhost:8000/v1"
        section["api"]["base_url"] = chat.address
    fields["llm"][0]["count"] = count
    if "prompts" in fields:
        fields["prompts"] = str(ROOT / fields["prompts"])
    return fields


def nothing_is_asked_or_generated_again(build: Build, fields: dict[str, Any], chat: ChatServer, first: Any) -> bool:
    """Whether a second build leaves all as it is."""
    asked = len(chat.requests)
    again = build(fields)
    return (again["generated"], len(chat.requests), again["fingerprint"]) == (0, asked, first["fingerprint"])


def test_pico_banana_keeps_edits_over_the_threshold_and_makes_pairs_with_failures(
    build: Build, chat: ChatServer, tmp_path: Path
):
    fields = recipe("pico-banana", chat, tmp_path, 4)
    figures = build(fields)
    kept, rejected = rows_in(tmp_path / "out"), rows_in(tmp_path / "out", "rejected")
    assert (figures["set_aside"], figures["generated"]) == (0, 4 * 4 * 3)
    assert len(kept) + figures["none_passed"] == 16
    assert all(row["score_overall"] >= 0.7 for row in kept)
    assert all(row["short"] and row["edit_prompt"] and row["judge_reason"] for row in kept)
    weighted = {"follows": 0.4, "consistency": 0.25, "keeps": 0.2, "quality": 0.15}
    for row in [*kept, *rejected]:
        overall = (sum(weight * row[f"score_judge_{name}"] for name, weight in weighted.items()) - 1) / 4
        assert row["score_overall"] == pytest.approx(overall, abs=1e-4)
    assert all(is_right(row) for row in kept if row["score_judge_follows"] == row["score_judge_keeps"] == 5)
    pairs = rows_in(tmp_path / "out", "pairs")
    for pair in pairs:
        better, worse = (0, 1) if pair["label_0"] else (1, 0)
        assert pair[f"score_{better}"] - pair[f"score_{worse}"] >= 0.2 - 1e-6
    assert nothing_is_asked_or_generated_again(build, fields, chat, figures)


def test_pico_banana_pairs_a_failure_with_a_success_of_its_instruction(build: Build, chat: ChatServer, tmp_path: Path):
    fields = recipe("pico-banana", chat, tmp_path, 4)
    # The judge finds fault with every other image that it is shown.
    chat.answer = lambda asked: see(asked) | ({"follows": 1} if _is_odd(asked) else {})
    figures = build(fields)
    pairs = rows_in(tmp_path / "out", "pairs")
    assert figures["failed"] == {"overall": figures["failed"]["overall"]}
    assert pairs
    for pair in pairs:
        better, worse = (0, 1) if pair["label_0"] else (1, 0)
        assert pair[f"score_{better}"] >= 0.7 > pair[f"score_{worse}"]


def _is_odd(asked: Any) -> bool:
    return len(asked.images) == 2 and sum(asked.images[1].tobytes()) % 2 == 1


def test_nhr_edit_keeps_the_best_by_the_geometric_mean_in_both_directions(
    build: Build, chat: ChatServer, tmp_path: Path
):
    fields = recipe("nhr-edit", chat, tmp_path, 6)
    figures = build(fields)
    rows = rows_in(tmp_path / "out")
    forward, inverse = ([row for row in rows if row["inverse"] is which] for which in (False, True))
    assert (figures["set_aside"], figures["inverse"]) == (0, len(forward))
    assert len(forward) >= 4
    for row in forward:
        product = min(row["score_judge_follows"], row["score_judge_keeps"]) * row["score_judge_quality"]
        assert row["score_mean"] == pytest.approx(product**0.5, abs=1e-4)
        assert row["score_mean"] >= 4.7
        assert is_right(row)
    # The way back is right where the image is the one that was asked for.
    for row in inverse:
        if not differences(scene(row["edited_image"]), scene_of(row["prompt"])):
            assert is_right(row), row["edit_prompt"]
    assert nothing_is_asked_or_generated_again(build, fields, chat, figures)


def test_prompts_from_topics_keep_images_that_show_what_was_written(build: Build, chat: ChatServer, tmp_path: Path):
    fields = recipe("prompts-from-topics", chat, tmp_path, 2)
    topics = [json.loads(line) for line in Path(fields["prompts"]).read_text().splitlines()[:5]]
    write_prompts(tmp_path / "topics.jsonl", topics)
    fields["prompts"] = str(tmp_path / "topics.jsonl")
    figures = build(fields)
    rows = rows_in(tmp_path / "out")
    assert (figures["set_aside"], figures["generated"]) == (0, 5 * 2 * 3)
    assert len(rows) >= 8
    assert all(not differences(scene(row["image"]), scene_of(row["prompt"])) for row in rows)
    assert all(row["score_judge_follows"] == 5 for row in rows)
    assert {row["id"] for row in rows} <= {f"{topic['id']}-{number}" for topic in topics for number in range(2)}
    splits = {(row["topic"], row["split"]) for row in rows}
    assert len(splits) == len({topic for topic, _ in splits})
    assert nothing_is_asked_or_generated_again(build, fields, chat, figures)


def test_edits_that_a_seeing_model_wrote_and_judged_are_right(build: Build, chat: ChatServer, tmp_path: Path):
    chat.troubles = words.trouble
    plain = words.recipe(words.write_images(tmp_path, 12), tmp_path / "out", chat.address, 2, 1)
    assert build(plain)["rows"] == 24
    figures = build(words.judged(plain, chat.address, 4))
    rows = rows_in(tmp_path / "out")
    assert len(rows) >= 40
    assert all(map(is_right, rows))
    assert figures["set_aside"] == 0
