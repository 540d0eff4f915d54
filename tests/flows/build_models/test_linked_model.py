"""A build generates again what a re-linked part of its model decides, and nothing for files that stay the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.load import load_recipe
from imagemill.flows.plan_dataset import plan_dataset
from tests.conftest import Build, write_prompts
from tests.models.tiny import save_tiny

PARTS = ("scheduler", "text_encoder", "tokenizer", "unet", "vae")


@pytest.fixture(scope="module")
def linked(build: Build, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The fields of a recipe whose dataset is built, two rows, with a model whose every part is a link."""
    folder = tmp_path_factory.mktemp("linked")
    save_tiny("StableDiffusionPipeline", folder / "saved")
    shutil.copytree(folder / "saved/StableDiffusionPipeline", folder / "model", symlinks=True)
    for part in PARTS:
        shutil.move(folder / "model" / part, folder / part)
        (folder / "model" / part).symlink_to(folder / part)
    write_prompts(folder / "prompts.jsonl", ["a fox", "a kite"])
    fields = {
        "name": "linked",
        "prompts": str(folder / "prompts.jsonl"),
        "output": str(folder / "out"),
        "generate": {"model": str(folder / "model"), "steps": 1, "batch_size": 2, "width": 64, "height": 64},
    }
    build(fields)
    return fields


@pytest.fixture
def link(linked: dict[str, Any], request: pytest.FixtureRequest) -> Iterator[Path]:
    """The link to one part of the model; it leads to the same files again after the test."""
    path = Path(linked["generate"]["model"], request.param)
    yield path
    path.unlink()
    path.symlink_to(Path(linked["output"]).parent / request.param)


def other_part(link: Path, folder: Path) -> Path:
    """A copy of a part with other contents."""
    copied = shutil.copytree(link, folder / link.name)
    path = max(copied.iterdir(), key=lambda path: path.stat().st_size)
    content = path.read_bytes()
    path.write_bytes(content + b" " if path.suffix == ".json" else content[:-1] + bytes([content[-1] ^ 1]))
    return copied


def images(fields: dict[str, Any]) -> int:
    """Images that a build would generate now."""
    return plan_dataset(load_recipe(fields))["images"]


@pytest.mark.parametrize("link", PARTS, indirect=True)
def test_only_other_files_behind_a_link_are_generated_again(linked: dict[str, Any], link: Path, tmp_path: Path):
    files = link.resolve()
    for path in files.iterdir():
        os.utime(path, (1, 1))
    (files / "NOTES.md").write_text("not loaded")
    assert images(linked) == 0
    link.unlink()
    link.symlink_to(shutil.copytree(files, tmp_path / "moved"))
    assert images(linked) == 0
    link.unlink()
    link.symlink_to(other_part(files, tmp_path))
    assert images(linked) == 2


def test_a_build_with_another_denoiser_behind_the_link_has_its_images(build: Build, linked: dict[str, Any], tmp_path):
    link = Path(linked["generate"]["model"], "unet")
    files = link.resolve()
    before = build(linked)
    link.unlink()
    link.symlink_to(other_part(files, tmp_path))
    after = build(linked)
    link.unlink()
    link.symlink_to(files)
    assert (before["generated"], after["generated"]) == (0, 2)
    assert after["fingerprint"] != before["fingerprint"]
