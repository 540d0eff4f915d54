"""A finished dataset is scored without its prompts: scores become columns, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemill.data.errors import BuildFailed, OutputError, RecipeError
from imagemill.data.verify.integrity import verify_files
from imagemill.models.drawing.measure_registry import measures_of
from tests.conftest import ROOT, Build, made_once, write_prompts
from tests.flows.build.test_judged_builds import CHANGED, SHARP, manifest_of, rows_in
from tests.models.chat_server import ChatServer
from tests.models.tiny.scorers import save_scorer

pytestmark = pytest.mark.slow

Score = Callable[..., dict[str, Any]]


@pytest.fixture
def score(build: Build, cluster: str) -> Score:
    """Scores the dataset of a recipe's fields by these scorers, on the shared cluster; returns the run's figures."""
    from imagemill.flows.score_dataset import score_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    def run(fields: dict[str, Any], scorers: dict[str, Any], **others: Any) -> dict[str, Any]:
        flow = score_dataset.with_options(task_runner=GpuTaskRunner(address=cluster))
        return flow(fields["output"], {"scorers": scorers, **others})

    return run


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP with random weights."""
    return made_once(tmp_path_factory, "scorer-clip", lambda folder: save_scorer("clip", folder) and None) / "clip"


def without_scores(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.startswith(("score_", "input_score_"))}


def by_key(fields: dict[str, Any], area: str = "data") -> dict[str, dict[str, Any]]:
    return {row["row_key"]: row for row in rows_in(fields["output"], area)}


def state_of(fields: dict[str, Any]) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in Path(fields["output"]).glob("*/*.parquet")}


def check_verified(fields: dict[str, Any]) -> None:
    report = verify_files(fields["output"], measures_of)
    assert report.good, report.faults


def test_a_dataset_whose_prompts_are_gone_gets_the_scores_that_a_build_gives(
    build: Build, score: Score, fields: dict[str, Any], tmp_path: Path
):
    first = build(fields)
    before = by_key(fields)
    judged = {**fields, "output": str(tmp_path / "judged"), "scorers": SHARP | CHANGED}
    build(judged)
    Path(fields["prompts"]).rename(tmp_path / "elsewhere.jsonl")
    figures = score(fields, SHARP | CHANGED)
    assert (figures["generated"], figures["scored"], figures["fingerprint"]) == (0, 4 * 3, first["fingerprint"])
    assert by_key(fields) == by_key(judged)
    assert {key: without_scores(row) for key, row in by_key(fields).items()} == before
    check_verified(fields)
    card = (Path(fields["output"]) / "README.md").read_text()
    assert "score_sharp" in card
    assert "- scorer `changed`: pixels" in card


def test_scoring_again_does_nothing(build: Build, score: Score, fields: dict[str, Any]):
    build(fields)
    score(fields, SHARP)
    before, manifest = state_of(fields), Path(fields["output"], "manifest.json").stat().st_mtime_ns
    figures = score(fields, SHARP)
    assert (figures["scored"], figures["rewritten_bytes"], figures["model_loads"]) == (0, 0, 0)
    assert state_of(fields) == before
    assert Path(fields["output"], "manifest.json").stat().st_mtime_ns == manifest


def test_a_build_computes_no_score_again_that_the_command_has_computed(
    build: Build, score: Score, fields: dict[str, Any]
):
    build(fields)
    score(fields, SHARP | CHANGED)
    before = by_key(fields)
    figures = build({**fields, "scorers": SHARP | CHANGED})
    assert (figures["generated"], figures["scored"]) == (0, 0)
    assert by_key(fields) == before


@pytest.fixture
def selected(build: Build, fields: dict[str, Any]) -> dict[str, Any]:
    """The fields of a built recipe that generates two candidates of each prompt, keeps the sharpest and edits it."""
    generate = {**fields["generate"], "select": {"of": 2, "best": "sharp"}}
    edit = {**fields["edit"], "select": {"of": 2, "best": "changed"}}
    fields = {**fields, "generate": generate, "edit": edit, "scorers": SHARP | CHANGED, "splits": {"test": 0.5}}
    build(fields)
    return fields


