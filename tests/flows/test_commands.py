"""The commands that look: what they say is so, what is not so they notice, and they change nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from data.folder import Folder, hash_file
from data.records import Staged
from data.staging import Staging
from flows.cli import app, main
from tests.conftest import Build, small_fields, write_prompts
from tests.flows.test_build_dataset import rows_of

FOUR = ["a fox", "a kite", "a ring", "a star"]


@pytest.fixture(scope="module")
def built(build: Build, model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of a recipe whose dataset is built: four rows, each generated and edited. Nobody changes it."""
    fields = small_fields(tmp_path_factory.mktemp("built"), model)
    build(fields)
    return fields


@pytest.fixture
def mine(built: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """A copy of that recipe, with its prompts and its dataset, that a test may change."""
    shutil.copytree(built["output"], tmp_path / "out")
    shutil.copy(built["prompts"], tmp_path / "prompts.jsonl")
    return {**built, "output": str(tmp_path / "out"), "prompts": str(tmp_path / "prompts.jsonl")}


Run = Callable[..., tuple[int, str]]


@pytest.fixture
def imagemill(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs the command line in this process; returns its exit code and what it printed."""

    def run(*arguments: str) -> tuple[int, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main([str(argument) for argument in arguments])
        return end.value.code, "".join(capsys.readouterr())

    return run


@pytest.fixture
def report(imagemill: Run) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Runs a command with --json; returns its exit code and the object."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code, text = imagemill(*arguments, "--json")
        return code, json.loads(text)

    return run


def recipe_file(fields: dict[str, Any]) -> str:
    path = Path(fields["prompts"]).with_name("recipe.yaml")
    path.write_text(yaml.safe_dump(fields))
    return str(path)


def state_of(folder: str) -> list[tuple[str, int, int]]:
    paths = sorted(Path(folder).rglob("*"))
    return [(str(path), path.stat().st_mtime_ns, path.stat().st_size) for path in paths]


def appended_and_deleted(fields: dict[str, Any]) -> None:
    rows = [{"prompt": "a cat"}, {"prompt": ""}, {"prompt": "a dog"}, *({"prompt": one} for one in FOUR[1:])]
    write_prompts(Path(fields["prompts"]), rows)


def another_instruction(fields: dict[str, Any]) -> None:
    fields["edit"] = {**fields["edit"], "instructions": ["make it red", "make it blue"]}


def a_damaged_file(fields: dict[str, Any]) -> None:
    flip_a_byte(Path(fields["output"]))


def nothing(fields: dict[str, Any]) -> None:
    """The dataset is complete."""


@pytest.mark.parametrize("change", [appended_and_deleted, another_instruction, a_damaged_file, nothing])
def test_a_plan_says_what_the_build_then_does(build: Build, mine: dict, report: Callable, change: Callable):
    change(mine)
    mine["max_set_aside"] = 1.0
    code, plan = report("plan", recipe_file(mine))
    figures = build(mine)
    assert code == 0
    assert (plan["pictures"], plan["rows"], plan["set_aside"]) == (
        figures["drawn"],
        figures["rows"],
        figures["set_aside"],
    )
    assert (plan["reused"], plan["removed"]) == (figures["kept"], figures["removed"])
    assert sum(plan["draw"].values()) == plan["pictures"]


def test_a_plan_counts_what_an_interrupted_build_has_staged(
    built: dict, build: Build, report: Callable, tmp_path: Path
):
    output = tmp_path / "new"
    row = rows_of(built["output"])[0]
    for key, picture, sha256 in (("image_key", "edited_image", "sha256"), ("input_key", "input_image", "input_sha256")):
        staged = Staged(row[key], row[sha256], 64, 64, 2, "cpu")
        Staging(Folder(output).staged).put(row[picture]["bytes"], staged, "png")
    Folder(output).about.write_text('{"name": "small", "pinned": {}}')
    plan = report("plan", recipe_file(built), "--output", output)[1]
    figures = build(built, {"output": str(output)})
    assert (plan["staged"], plan["pictures"]) == (2, 6) == (figures["reused"], figures["drawn"])


def test_a_plan_does_not_count_on_lossy_pictures_to_edit_from(build: Build, fields: dict, report: Callable):
    build(fields, {"edit": None, "image_format": "jpeg"})
    plan = report("plan", recipe_file({**fields, "image_format": "jpeg"}))[1]
    figures = build(fields, {"image_format": "jpeg"})
    assert (plan["pictures"], plan["restored"]) == (figures["drawn"], 0) == (8, 0)


def test_a_plan_estimates_time_and_disk_from_the_datasets_own_runs(mine: dict, report: Callable):
    run = json.loads((Path(mine["output"]) / "runs.jsonl").read_text())
    size = json.loads((Path(mine["output"]) / "manifest.json").read_text())["bytes"]
    write_prompts(Path(mine["prompts"]), [*FOUR, *(f"number {number}" for number in range(4))])
    plan = report("plan", recipe_file(mine))[1]
    assert plan["seconds"] == pytest.approx(run["seconds"], rel=0.01)
    assert (plan["bytes_added"], plan["bytes"]) == (size, 2 * size)


def test_a_plan_touches_nothing_even_where_a_build_holds_the_folder(mine: dict, imagemill: Run, tmp_path: Path):
    write_prompts(Path(mine["prompts"]), ["a cat"])
    recipe = recipe_file(mine)
    with Folder(mine["output"]).hold("small"):
        before = state_of(tmp_path)
        assert imagemill("plan", recipe)[0] == 0
        assert state_of(tmp_path) == before
    assert imagemill("plan", recipe, "--output", tmp_path / "none" / "yet")[0] == 0
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("command", ["--help", "plan", "verify", "history", "diff"])
def test_commands_that_look_import_neither_torch_nor_prefect(built: dict, command: str):
    output = built["output"]
    arguments = {"plan": [recipe_file(built)], "verify": [output], "history": [output], "diff": [output, output]}
    heavy = ["torch", "diffusers", "transformers", "prefect", *(["pyarrow", "numpy"] if command == "--help" else [])]
    code = (
        "import sys; from flows.cli import main\n"
        "try: main(sys.argv[1:])\n"
        f"except SystemExit as end: assert not end.code; assert not set({heavy}) & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, command, *arguments.get(command, [])], capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


def test_an_undamaged_dataset_verifies_and_nothing_is_written_into_it(built: dict, report: Callable):
    before = state_of(built["output"])
    code, found = report("verify", built["output"])
    assert (code, found["good"], found["rows"], found["pictures"]) == (0, True, 4, 8)
    assert found["fingerprint"] == json.loads((Path(built["output"]) / "manifest.json").read_text())["fingerprint"]
    assert state_of(built["output"]) == before


def only_file(output: Path) -> Path:
    return next((output / "data").iterdir())


def flip_a_byte(output: Path) -> None:
    path = only_file(output)
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 1
    path.write_bytes(content)


def cut_off_the_end(output: Path) -> None:
    path = only_file(output)
    path.write_bytes(path.read_bytes()[:-50])


def delete_a_file(output: Path) -> None:
    only_file(output).unlink()


def add_a_file(output: Path) -> None:
    (output / "data" / "train-00009.parquet").write_bytes(only_file(output).read_bytes())


def rewrite(output: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change a file and let the manifest say that it is as it should be: only its rows can tell."""
    path, manifest = only_file(output), output / "manifest.json"
    pq.write_table(change(pq.read_table(path)), path)
    said = json.loads(manifest.read_text())
    said["files"][0] |= {"bytes": path.stat().st_size, "sha256": hash_file(path)}
    manifest.write_text(json.dumps(said))


def replace_column(table: pa.Table, name: str, values: list[Any]) -> pa.Table:
    index = table.column_names.index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def swap_two_pictures(output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        pictures = table["edited_image"].to_pylist()
        return replace_column(table, "edited_image", [pictures[1], pictures[0], *pictures[2:]])

    rewrite(output, change)


def lose_an_input_picture(output: Path) -> None:
    def change(table: pa.Table) -> pa.Table:
        return replace_column(table, "input_image", [None, *table["input_image"].to_pylist()[1:]])

    rewrite(output, change)


def lose_the_metadata(output: Path) -> None:
    rewrite(output, lambda table: table.replace_schema_metadata({"imagemill": table.schema.metadata[b"imagemill"]}))


def change_a_key(output: Path) -> None:
    rewrite(output, lambda table: replace_column(table, "image_key", ["0" * 32, *table["image_key"].to_pylist()[1:]]))


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (flip_a_byte, "sha256"),
        (cut_off_the_end, "size"),
        (cut_off_the_end, "unreadable"),
        (delete_a_file, "missing"),
        (add_a_file, "extra"),
        (swap_two_pictures, "picture"),
        (lose_an_input_picture, "picture"),
        (lose_the_metadata, "schema"),
        (change_a_key, "fingerprint"),
    ],
)
def test_verify_notices_what_is_not_as_it_was(
    mine: dict, report: Callable, imagemill: Run, damage: Callable, kind: str
):
    damage(Path(mine["output"]))
    code, found = report("verify", mine["output"])
    assert (code, found["good"]) == (1, False)
    assert kind in found["counts"]
    assert kind in imagemill("verify", mine["output"])[1]


def test_verify_names_the_row_whose_picture_was_changed(mine: dict, report: Callable):
    swap_two_pictures(Path(mine["output"]))
    ids = [row["id"] for row in rows_of(mine["output"])]
    found = report("verify", mine["output"])[1]
    assert [fault["id"] for fault in found["faults"] if fault["kind"] == "picture"] == ids[:2]


@pytest.mark.parametrize("kind", ["chain", "generated", "given"])
def test_rows_drawn_again_are_bit_equal(
    build: Build, mine: dict, cluster: str, report: Callable, tmp_path: Path, kind: str
):
    if kind == "generated":
        mine |= {"edit": None, "image_format": "webp", "generate": {**mine["generate"], "guidance_scale": 2.0}}
    elif kind == "given":
        prompts = Path(__file__).parents[2] / "data" / "samples" / "edits.jsonl"
        mine |= {"generate": None, "edit": {**mine["edit"], "instructions": []}, "prompts": str(prompts)}
    if kind != "chain":
        mine["output"] = str(tmp_path / kind)
        build(mine)
    before = state_of(mine["output"])
    code, found = report("verify", mine["output"], "--regenerate", "3", "--cluster", cluster)
    assert (code, found["redrawn"], found["bit_equal"], found["not_bit_equal"]) == (0, 3, 3, [])
    assert state_of(mine["output"]) == before


def test_rows_that_another_model_draws_again_are_reported_with_psnr_and_what_differs(
    mine: dict, cluster: str, report: Callable, tmp_path: Path
):
    import torch
    from safetensors.torch import load_file, save_file

    other = tmp_path / "random"
    shutil.copytree(mine["generate"]["model"], other)
    weights = next((other / "transformer").glob("*.safetensors"))
    save_file({name: value + 0.01 * torch.randn_like(value) for name, value in load_file(weights).items()}, weights)
    manifest = Path(mine["output"]) / "manifest.json"
    said = json.loads(manifest.read_text())
    said["recipe"]["edit"]["model"] = str(other)
    manifest.write_text(json.dumps(said))
    code, found = report("verify", mine["output"], "--regenerate", "2", "--cluster", cluster)
    assert (code, found["good"], found["redrawn"], found["bit_equal"]) == (1, False, 2, 0)
    assert all(0 < one["psnr"] < 100 for one in found["not_bit_equal"])
    assert list(found["differing"]) == ["edit model's files"]


def test_rows_kept_from_an_earlier_model_are_skipped_and_said_to_be(mine: dict, cluster: str, report: Callable):
    manifest = Path(mine["output"]) / "manifest.json"
    said = json.loads(manifest.read_text())
    said["models"]["edit"]["identity"]["files"] = "0" * 32
    manifest.write_text(json.dumps(said))
    code, found = report("verify", mine["output"], "--regenerate", "1", "--cluster", cluster)
    assert (code, found["bit_equal"]) == (0, 0)
    assert [one["result"] for one in found["not_bit_equal"]] == ["skipped"]
    assert "otherwise than the manifest describes" in found["not_bit_equal"][0]["why"]


def test_a_recipe_that_cannot_be_used_here_any_more_is_one_clear_message(mine: dict, imagemill: Run, server: str):
    manifest = Path(mine["output"]) / "manifest.json"
    said = json.loads(manifest.read_text())
    said["recipe"]["edit"]["model"] = "gone/away/model"
    manifest.write_text(json.dumps(said))
    code, text = imagemill("verify", mine["output"], "--regenerate", "1")
    assert code == 1
    assert "the recipe in its manifest cannot be used here: recipe.edit.model is 'gone/away/model'" in text


def test_a_scheduled_verification_of_a_damaged_dataset_fails(mine: dict, server: str):
    from data.errors import DatasetDiffers
    from flows.verify_dataset import verify_dataset

    assert verify_dataset(mine["output"])["good"]
    flip_a_byte(Path(mine["output"]))
    with pytest.raises(DatasetDiffers, match=r"is not what its manifest says \(1 sha256"):
        verify_dataset(mine["output"], regenerate=1)


def test_history_lists_every_run(mine: dict, build: Build, report: Callable, imagemill: Run):
    build(mine)
    runs = report("history", mine["output"])[1]["runs"]
    assert [(run["drawn"], run["status"]) for run in runs] == [(8, "complete"), (0, "complete")]
    code, text = imagemill("history", mine["output"])
    assert code == 0
    assert len(text.splitlines()) == 3
    assert "complete" in text.splitlines()[1]


def test_datasets_of_two_seeds_have_no_picture_in_common(
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
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text()
    for command in app:
        if not command.startswith("-"):
            assert f"\n## imagemill {command}\n" in page
