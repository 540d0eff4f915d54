"""A model whose parts are links is known by the files behind them, as one whose parts are folders is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from imagemill.data.config.adapters import Controlnet, IpAdapter, Lora
from imagemill.data.config.steps import Generate
from imagemill.models.catalog.model_files import hash_model, weights_on_disk
from imagemill.models.catalog.resolve import resolve

WEIGHTS = ("text_encoder", "transformer", "vae")
PARTS = ("scheduler", "text_encoder", "tokenizer", "transformer", "vae")
FILES = {"scheduler": "scheduler_config.json", "tokenizer": "vocab.txt"}


def write_part(folder: Path, name: str, content: int = 1) -> Path:
    """Write what identifies a part, and a file that no library loads."""
    folder.mkdir(parents=True)
    (folder / FILES.get(name, "config.json")).write_text(json.dumps({"content": content}))
    (folder / "README.md").write_text("a part")
    if name in WEIGHTS:
        save_file({"w": np.full(8, content, np.float32)}, folder / "model.safetensors")
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Folder of the parts themselves."""
    for name in PARTS:
        write_part(tmp_path / "parts" / name, name)
    return tmp_path / "parts"


@pytest.fixture
def model(parts: Path, tmp_path: Path) -> Path:
    """A model folder whose every part is a link to a folder."""
    folder = tmp_path / "model"
    folder.mkdir()
    index = {name: ["diffusers", "Kind"] for name in PARTS}
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "FluxPipeline", **index, "none": [None, None]}))
    for name in PARTS:
        (folder / name).symlink_to(parts / name)
    return folder


def loaded_files(model: Path, part: str) -> list[Path]:
    return [path for path in sorted((model / part).iterdir()) if path.name != "README.md"]


def relink(model: Path, part: str) -> None:
    (model / part).unlink()
    (model / part).symlink_to(write_part(model.parent / "other" / part, part, content=2))


def replace_a_file(model: Path, part: str) -> None:
    path = loaded_files(model, part)[-1]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + b"\1" if path.suffix == ".safetensors" else content + b" ")


def rename_a_loaded_file(model: Path, part: str) -> None:
    path = loaded_files(model, part)[-1]
    path.rename(path.with_stem("renamed"))


def remove(model: Path, part: str) -> None:
    (model / part).unlink()


def touch(model: Path, part: str) -> None:
    for path in (model / part).iterdir():
        os.utime(path, (1, 1))


def rename_an_unused_file(model: Path, part: str) -> None:
    (model / part / "README.md").rename(model / part / "NOTES.md")


def move_the_part(model: Path, part: str) -> None:
    moved = (model / part).resolve().rename(model.parent / "moved")
    (model / part).unlink()
    (model / part).symlink_to(moved)


def make_it_a_folder(model: Path, part: str) -> None:
    files = (model / part).resolve()
    (model / part).unlink()
    shutil.copytree(files, model / part)


Change = Callable[[Path, str], None]
OTHER: list[Change] = [relink, replace_a_file, rename_a_loaded_file, remove]
SAME: list[Change] = [touch, rename_an_unused_file, move_the_part, make_it_a_folder]


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", OTHER)
def test_other_files_behind_a_link_are_another_model(model: Path, part: str, change: Change):
    before = resolve("generate", Generate(model=str(model)))
    change(model, part)
    after = resolve("generate", Generate(model=str(model)))
    assert after.identity != before.identity
    assert after.weights_key != before.weights_key


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("change", SAME)
def test_the_same_files_behind_a_link_are_the_same_model(model: Path, part: str, change: Change):
    before = resolve("generate", Generate(model=str(model)))
    change(model, part)
    after = resolve("generate", Generate(model=str(model)))
    assert (after.identity, after.weights_key) == (before.identity, before.weights_key)


def test_dtype_and_size_of_weights_behind_links_are_seen(model: Path):
    assert resolve("generate", Generate(model=str(model))).dtype == "float32"
    assert weights_on_disk([model]) == sum((model / name / "model.safetensors").stat().st_size for name in WEIGHTS)


def test_a_linked_folder_inside_a_part_counts(model: Path, parts: Path, tmp_path: Path):
    before = hash_model(model)
    (parts / "transformer" / "shards").symlink_to(write_part(tmp_path / "shards", "vae"))
    assert hash_model(model) != before


def test_a_link_that_is_no_part_of_the_model_is_not_followed(model: Path, tmp_path: Path):
    before = hash_model(model)
    for name in ("outputs", "none"):
        (model / name).symlink_to(write_part(tmp_path / name, "vae"))
    assert hash_model(model) == before


def test_links_that_lead_back_end(model: Path, parts: Path):
    before = hash_model(model)
    (parts / "vae" / "again").symlink_to(parts / "vae")
    (parts / "transformer" / "all").symlink_to(model)
    (parts / "transformer" / "itself").symlink_to("itself")
    assert hash_model(model) == before


def test_files_behind_linked_folders_identify_adapters(tmp_path: Path):
    base, files = tmp_path / "base", tmp_path / "files"
    (base / "unet").mkdir(parents=True)
    (base / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    save_file({"w": np.zeros(1, np.float32)}, base / "unet" / "model.safetensors")
    write_part(files / "encoder", "vae")
    (write_part(files / "controlnet", "vae") / "config.json").write_text('{"_class_name": "ControlNetModel"}')
    for name, tensor in {"adapter": "image_proj.w", "style": "unet.lora_A.w"}.items():
        (files / name).mkdir()
        save_file({tensor: np.zeros(1, np.float32)}, files / name / f"{name}.safetensors")
    named = tmp_path / "named"
    (named / "ip").mkdir(parents=True)
    for link, target in {
        "ip/weights": "adapter",
        "ip/encoder": "encoder",
        "net": "controlnet",
        "lora": "style",
    }.items():
        (named / link).symlink_to(files / target)

    def identity() -> list[object]:
        section = Generate(
            model=str(base),
            lora=[Lora(source=str(named / "lora"))],
            controlnet=Controlnet(model=str(named / "net")),
            ip_adapter=IpAdapter(
                model=str(named / "ip"), weight_name="weights/adapter.safetensors", image_encoder="encoder/."
            ),
        )
        found = resolve("generate", section).identity
        return [found["lora"], found["controlnet"], found["ip_adapter"]]

    changes = {"style/style": 0, "controlnet/model": 1, "adapter/adapter": 2, "encoder/model": 2}
    for name, place in changes.items():
        before = identity()
        path = files / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:-1] + b"\1")
        assert [at for at, (old, new) in enumerate(zip(before, identity(), strict=True)) if old != new] == [place]


def test_a_snapshot_whose_files_are_links_is_the_model_that_its_files_are(model: Path, tmp_path: Path):
    snapshot, blobs = tmp_path / "snapshots" / "main", tmp_path / "blobs"
    blobs.mkdir()
    for number, path in enumerate(sorted(path for part in (model, *model.iterdir()) for path in part.glob("*.*"))):
        link = snapshot / path.relative_to(model)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(shutil.copy(path, blobs / str(number)))
    assert hash_model(snapshot) == hash_model(model)
