"""A prompts file becomes a dataset, once, and the same one every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from imagemill.data.errors import BuildFailed, InputError, UnknownModel
from tests.conftest import ROOT, Build, write_prompts


def rows_of(output: str | Path, area: str = "data") -> list[dict[str, Any]]:
    return [row for path in sorted(Path(output).glob(f"{area}/*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_prompts_become_images_and_edits_that_datasets_opens(build: Build, fields: dict, tmp_path: Path, monkeypatch):
    figures = build(fields)
    assert (figures["status"], figures["rows"], figures["generated"], figures["set_aside"]) == ("complete", 4, 8, 0)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    import datasets

    files = f"{fields['output']}/data/train-*.parquet"
    rows = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
    assert [row["prompt"] for row in rows] == ["a fox", "a kite", "a ring", "a star"]
    first = rows[0]
    assert isinstance(first["input_image"], Image.Image)
    assert isinstance(first["edited_image"], Image.Image)
    assert first["edited_image"].size == (64, 64) == (first["width"], first["height"])
    assert (first["edit_prompt"], first["steps"], first["edit_steps"]) == ("make it red", 1, 1)
    assert (first["batch_size"], first["model"], first["model_revision"]) == (2, "random", first["edit_model_revision"])


def test_the_manifest_describes_the_dataset(build: Build, fields: dict):
    figures = build(fields)
    manifest = json.loads((Path(fields["output"]) / "manifest.json").read_text())
    assert manifest["fingerprint"] == figures["fingerprint"]
    assert manifest["rows"] == sum(file["rows"] for file in manifest["files"]) == 4
    assert {"fingerprint", "rows", "files", "models", "recipe", "versions"} <= set(manifest)
    assert manifest["recipe"]["generate"]["steps"] == 1
    assert manifest["versions"]["diffusers"]
    assert manifest["hardware"]["devices"] == ["cpu"]


def test_a_second_build_generates_nothing_and_loads_nothing(build: Build, fields: dict):
    first, second = build(fields), build(fields)
    assert (second["generated"], second["planned"], second["model_loads"], second["kept"]) == (0, 0, 0, 4)
    assert second["fingerprint"] == first["fingerprint"]
    lines = (Path(fields["output"]) / "runs.jsonl").read_text().splitlines()
    needed = {"started", "seconds", "planned", "reused", "generated", "set_aside", "images_per_second", "model_loads"}
    assert [json.loads(line)["generated"] for line in lines] == [8, 0]
    assert needed <= set(json.loads(lines[0]))


def test_two_folders_get_the_same_fingerprint(build: Build, fields: dict, tmp_path: Path):
    other = {"output": str(tmp_path / "elsewhere" / "out"), "shard_size": 3}
    assert build(fields)["fingerprint"] == build(fields, other)["fingerprint"]


def test_a_complete_build_leaves_no_work_files(build: Build, fields: dict):
    build(fields)
    files = {path.name for path in (Path(fields["output"]) / ".imagemill").iterdir()}
    assert files - {"paths.json"} == {"files.jsonl", "folder.json"}


def test_without_an_edit_section_the_images_are_the_generated_ones(build: Build, fields: dict):
    fields["edit"] = None
    assert build(fields)["generated"] == 4
    row = rows_of(fields["output"])[0]
    assert row["image"]["path"].endswith(".png")
    assert "edited_image" not in row


def test_images_of_a_dataflow_file_are_edited(build: Build, fields: dict, tmp_path: Path):
    samples = ROOT / "data" / "samples"
    edit = {**fields["edit"], "instructions": []}
    given = {**fields, "generate": None, "edit": edit, "prompts": str(samples / "edits.jsonl")}
    assert build(given)["generated"] == 4
    rows = rows_of(fields["output"])
    assert rows[0]["edit_prompt"] == "make the circle blue"
    assert rows[0]["input_image"]["bytes"] == (samples / "images" / "red-circle.png").read_bytes()


def test_every_dataflow_message_is_a_prompt_and_other_columns_are_carried(build: Build, fields: dict):
    talk = {"conversations": [{"role": "user", "content": "a fox"}, {"role": "user", "content": "a kite"}], "id": 7}
    write_prompts(Path(fields["prompts"]), [talk, {"prompt": "a star", "rating": 3, "tags": ["x"], "seed": 5}])
    fields["edit"] = None
    build(fields)
    rows = rows_of(fields["output"])
    assert [(row["id"], row["prompt"]) for row in rows[:2]] == [("7-0", "a fox"), ("7-1", "a kite")]
    assert (rows[2]["rating"], rows[2]["tags"], rows[2]["seed"]) == (3, ["x"], 5)


@pytest.mark.parametrize(("image_format", "magic"), [("jpeg", b"\xff\xd8"), ("webp", b"RIFF")])
def test_images_are_stored_in_the_recipes_format_and_edited_from_lossless_ones(
    build: Build, fields: dict, tmp_path: Path, image_format: str, magic: bytes
):
    build(fields, {"image_format": image_format})
    lossy = rows_of(fields["output"])
    build(fields, {"output": str(tmp_path / "png"), "name": "png"})
    assert all(row[name]["bytes"].startswith(magic) for row in lossy for name in ("input_image", "edited_image"))
    assert [row["image_key"] for row in lossy] == [row["image_key"] for row in rows_of(tmp_path / "png")]


def test_bad_lines_are_set_aside_with_file_line_and_reason_and_the_rest_is_built(build: Build, fields: dict):
    prompts = Path(fields["prompts"])
    prompts.write_text('{"prompt": "a fox"}\nnot json\n{"prompt": ""}\n{"prompt": "a kite", "width": 7}\n')
    figures = build(fields, {"max_set_aside": 1.0})
    assert (figures["rows"], figures["set_aside"]) == (1, 3)
    lines = [json.loads(line) for line in (Path(fields["output"]) / "set_aside.jsonl").read_text().splitlines()]
    assert [(line["file"], line["line"]) for line in lines] == [(str(prompts), 2), (str(prompts), 3), (str(prompts), 4)]
    assert "not JSON" in lines[0]["reason"]
    assert "the prompt is empty" in lines[1]["reason"]
    assert "width is 7" in lines[2]["reason"]


def test_a_truncated_image_costs_only_its_row(build: Build, fields: dict, tmp_path: Path):
    samples = ROOT / "data" / "samples"
    whole = samples / "images" / "red-circle.png"
    Image.effect_noise((256, 256), 50).save(tmp_path / "noise.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "noise.png").read_bytes()[:-2000])
    rows = [{"images": str(whole), "edit_prompt": "a"}, {"images": "cut.png", "edit_prompt": "b"}]
    write_prompts(Path(fields["prompts"]), rows)
    edit = {**fields["edit"], "instructions": []}
    figures = build({**fields, "generate": None, "edit": edit, "max_set_aside": 1.0})
    assert (figures["rows"], figures["set_aside"]) == (1, 1)
    line = json.loads((Path(fields["output"]) / "set_aside.jsonl").read_text())
    assert (line["stage"], line["line"]) == ("edit", 2)
    assert "undecodable image" in line["reason"]


def test_a_bad_line_stops_the_build_if_the_recipe_says_so(build: Build, fields: dict):
    Path(fields["prompts"]).write_text('{"prompt": "a fox"}\nnot json\n')
    with pytest.raises(BuildFailed, match=r"line 2: not JSON .*on_bad_row is 'stop'"):
        build(fields, {"on_bad_row": "stop"})


def test_a_file_without_a_good_row_is_an_error(build: Build, fields: dict):
    Path(fields["prompts"]).write_text("not json\n")
    with pytest.raises(InputError, match=r"has no good row \(the first of 1: line 1, not JSON"):
        build(fields)


def test_an_unknown_model_fails_before_anything_is_written(build: Build, fields: dict):
    with pytest.raises(UnknownModel, match=r"recipe.generate.model is 'nope', which is neither in the catalog"):
        build(fields, {"generate.model": "nope"})
    assert not Path(fields["output"]).exists()


def test_a_random_seed_is_drawn_once_and_recorded(build: Build, fields: dict, tmp_path: Path):
    random_seed = {"generate.seed": -1, "edit": None}
    first = build(fields, random_seed)
    assert build(fields, random_seed)["generated"] == 0
    manifest = json.loads((Path(fields["output"]) / "manifest.json").read_text())
    assert manifest["pinned"]["generate.seed"] == manifest["recipe"]["generate"]["seed"] >= 0
    other = build(fields, {**random_seed, "output": str(tmp_path / "other")})
    assert other["fingerprint"] != first["fingerprint"]


def test_an_image_does_not_depend_on_its_neighbours_or_its_place_in_the_batch(build: Build, fields: dict, tmp_path):
    build(fields, {"edit": None})
    write_prompts(tmp_path / "one.jsonl", ["a ring"])
    build(fields, {"edit": None, "output": str(tmp_path / "one"), "prompts": str(tmp_path / "one.jsonl")})
    among = next(row for row in rows_of(fields["output"]) if row["prompt"] == "a ring")
    alone = rows_of(tmp_path / "one")[0]
    assert alone["image"]["bytes"] == among["image"]["bytes"]
