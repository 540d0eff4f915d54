"""Inverse rows: each edit once more, from the edited image back to its input. Nothing is generated for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from imagemill.data.config.load import parse_recipe
from imagemill.data.config.recipe import Recipe
from imagemill.data.verify.diff import compare
from imagemill.data.verify.integrity import verify_files
from imagemill.flows.plan_dataset import plan_dataset
from imagemill.models.drawing.measure_registry import measures_of
from tests.commands import Run
from tests.conftest import Build, write_prompts
from tests.flows.build.test_judged_builds import manifest_of, rows_in

CHANGED = {"changed": {"kind": "pixels", "measure": "changed_share"}}

Fields = dict[str, Any]


def prompt_rows(folder: Path, count: int = 4, **more: Any) -> list[dict[str, Any]]:
    """Rows with images, JPEG and PNG by turns, an instruction and the instruction back; the last lacks that."""
    rows = []
    for number in range(count):
        name = f"image-{number}.{'jpg' if number % 2 else 'png'}"
        if not (folder / name).exists():
            Image.effect_noise((40 + 8 * number, 48), 40).convert("RGB").save(folder / name)
        back = {"inverse_edit": f"back {number}"} if number < count - 1 else {}
        rows.append({"id": f"row-{number}", "images": name, "edit_prompt": f"forth {number}", **back, **more})
    return rows


@pytest.fixture
def given(fields: Fields) -> Fields:
    """The fields of a recipe that edits the images of four rows, with inverse rows."""
    write_prompts(Path(fields["prompts"]), prompt_rows(Path(fields["prompts"]).parent))
    edit = {**fields["edit"], "instructions": [], "inverse": True}
    return {**fields, "generate": None, "edit": edit}


def without(fields: Fields) -> Fields:
    return {**fields, "edit": {**fields["edit"], "inverse": False}}


def pairs_in(output: str | Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(forward row, its inverse row), by id."""
    rows = rows_in(output)
    forward = {row["row_key"]: row for row in rows if not row["inverse"]}
    inverse = sorted((row for row in rows if row["inverse"]), key=lambda row: row["row_key"])
    return [(forward[row["row_key"].partition("-")[0]], row) for row in inverse]


def is_whole(output: str | Path) -> bool:
    report = verify_files(output, measures_of)
    return report.good


@pytest.mark.slow
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_each_edit_has_a_row_with_the_images_swapped_and_nothing_is_generated_for_it(
    build: Build, given: Fields, format: str
):
    given["image_format"] = format
    figures = build(given)
    assert (figures["rows"], figures["generated"], figures["inverse"], figures["set_aside"]) == (7, 4, 3, 0)
    for forward, inverse in pairs_in(given["output"]):
        # The same bytes, whatever the format of either image.
        assert inverse["input_image"]["bytes"] == forward["edited_image"]["bytes"]
        assert inverse["edited_image"]["bytes"] == forward["input_image"]["bytes"]
        assert (inverse["sha256"], inverse["input_sha256"]) == (forward["input_sha256"], forward["sha256"])
        assert inverse["edit_prompt"] == forward["inverse_edit"] == f"back {forward['id'][-1]}"
        assert inverse["id"] == f"{forward['id']}-inverse"
        assert (inverse["width"], inverse["height"]) == (40 + 8 * int(forward["id"][-1]), 48)
        assert inverse["input_key"] == forward["image_key"] != inverse["image_key"]
        assert (inverse["seed"], inverse["model"]) == (forward["seed"], forward["model"])
    assert is_whole(given["output"])
    assert "3 rows, those with `inverse`" in Path(given["output"], "README.md").read_text()


@pytest.mark.slow
def test_a_row_without_an_inverse_instruction_is_whole_and_noted(build: Build, given: Fields):
    figures = build(given)
    (lonely,) = (row for row in rows_in(given["output"]) if row["id"] == "row-3")
    assert not lonely["inverse"]
    assert figures["set_aside"] == 0
    note = "1 instruction has no text in the row's column inverse_edit: their edits get no inverse row."
    assert figures["notes"] == [note]