def test_kept_and_rejected_images_are_scored_and_every_choice_stays(score: Score, selected: dict[str, Any]):
    before = {area: by_key(selected, area) for area in ("data", "rejected")}
    manifest = manifest_of(selected)
    figures = score(selected, {"noise": {"kind": "pixels", "measure": "entropy"}})
    # Four prompts with two candidates each, and two edits of the better.
    assert (figures["scored"], figures["generated"]) == (4 * 4, 0)
    for area, rows in before.items():
        after = by_key(selected, area)
        assert after.keys() == rows.keys()
        for key, row in rows.items():
            assert row.items() <= after[key].items()
            assert after[key]["input_score_noise"] is not None
            assert (after[key]["score_noise"] is None) == (after[key]["image_key"] is None)
    now = manifest_of(selected)
    assert now["fingerprint"] == manifest["fingerprint"]
    assert now["candidates_fingerprint"] == manifest["candidates_fingerprint"]
    assert list(now["recipe"]["scorers"]) == ["sharp", "changed", "noise"]
    check_verified(selected)


def test_a_scorer_that_chose_the_rows_keeps_its_name(score: Score, selected: dict[str, Any]):
    before = state_of(selected)
    with pytest.raises(RecipeError, match=r"scorers\.sharp is another scorer.*give it another name"):
        score(selected, {"sharp": {"kind": "pixels", "measure": "entropy"}})
    assert state_of(selected) == before
    assert score(selected, SHARP)["scored"] == 0


def test_a_formula_reads_the_scores_that_the_dataset_has(score: Score, selected: dict[str, Any]):
    figures = score(selected, {"mean": {"kind": "formula", "text": "(sharp + changed) / 2"}})
    assert figures["scored"] == 0
    for row in rows_in(selected["output"]):
        assert row["score_mean"] == pytest.approx((row["score_sharp"] + row["score_changed"]) / 2, abs=1e-3)


def test_the_input_of_a_later_turn_has_the_score_of_the_turn_before(build: Build, score: Score, fields: dict[str, Any]):
    edit = {**fields["edit"], "multi_turn": True, "instructions": ["make it red", "make it large"]}
    fields = {**fields, "edit": edit, "image_format": "jpeg"}
    first = build(fields)
    figures = score(fields, SHARP | CHANGED)
    assert (figures["generated"], figures["fingerprint"]) == (0, first["fingerprint"])
    rows = {(row["id"], row["turn_index"]): row for row in rows_in(fields["output"])}
    for (name, turn), row in rows.items():
        if turn == 2:
            before = rows[name, 1]
            assert row["input_score_sharp"] == before["score_sharp"] is not None
            assert row["input_score_changed"] == before["score_changed"] is not None
    built = build({**fields, "scorers": SHARP | CHANGED})
    assert built["scored"] == 0
    assert {(row["id"], row["turn_index"]): row for row in rows_in(fields["output"])} == rows


def test_given_images_are_scored_as_the_rows_gave_them(build: Build, score: Score, tmp_path: Path):
    samples = sorted((ROOT / "data/samples/images").glob("*.png"))
    write_prompts(tmp_path / "given.jsonl", [{"prompt": path.stem, "images": [str(path)]} for path in samples])
    fields = {"name": "given", "prompts": str(tmp_path / "given.jsonl"), "output": str(tmp_path / "out")}
    fields["scorers"] = SHARP
    first = build(fields)
    figures = score(fields, {"noise": {"kind": "pixels", "measure": "entropy"}})
    assert (figures["scored"], figures["fingerprint"]) == (len(samples), first["fingerprint"])
    assert all(row["score_noise"] > 0 for row in rows_in(fields["output"]))
    built = build({**fields, "scorers": SHARP | {"noise": {"kind": "pixels", "measure": "entropy"}}})
    assert built["scored"] == 0


def test_a_text_that_the_dataset_does_not_have_is_an_error_that_says_which_there_are(
    build: Build, score: Score, fields: dict[str, Any], tiny_clip: Path
):
    build(fields)
    scorer = {"kind": "similarity", "model": str(tiny_clip)}
    with pytest.raises(RecipeError, match=r"'target_prompt', which the dataset does not have.*'edit_prompt', 'prompt'"):
        score(fields, {"fits": scorer})
    figures = score(fields, {"fits": {**scorer, "text": "edit_prompt"}})
    assert figures["scored"] == 4


def test_a_dataset_of_an_interrupted_build_is_not_scored(build: Build, score: Score, fields: dict[str, Any]):
    build(fields)
    manifest = Path(fields["output"], "manifest.json")
    before = manifest.read_bytes()
    write_prompts(Path(fields["prompts"]), ["a fox", "a kite"])
    build(fields)
    manifest.write_bytes(before)
    with pytest.raises(OutputError, match="a build was interrupted"):
        score(fields, SHARP)


