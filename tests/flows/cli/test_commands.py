"""The reading commands report the truth, notice damage, and change nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pyarrow as pa
import pytest

from imagemill.data.dataset.folder import Folder
from imagemill.data.export.formats import FORMATS
from imagemill.data.records import Staged
from imagemill.data.staging.store import Staging
from imagemill.flows.cli.app import app
from imagemill.flows.cli.export_command import export
from tests.commands import Run, flip_a_byte, recipe_file, replace_column, rewrite, state_of
from tests.conftest import ROOT, Build, write_prompts
from tests.flows.build.test_build_dataset import rows_of

FOUR = ["a fox", "a kite", "a ring", "a star"]


def appended_and_deleted(fields: dict[str, Any]) -> None:
    rows = [{"prompt": "a cat"}, {"prompt": ""}, {"prompt": "a dog"}, *({"prompt": prompt} for prompt in FOUR[1:])]
    write_prompts(Path(fields["prompts"]), rows)


def another_instruction(fields: dict[str, Any]) -> None:
    fields["edit"] = {**fields["edit"], "instructions": ["make it red", "make it blue"]}


def a_damaged_file(fields: dict[str, Any]) -> None:
    flip_a_byte(Path(fields["output"]))


def nothing(fields: dict[str, Any]) -> None:
    """The dataset is complete."""


@pytest.mark.parametrize("change", [appended_and_deleted, another_instruction, a_damaged_file, nothing])
def test_a_plan_predicts_the_build(build: Build, mine: dict, report: Callable, change: Callable):
    change(mine)
    mine["max_set_aside"] = 1.0
    code, plan = report("plan", recipe_file(mine))
    figures = build(mine)
    assert code == 0
    assert (plan["images"], plan["rows"], plan["set_aside"]) == (
        figures["generated"],
        figures["rows"],
        figures["set_aside"],
    )
    assert (plan["reused"], plan["removed"]) == (figures["kept"], figures["removed"])
    assert sum(plan["draw"].values()) == plan["images"]


def test_a_plan_counts_the_images_that_an_interrupted_build_staged(
    built: dict, build: Build, report: Callable, tmp_path: Path
):
    output = tmp_path / "new"
    row = rows_of(built["output"])[0]
    Folder(output).staged.mkdir(parents=True)
    for key, image, sha256 in (("image_key", "edited_image", "sha256"), ("input_key", "input_image", "input_sha256")):
        staged = Staged(row[key], row[sha256], 64, 64, 2, "cpu")
        Staging(Folder(output).staged).put(row[image]["bytes"], staged, "png")
    Folder(output).about.write_text('{"name": "small", "pinned": {}}')
    plan = report("plan", recipe_file(built), "--output", output)[1]
    figures = build(built, {"output": str(output)})
    assert (plan["staged"], plan["images"]) == (2, 6) == (figures["reused"], figures["generated"])


def test_a_plan_does_not_reuse_lossy_images_as_sources(build: Build, fields: dict, report: Callable):
    build(fields, {"edit": None, "image_format": "jpeg"})
    plan = report("plan", recipe_file({**fields, "image_format": "jpeg"}))[1]
    figures = build(fields, {"image_format": "jpeg"})
    assert (plan["images"], plan["restored"]) == (figures["generated"], 0) == (8, 0)


def test_a_plan_estimates_time_and_disk_from_the_datasets_runs(mine: dict, report: Callable):
    run = json.loads((Path(mine["output"]) / "runs.jsonl").read_text())
    size = json.loads((Path(mine["output"]) / "manifest.json").read_text())["bytes"]
    write_prompts(Path(mine["prompts"]), [*FOUR, *(f"number {number}" for number in range(4))])
    plan = report("plan", recipe_file(mine))[1]
    assert plan["seconds"] == pytest.approx(run["seconds"], abs=0.1)
    assert (plan["bytes_added"], plan["bytes"]) == (size, 2 * size)


def test_a_plan_touches_nothing_even_while_a_build_holds_the_folder(mine: dict, imagemill: Run, tmp_path: Path):
    write_prompts(Path(mine["prompts"]), ["a cat"])
    recipe = recipe_file(mine)
    with Folder(mine["output"]).lock("small"):
        before = state_of(tmp_path)
        assert imagemill("plan", recipe)[0] == 0
        assert state_of(tmp_path) == before
    assert imagemill("plan", recipe, "--output", tmp_path / "none" / "yet")[0] == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["--help", "plan", "verify", "history", "diff"])
def test_reading_commands_import_neither_torch_nor_prefect(built: dict, command: str):
    output = built["output"]
    arguments = {"plan": [recipe_file(built)], "verify": [output], "history": [output], "diff": [output, output]}
    heavy = ["torch", "diffusers", "transformers", "prefect", *(["pyarrow", "numpy"] if command == "--help" else [])]
    code = (
        "import sys; from imagemill.flows.cli.app import main\n"
        "try: main(sys.argv[1:])\n"
        f"except SystemExit as end: assert not end.code; assert not set({heavy}) & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, command, *arguments.get(command, [])], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_every_export_format_can_be_named_on_the_command_line() -> None:
    choices, *_ = get_args(get_type_hints(export, include_extras=True)["format"])
    assert set(get_args(choices)) == set(FORMATS)


def test_history_lists_every_run(mine: dict, build: Build, report: Callable, imagemill: Run):
    build(mine)
    runs = report("history", mine["output"])[1]["runs"]
    assert [(run["generated"], run["status"]) for run in runs] == [(8, "complete"), (0, "complete")]
    code, text = imagemill("history", mine["output"])
    assert code == 0
    assert len(text.splitlines()) == 3
    assert "complete" in text.splitlines()[1]
    # Whole headings, though a pipe has no width.
    assert "set aside" in text.splitlines()[0]
    assert "…" not in text


def test_datasets_of_two_seeds_have_no_image_in_common(
    built: dict, mine: dict, build: Build, report: Callable, tmp_path: Path
):
    build(mine, {"generate.seed": 7})
    code, found = report("diff", built["output"], mine["output"])
    assert (code, found["equal"], found["same"], found["changed"]["rows"]) == (1, False, 0, 0)
    assert (found["only_a"]["rows"], found["only_b"]["rows"]) == (4, 4)
    assert found["only_a"]["ids"] == sorted(row["id"] for row in rows_of(built["output"]))


def test_equal_datasets_do_not_differ(built: dict, mine: dict, imagemill: Run):
    assert imagemill("diff", built["output"], mine["output"])[0] == 0


def test_diff_finds_other_bytes_under_the_same_key(built: dict, mine: dict, report: Callable):
    def change(table: pa.Table) -> pa.Table:
        return replace_column(table, "sha256", ["0" * 64, *table["sha256"].to_pylist()[1:]])

    rewrite(Path(mine["output"]), change)
    code, found = report("diff", built["output"], mine["output"])
    assert (code, found["same"], found["only_a"]["rows"], found["only_b"]["rows"]) == (1, 3, 0, 0)
    assert found["changed"] == {"rows": 1, "ids": [rows_of(built["output"])[0]["id"]]}


@pytest.mark.parametrize("command", ["verify", "history", "diff"])
def test_a_folder_that_is_not_a_dataset_is_one_clear_message(built: dict, imagemill: Run, tmp_path: Path, command: str):
    more = [built["output"]] if command == "diff" else []
    for folder, what in ((tmp_path, "is not an imagemill dataset"), (tmp_path / "none", "does not exist")):
        code, text = imagemill(command, folder, *more)
        assert code == 1
        assert text.startswith(f"imagemill: {str(folder)!r} {what}")


@pytest.mark.parametrize("command", ["verify", "diff"])
def test_an_unfinished_dataset_says_how_to_finish_it(mine: dict, imagemill: Run, command: str):
    (Path(mine["output"]) / "manifest.json").unlink()
    code, text = imagemill(command, mine["output"], *([mine["output"]] if command == "diff" else []))
    assert code == 1
    assert "is not finished: its manifest.json is not written yet. Run `imagemill build`" in text


def test_every_command_is_documented():
    page = (ROOT / "docs/reference/commands.md").read_text()
    for command in app:
        if not command.startswith("-"):
            assert f"\n## imagemill {command}\n" in page