@pytest.mark.slow
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_inverse_rows_come_and_go_without_an_image_generated(
    build: Build, given: Fields, imagemill: Run, tmp_path: Path, format: str
):
    given["image_format"] = format
    first = build(without(given))
    plan = plan_dataset(load(given))
    assert (plan["images"], plan["rows"], plan["judging"]["inverse"]) == (0, 7, 3)
    assert "prompts were removed" not in planned(given, imagemill, tmp_path)
    with_inverse = build(given)
    assert (with_inverse["generated"], with_inverse["rows"], with_inverse["model_loads"]) == (0, 7, 0)
    before = {path: path.stat().st_mtime_ns for path in Path(given["output"]).glob("data/*")}
    again = build(given)
    assert (again["generated"], again["rows"], again["fingerprint"]) == (0, 7, with_inverse["fingerprint"])
    assert {path: path.stat().st_mtime_ns for path in Path(given["output"]).glob("data/*")} == before
    last = build(without(given))
    assert (last["generated"], last["rows"], last["fingerprint"]) == (0, 4, first["fingerprint"])
    assert all("inverse" not in row for row in rows_in(given["output"]))
    assert is_whole(given["output"])


@pytest.mark.slow
def test_a_rejected_edit_has_no_inverse_row_and_gets_it_with_its_place(build: Build, given: Fields):
    given |= {"scorers": CHANGED, "pairs": {"by": "changed", "margin": 0.0}}
    given["edit"] |= {"images_per_instruction": 2, "select": {"of": 3, "best": "changed"}}
    first = build(given)
    assert (first["kept"], first["inverse"], first["rows"]) == (8, 6, 14)
    candidates = manifest_of(given)["candidates_fingerprint"]
    assert all(inverse["score_changed"] is None for _, inverse in pairs_in(given["output"]))
    assert all(inverse["candidate"] == forward["candidate"] for forward, inverse in pairs_in(given["output"]))
    assert not any(row["inverse"] for row in rows_in(given["output"], "rejected"))
    second = build(given, {"edit.images_per_instruction": 1})
    assert (second["kept"], second["inverse"], second["generated"], second["scored"]) == (4, 3, 0, 0)
    assert manifest_of(given)["candidates_fingerprint"] == candidates
    assert len(pairs_in(given["output"])) == 3
    assert not any(row["inverse"] for row in rows_in(given["output"], "rejected"))
    third = build(given)
    assert (third["generated"], third["fingerprint"], third["inverse"]) == (0, first["fingerprint"], 6)
    assert is_whole(given["output"])


@pytest.mark.slow
def test_an_inverse_row_is_in_the_split_of_its_forward_row_and_moves_with_it(build: Build, given: Fields):
    write_prompts(Path(given["prompts"]), prompt_rows(Path(given["prompts"]).parent, 12))

    def splits() -> dict[str, tuple[set[str], set[str]]]:
        found = {}
        for path in Path(given["output"]).glob("data/*"):
            for row in pq.read_table(path).to_pylist():
                ids = found.setdefault(path.name.partition("-")[0], (set(), set()))
                ids[row["inverse"]].add(row["id"].removesuffix("-inverse"))
                assert row["split"] == path.name.partition("-")[0]
        return found

    placed = []
    for seed in (0, 1):
        figures = build(given, {"splits": {"test": 0.5, "seed": seed, "by": "image"}})
        assert figures["inverse"] == 11
        placed.append(splits())
        for forward, inverse in placed[-1].values():
            assert inverse == forward - {"row-11"}
    assert placed[0] != placed[1]


@pytest.mark.slow
def test_each_instruction_has_its_inverse_one_and_each_turn_too(build: Build, given: Fields):
    folder = Path(given["prompts"]).parent
    rows = prompt_rows(folder, 3, inverse_edit=["to a", None, "to c"])
    write_prompts(Path(given["prompts"]), rows)
    figures = build(given, {"edit.instructions": ["a", "b", "c"], "edit.multi_turn": False})
    assert (figures["rows"], figures["inverse"]) == (9 + 6, 6)
    assert {(forward["edit_prompt"], inverse["edit_prompt"]) for forward, inverse in pairs_in(given["output"])} == {
        ("a", "to a"),
        ("c", "to c"),
    }
    # Another order gives other partners, and no other image.
    figures = build(given, {"edit.instructions": ["b", "a", "c"]})
    assert (figures["generated"], figures["inverse"]) == (0, 6)
    assert {(forward["edit_prompt"], inverse["edit_prompt"]) for forward, inverse in pairs_in(given["output"])} == {
        ("b", "to a"),
        ("c", "to c"),
    }
    assert is_whole(given["output"])