def test_scores_of_a_run_that_was_killed_before_the_rows_got_them_are_not_computed_again(
    build: Build, score: Score, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    build(fields)
    with monkeypatch.context() as patch:
        patch.setattr("imagemill.tasks.score_finished.publish_scores", stop)
        patch.setattr("imagemill.tasks.publish.PUBLISH_RETRY_DELAY_S", 0)
        with pytest.raises(KeyboardInterrupt):
            score(fields, SHARP)
    figures = score(fields, SHARP)
    assert figures["scored"] == 0
    assert all(row["score_sharp"] is not None for row in rows_in(fields["output"]))
    check_verified(fields)


def stop(*arguments: Any) -> None:
    raise KeyboardInterrupt


def test_staged_images_of_an_interrupted_build_stay(build: Build, score: Score, fields: dict[str, Any]):
    build(fields)
    left = Path(fields["output"]) / ".imagemill/staged/left"
    left.parent.mkdir(exist_ok=True)
    left.write_bytes(b"of a build")
    score(fields, SHARP)
    assert left.read_bytes() == b"of a build"
    assert not (left.parent.parent / "tmp").exists()


def test_a_recipe_without_scorers_is_an_error(build: Build, score: Score, fields: dict[str, Any]):
    build(fields)
    with pytest.raises(RecipeError, match="the recipe has no scorers"):
        score(fields, {})


def test_the_command_takes_a_whole_recipe_and_reads_its_scorers_alone(
    build: Build, fields: dict[str, Any], imagemill: Any, cluster: str, tmp_path: Path
):
    build(fields)
    other = {**fields, "prompts": "gone.jsonl", "output": str(tmp_path / "other"), "scorers": SHARP}
    file = tmp_path / "other.yaml"
    file.write_text(yaml.safe_dump(other))
    command = ("score", fields["output"], "--recipe", str(file), "--cluster", cluster)
    code, text = imagemill(*command)
    assert code == 0, text
    assert "4 rows; 8 scores computed" in text
    assert not (tmp_path / "other").exists()
    code, text = imagemill(*command, "--json")
    assert (code, json.loads(text)["scored"]) == (0, 0)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("scorers: {sharp: {kind: pixels, measure: sharp}}", "recipe.scorers.sharp"),
        ("scorer: {sharp: {kind: pixels, measure: sharpness}}", "the recipe has no scorers"),
        ("scorers: {sharp: {kind: pixels, measure: sharpness}}\nscorer: {}", "scorer"),
    ],
)
def test_the_command_exits_with_2_for_a_bad_recipe(
    mine: dict[str, Any], imagemill: Any, tmp_path: Path, recipe: str, message: str
):
    file = tmp_path / "bad.yaml"
    file.write_text(recipe)
    code, text = imagemill("score", mine["output"], "--recipe", str(file))
    assert code == 2
    assert message in text
    assert len(text.splitlines()) == 1


def test_images_that_cannot_be_scored_fail_the_run_and_the_others_have_their_scores(
    build: Build, score: Score, fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    from imagemill.data.planning.judging.finished import shard

    build({**fields, "edit": None})
    real, broken = shard.read_image_rows, []

    def with_a_broken_image(*arguments: Any):
        for content, row in real(*arguments):
            broken.append(row["row_key"])
            yield (b"no image" if len(broken) == 1 else content), row

    with monkeypatch.context() as patch:
        patch.setattr(shard, "read_image_rows", with_a_broken_image)
        with pytest.raises(BuildFailed, match="1 images could not be scored, more than"):
            score(fields, SHARP)
    scores = {row["row_key"]: row["score_sharp"] for row in rows_in(fields["output"])}
    assert [key for key, value in scores.items() if value is None] == broken[:1]
    figures = score(fields, SHARP)
    assert (figures["scored"], figures["unscored"]) == (1, 0)


def test_a_datasets_language_model_keeps_its_columns_and_none_is_asked(
    build: Build, score: Score, fields: dict[str, Any]
):
    fields = {name: value for name, value in fields.items() if name != "edit"}
    with ChatServer(lambda asked: {"follows": 3, "reason": "why"}).running() as chat:
        judge = {"kind": "chat", "model": "judge", "api": {"base_url": chat.address}, "ask": "Is it {prompt}?"}
        judge["fields"] = {"follows": "1..5", "reason": "text"}
        build({**fields, "scorers": {"judge": judge}})
        asked = len(chat.requests)
        with pytest.raises(RecipeError, match=r"scorers\.other is a chat scorer, and a finished dataset"):
            score(fields, {"other": judge})
        score(fields, {**SHARP, "both": {"kind": "formula", "text": "judge_follows + sharp"}})
        assert len(chat.requests) == asked
    for row in rows_in(fields["output"]):
        assert (row["score_judge_follows"], row["judge_reason"]) == (3.0, "why")
        assert row["score_both"] == pytest.approx(3 + row["score_sharp"], rel=1e-6)
    check_verified(fields)
