"""HiDream: its Llama comes from another repository, and it generates a megapixel only."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from imagemill.data.config.memory import Memory
from imagemill.data.config.steps import Generate
from imagemill.data.errors import RecipeError
from imagemill.data.records import Drawing
from imagemill.models.catalog.capabilities import check_settings
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline import extra_components
from tests.models.jobs import generated
from tests.models.tiny import save_tiny

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LLAMA = ("text_encoder_4", "tokenizer_4")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny pipeline with all of its parts."""
    return save_tiny("HiDreamImagePipeline", tmp_path_factory.mktemp("hidream"))


def drawing(number: int, **changes: object) -> Drawing:
    # The number of pixels that the tiny pipeline generates.
    plain = {"prompt": "a fox", "seed": 3, "steps": 1, "guidance_scale": 3.0, "width": 64, "height": 256}
    return Drawing(f"{number:032x}", **{**plain, **changes})


@pytest.mark.slow
def test_all_that_a_row_asks_for_decides_its_image(whole: Path, tmp_path: Path):
    spec = resolve("generate", Generate(model=str(whole)))
    changes = [{}, {"prompt": "a kite"}, {}, {"negative_prompt": "blurry"}, {"guidance_scale": 6.0}]
    first, *changed = generated(spec, tmp_path, [drawing(number, **change) for number, change in enumerate(changes)])
    assert first.shape == (256, 64, 3)
    assert [(image == first).all() for image in changed] == [False, True, False, False]


@pytest.mark.slow
def test_parts_that_the_repository_lacks_come_from_another_at_a_commit(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    spec = composed_of_two(whole, tmp_path, monkeypatch)
    assert spec.identity["parts"] == {part: {"repository": "studio/llama", "revision": COMMIT} for part in LLAMA}
    (composed,) = generated(spec, tmp_path / "staged", [drawing(0)])
    monkeypatch.setattr(pipeline_cache, "_resident", {})
    (complete,) = generated(resolve("generate", Generate(model=str(whole))), tmp_path / "staged", [drawing(1)])
    assert (composed == complete).all()


def test_a_language_model_of_another_repository_is_quantized(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("torchao")
    spec = composed_of_two(whole, tmp_path, monkeypatch)
    spec = replace(spec, memory=Memory(quantization="torchao_int8"), dtype="bfloat16")
    encoder = extra_components(spec, torch.device("cpu"))["text_encoder_4"]
    assert any("torchao" in type(weight).__module__ for weight in encoder.parameters())


def composed_of_two(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """The pipeline as a folder without its Llama, which the hub's cache has as a repository."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    lacking, repository = tmp_path / "lacking", tmp_path / "cache/models--studio--llama"
    shutil.copytree(whole, lacking, ignore=shutil.ignore_patterns(*LLAMA))
    index = json.loads((lacking / "model_index.json").read_text())
    (lacking / "model_index.json").write_text(json.dumps({k: v for k, v in index.items() if k not in LLAMA}))
    for part in LLAMA:
        shutil.copytree(whole / part, repository / "snapshots" / COMMIT, dirs_exist_ok=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    entry = {"family": "HiDreamImagePipeline", "folder": str(lacking), "dtype": "float32"}
    models = tmp_path / "models.yaml"
    models.write_text(yaml.safe_dump({"models": {"mine": {**entry, "parts": dict.fromkeys(LLAMA, "studio/llama")}}}))
    return resolve("generate", Generate(model="mine"), str(tmp_path / "cache"), models_file=str(models))


def test_a_size_that_it_would_not_generate_is_refused(whole: Path):
    section = Generate(model=str(whole), width=512, height=512)
    with pytest.raises(RecipeError, match=r"asks for 512 x 512 pixels, .* generates only 1024 x 1024, 768 x 1360"):
        check_settings("generate", section, resolve("generate", section))
    for width, height in resolve("generate", section).limits.buckets:
        # The pipeline's own arithmetic.
        scale = (1024 * 1024 / (width * height)) ** 0.5
        assert [int(side * scale // 16 * 16) for side in (width, height)] == [width, height]