@pytest.mark.slow
def test_a_turn_is_inverted_from_its_result_to_the_turn_before(build: Build, given: Fields):
    rows = prompt_rows(Path(given["prompts"]).parent, 3, inverse_edit=["undo a", "undo b"])
    write_prompts(Path(given["prompts"]), rows)
    figures = build(given, {"edit.instructions": ["a", "b"], "edit.multi_turn": True})
    assert (figures["rows"], figures["inverse"], figures["generated"]) == (12, 6, 6)
    for forward, inverse in pairs_in(given["output"]):
        assert inverse["turn_index"] == forward["turn_index"]
        assert inverse["edit_prompt"] == f"undo {'ab'[forward['turn_index'] - 1]}"
        assert inverse["edited_image"]["bytes"] == forward["input_image"]["bytes"]
    again = build(given, {"edit.instructions": ["a", "b"], "edit.multi_turn": True})
    assert (again["generated"], again["fingerprint"]) == (0, figures["fingerprint"])


@pytest.mark.slow
def test_a_chain_grows_with_its_inverse_rows_and_equals_one_that_was_built_at_once(
    build: Build, fields: Fields, tmp_path: Path
):
    fields["edit"] |= {"inverse": True}
    prompts = [{"prompt": f"number {number}", "inverse_edit": f"back {number}"} for number in range(6)]
    write_prompts(Path(fields["prompts"]), prompts[:4])
    assert build(fields)["inverse"] == 4
    write_prompts(Path(fields["prompts"]), prompts[1:])
    grown = build(fields)
    assert (grown["inverse"], grown["generated"], grown["rows"], grown["removed"]) == (5, 4, 10, 1)
    once = build({**fields, "output": str(tmp_path / "once")})
    assert once["fingerprint"] == grown["fingerprint"]
    assert compare(fields["output"], tmp_path / "once").equal
    for forward, inverse in pairs_in(fields["output"]):
        assert (inverse["image_key"], inverse["input_key"]) == (forward["input_key"], forward["image_key"])


@pytest.mark.slow
def test_rows_whose_prompt_is_gone_stay_with_their_inverse_rows_where_the_recipe_says_so(build: Build, given: Fields):
    given["on_removed"] = "keep"
    build(given)
    rows = prompt_rows(Path(given["prompts"]).parent)
    write_prompts(Path(given["prompts"]), rows[1:])
    figures = build(given)
    assert (figures["rows"], figures["inverse"], figures["generated"]) == (7, 3, 0)
    # Another instruction back replaces the inverse row and nothing else.
    rows[1]["inverse_edit"] = "another way back"
    write_prompts(Path(given["prompts"]), rows[1:])
    figures = build(given)
    assert (figures["rows"], figures["inverse"], figures["generated"]) == (7, 3, 0)
    texts = {inverse["id"]: inverse["edit_prompt"] for _, inverse in pairs_in(given["output"])}
    assert texts == {"row-0-inverse": "back 0", "row-1-inverse": "another way back", "row-2-inverse": "back 2"}


@pytest.mark.slow
def test_a_column_of_the_prompts_named_inverse_is_carried_under_another_name(build: Build, given: Fields):
    write_prompts(Path(given["prompts"]), prompt_rows(Path(given["prompts"]).parent, inverse="mine"))
    build(given)
    assert {row["source_inverse"] for row in rows_in(given["output"])} == {"mine"}
    assert {row["inverse"] for row in rows_in(given["output"])} == {True, False}


