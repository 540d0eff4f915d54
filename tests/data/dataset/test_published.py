"""What a dataset publishes names no folder of the machine that built it, and nothing in it ends its Markdown."""

import json
from pathlib import Path

import pytest
import yaml

from imagemill.data.config.load import load_recipe
from imagemill.data.dataset.card import dataset_card
from imagemill.data.dataset.folder import Folder
from imagemill.data.dataset.manifest import make_manifest, write_manifest, write_paths, write_set_aside
from imagemill.data.dataset.published import publish_recipe, restore_paths, without_home
from imagemill.data.dataset.reader import read_paths
from imagemill.data.planning.totals import Plan
from imagemill.data.records import ModelFacts, SetAside
from imagemill.flows.run.dashboard_text import report, set_aside_heading
from imagemill.tasks.progress import Progress

HOSTILE = "x`\n---\nlicense: mit\n---\n<script>alert(1)</script> | [a](javascript:b) ``` ![c](d) **e**"

ALICE = {
    "prompts": "/home/alice/data/animals.jsonl",
    "output": "/home/alice/out/night-1",
    "cache_dir": "/home/alice/.cache/hub",
    "models_file": "/home/alice/models.yaml",
    "generate": {
        "model": "/home/alice/models/painter",
        "lora": ["/home/alice/loras/a.safetensors", {"source": "~alice/b.safetensors"}, "org/c"],
        "controlnet": {"model": "../alice/canny"},
        "ip_adapter": {"model": "/home/alice/ip", "weight_name": "w.safetensors"},
    },
    "edit": {"model": "org/editor", "instructions": ["/home is where"]},
}


def test_a_published_recipe_names_no_folder_of_this_machine_and_this_machine_can_restore_it():
    recipe = load_recipe(ALICE).model_dump(mode="json")
    published, left_out = publish_recipe(recipe)
    assert "alice" not in json.dumps(published)
    assert (published["prompts"], published["cache_dir"]) == ("animals.jsonl", None)
    assert published["generate"]["model"] == "./painter"
    assert [lora["source"] for lora in published["generate"]["lora"]] == ["./a.safetensors", "./b.safetensors", "org/c"]
    assert published["edit"] == recipe["edit"]
    assert load_recipe(published)
    assert restore_paths(published, left_out) == recipe


def test_a_path_below_the_working_directory_is_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = load_recipe({"prompts": str(tmp_path / "data/p.jsonl"), "generate": {"model": str(tmp_path / "m")}})
    published, _ = publish_recipe(recipe.model_dump(mode="json"))
    assert (published["prompts"], published["generate"]["model"]) == ("data/p.jsonl", "m")


def test_paths_of_swept_models_and_of_scorers_are_left_out_too():
    sweep = {"model": ["/home/alice/models/b", "org/c", "../alice/d"]}
    scorers = {"looks": {"kind": "head", "model": "/home/alice/clip", "head": "/home/alice/heads/looks.safetensors"}}
    recipe = load_recipe({**ALICE, "sweep": sweep, "scorers": scorers}).model_dump(mode="json")
    published, left_out = publish_recipe(recipe)
    assert "alice" not in json.dumps(published)
    assert published["sweep"]["model"] == ["./b", "org/c", "./d"]
    assert published["scorers"]["looks"]["head"] == "./looks.safetensors"
    assert restore_paths(published, left_out) == recipe


@pytest.mark.parametrize("prompts", ["p.jsonl", "data/p.jsonl", "s3://bucket/p.jsonl", "hf:org/name:train", ""])
def test_other_places_stay_as_they_are(prompts):
    fields = {"prompts": prompts, "template": {"text": "a"}, "name": "n", "generate": {}}
    published, left_out = publish_recipe(load_recipe(fields).model_dump(mode="json"))
    assert (published["prompts"], left_out) == (prompts, {})