@pytest.mark.slow
def test_verify_finds_an_inverse_row_that_has_other_images(build: Build, given: Fields):
    build(given)
    assert is_whole(given["output"])
    change_inverse(Path(given["output"]), lambda row: {**row, "row_key": f"{'0' * 32}-inverse-{'0' * 16}"})
    faults = verify_files(given["output"], measures_of).faults
    assert any("lacks the row that it is of" in fault.what for fault in faults)


@pytest.mark.slow
def test_a_dataset_without_inverse_rows_has_no_trace_of_them(build: Build, given: Fields):
    figures = build(without(given))
    assert "inverse" not in figures
    assert "inverse" not in rows_in(given["output"])[0]


def planned(fields: Fields, imagemill: Run, folder: Path) -> str:
    """What `imagemill plan` prints."""
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(fields))
    code, printed = imagemill("plan", path)
    assert code == 0, printed
    assert "up to 3 of the rows are inverse ones" in printed
    return printed


def load(fields: Fields) -> Recipe:
    return parse_recipe(json.loads(json.dumps(fields)))


def change_inverse(output: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Change the inverse rows of a dataset's files."""
    for path in output.glob("data/*"):
        table = pq.read_table(path)
        rows = [change(row) if row["inverse"] else row for row in table.to_pylist()]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


@pytest.mark.slow
@pytest.mark.parametrize("format", ["png", "jpeg"])
def test_verify_regenerates_the_forward_rows_whose_pixels_the_inverse_ones_have(
    build: Build, given: Fields, imagemill: Run, cluster: str, format: str
):
    given["image_format"] = format
    build(given)
    code, printed = imagemill("verify", given["output"], "--regenerate", "7", "--cluster", cluster)
    assert (code, "Regenerated: 4 rows, 4 of them bit-equal" in printed) == (0, True), printed
    key = next(inverse["row_key"] for _, inverse in pairs_in(given["output"]))
    code, printed = imagemill("verify", given["output"], "--row", key, "--cluster", cluster)
    assert (code, "Regenerated: 1 row, 1 of them bit-equal" in printed) == (0, True), printed


@pytest.mark.slow
def test_scores_added_to_a_finished_dataset_leave_its_inverse_rows_without_one(
    build: Build, given: Fields, imagemill: Run, cluster: str, tmp_path: Path
):
    build(given)
    recipe = tmp_path / "scores.yaml"
    recipe.write_text(yaml.safe_dump({**given, "scorers": CHANGED}))
    code, printed = imagemill("score", given["output"], "--recipe", str(recipe), "--cluster", cluster)
    assert code == 0, printed
    pairs = pairs_in(given["output"])
    assert [inverse["score_changed"] for _, inverse in pairs] == [None] * 3
    assert all(forward["score_changed"] is not None for forward, _ in pairs)
    code, printed = imagemill("scores", given["output"])
    assert (code, "4 rows in data/" in printed) == (0, True), printed
    again = build({**given, "scorers": CHANGED})
    assert (again["generated"], again["scored"], again["rows"]) == (0, 0, 7)


@pytest.mark.slow
def test_an_export_and_a_filter_have_the_inverse_rows(build: Build, given: Fields, imagemill: Run, tmp_path: Path):
    build(given)
    code, printed = imagemill(
        "export", given["output"], "--format", "imagefolder", "--to", tmp_path / "all", "--where", "inverse = true"
    )
    assert code == 0, printed
    lines = [json.loads(line) for line in (tmp_path / "all" / "metadata.jsonl").read_text().splitlines()]
    assert {line["id"] for line in lines} == {"row-0-inverse", "row-1-inverse", "row-2-inverse"}
    (jpeg,) = (line for line in lines if line["id"] == "row-1-inverse")
    assert jpeg["edited_image_file_name"].endswith(".jpg")


@pytest.mark.slow
def test_a_dataset_in_a_store_has_inverse_rows_too(build: Build, given: Fields, bucket: str):
    given["output"] = f"s3://{bucket}/sets/there-and-back"
    first = build(without(given))
    figures = build(given)
    assert (figures["rows"], figures["inverse"], figures["generated"]) == (7, 3, 0)
    assert is_whole(given["output"])
    assert build(without(given))["fingerprint"] == first["fingerprint"]