@pytest.mark.parametrize(
    "path", ["file:///home/alice/p.jsonl", "C:\\Users\\alice\\p.jsonl", "/home/alice/x/../p.jsonl", "~bob/p.jsonl"]
)
def test_every_spelling_of_a_local_path_is_left_out(path):
    recipe = load_recipe({"prompts": path, "output": "out/x", "name": "x", "generate": {}})
    published, left_out = publish_recipe(recipe.model_dump(mode="json"))
    assert (published["prompts"], left_out["prompts"]) == ("p.jsonl", path)


def test_a_manifest_of_an_earlier_version_and_a_changed_one_stay_as_they_are():
    recipe = load_recipe(ALICE).model_dump(mode="json")
    assert restore_paths(recipe, {}) == recipe
    published, left_out = publish_recipe(recipe)
    published["generate"]["model"] = "org/other"
    assert restore_paths(published, left_out)["generate"]["model"] == "org/other"


def test_the_files_of_a_dataset_name_no_home_folder_and_the_state_keeps_the_paths(tmp_path, monkeypatch):
    home = tmp_path / "home" / "alice"
    monkeypatch.setenv("HOME", str(home))
    output = home / "out"
    recipe = load_recipe(
        {"prompts": str(home / "p.jsonl"), "output": str(output), "generate": {"model": str(home / "m")}}
    )
    folder = Folder(output)
    output.mkdir(parents=True)
    (output / ".imagemill").mkdir()
    folder.write(folder.about, json.dumps({"name": "out", "pinned": {}}).encode())
    write_set_aside(
        folder, [SetAside("load", "1", recipe.rows_from, 1, f"missing image: '{home}/x.png' does not exist")]
    )
    write_paths(folder, recipe)
    write_manifest(folder, make_manifest(folder, recipe, [], {}, []))
    published = [path.read_text() for path in output.iterdir() if path.is_file()]
    assert len(published) == 2
    assert not [text for text in published if "alice" in text]
    assert "'~/x.png' does not exist" in folder.set_aside.read_text()
    assert read_paths(folder)["generate.model"] == str(home / "m")


def test_only_the_home_folder_itself_is_cut_from_a_message(monkeypatch):
    monkeypatch.setenv("HOME", "/home/al")
    assert without_home("'/home/al/x' and /home/al, /home/alice/x, /data/home/al") == (
        "'~/x' and ~, /home/alice/x, /data/home/al"
    )


def test_nothing_in_a_recipe_ends_the_cards_head_or_its_markup(schema):
    facts = ModelFacts(HOSTILE, HOSTILE, {"backend": "openai"}, 64, 64, 4, None, 8, False)
    recipe = load_recipe({"prompts": f"{HOSTILE}.jsonl", "name": "night-1", "generate": {}})
    schema = schema.__class__(False, False, schema.encoding, carried={HOSTILE: "str", "\x85\u2028\u202e": "int"})
    text = dataset_card(recipe, schema, {"rows": 1, "fingerprint": "f"}, {"generate": facts}, [HOSTILE])
    head, body = text[4:].split("\n---\n", 1)
    assert yaml.safe_load(head)["license"] == "other"
    assert HOSTILE in [feature["name"] for feature in yaml.safe_load(head)["dataset_info"]["features"]]
    lines = [line for line in body.splitlines() if "script" in line]
    assert len(lines) == 2
    for line in lines:
        # Everything hostile is inside of a code span whose fence is longer than any run of backticks in it.
        assert line.count("````") % 2 == 0
        outside = "".join(line.split("````")[::2])
        assert "<script" not in outside
        assert "[a](" not in outside
    assert "---" not in body.splitlines()


def test_nothing_in_a_name_ends_the_dashboards_markup(tmp_path):
    root = tmp_path / "a`b|c<i>"
    folder = Folder(root)
    plan = Plan(1, 0, 0, 0, 1, {HOSTILE: 1}, 0)
    text = report(HOSTILE, folder, plan, Progress(), 1, 0)
    assert "<script" not in text
    assert text.count("\n---\n") == 0
    (row,) = [line for line in text.splitlines() if line.startswith("| images to generate")]
    assert row.replace("\\|", "").count("|") == 3
    assert f"`` {root} ``" in text
    assert f"`` {Path(root, 'set_aside.jsonl')} ``" in set_aside_heading(1, folder)
