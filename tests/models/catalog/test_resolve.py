"""A model's name becomes exactly one model, or a message that says what is wrong with which field."""

import inspect
import json
import shutil
from pathlib import Path

import diffusers
import numpy as np
import pytest
from safetensors.numpy import save_file

from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError, UnknownModel
from imagemill.models.catalog.capabilities import check_settings
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.model_files import hash_model
from imagemill.models.catalog.resolve import known_models, licences, resolve
from imagemill.models.drawing.framing import edit_size

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write_model(folder: Path, kind: str = "FluxPipeline", dtype=np.float16) -> Path:
    """A folder that looks, as far as resolving goes, like a saved pipeline."""
    (folder / "transformer").mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": kind, "_diffusers_version": "0.42.1"}))
    (folder / "README.md").write_text("a model")
    save_file({"w": np.arange(8).astype(dtype)}, folder / "transformer" / "weights.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write_model(tmp_path / "mine")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub cache that holds one model; the hub itself is out of reach."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    cache = tmp_path / "hub"
    repository = cache / "models--studio--painter"
    write_model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    for name in ("main", "v1"):
        (repository / "refs" / name).write_text(COMMIT)
    return str(cache)


def refused(error, *arguments):
    with pytest.raises(error) as caught:
        resolve(*arguments)
    return str(caught.value)


def test_an_unknown_name_lists_what_is_known():
    assert refused(UnknownModel, "generate", Generate(model="fluxx"), None) == (
        f"recipe.generate.model is 'fluxx', which is neither in the catalog ({', '.join(known_models())}), "
        "a local folder with model_index.json, nor an 'org/name' repository."
    )


def test_a_folder_without_an_index_is_unknown(tmp_path):
    assert refused(UnknownModel, "edit", Edit(model=str(tmp_path)), None).startswith("recipe.edit.model is '/")


def sections(name):
    """The recipe sections that ask a model of the catalog for each thing that it can do."""
    catalog = read_catalog()
    entry = catalog.models[name]
    for task in entry.calls(catalog.families[entry.family]):
        yield ("generate", Generate(model=name)) if task == "text-to-image" else ("edit", Edit(model=name, task=task))


@pytest.mark.parametrize("name", known_models())
def test_every_model_of_the_catalog_resolves_for_what_it_can_do(name):
    if name == "bundled":
        pytest.skip("its files are another test's")
    for step, section in sections(name):
        spec = resolve(step, section, None, lambda repository, revision: COMMIT)
        assert (spec.revision, spec.files, spec.name) == (COMMIT, None, name)
        assert isinstance(spec.guidance_scale, float)
        assert spec.width % spec.size_multiple == 0
        assert licences({step: spec}) != ["unknown"]
        takes = inspect.signature(getattr(diffusers, spec.pipeline).__call__).parameters
        assert {spec.guidance_argument, "generator", *spec.call} <= set(takes)
        assert ("negative_prompt" in takes) or not spec.negative_prompt
        assert ("strength" in takes) == ("strength" in spec.call)


@pytest.mark.parametrize(
    ("model", "task", "words"),
    [
        ("sdxl", "instruction", "cannot do instruction, but text-to-image, image-to-image, inpaint (set recipe.edit.t"),
        ("flux.1-dev", "instruction", "Of the catalog these can do instruction: bundled, instruct-pix2pix, flux.1-kon"),
        ("instruct-pix2pix", "inpaint", "cannot do inpaint, but instruction (set recipe.edit.task"),
    ],
)
def test_a_model_that_cannot_do_the_task_says_what_it_can_and_which_can(model, task, words):
    message = refused(RecipeError, "edit", Edit(model=model, task=task), None, lambda repository, revision: COMMIT)
    assert message.startswith(f"recipe.edit.model is {model!r}, which cannot do {task}")
    assert words in message


def test_a_strength_where_the_task_takes_none_is_refused(folder):
    message = refused(RecipeError, "edit", Edit(model=str(folder), strength=0.5), None)
    assert "recipe.edit.strength is 0.5" in message
    assert "takes none for the task 'instruction'" in message


def test_a_strength_is_part_of_the_identity(folder):
    first, second = (
        resolve("edit", Edit(model=str(folder), task="image-to-image", strength=one), None) for one in (None, 0.5)
    )
    assert (first.call, second.call) == ({"strength": 0.6}, {"strength": 0.5})
    assert first.identity != second.identity


@pytest.mark.parametrize(
    ("model", "strength", "steps", "fewest"),
    [
        ("sdxl-turbo", 0.6, 2, 2),  # of one step 0.6 is none
        ("sd-1.5", 0.1, 50, 10),
        ("flux.1-schnell", 0.6, 4, 3),
        ("flux.1-schnell", 0.9, 10, 10),  # of four steps all four would be generated, from noise alone
        ("flux.1-schnell", 1.0, 4, 1),
    ],
)
def test_a_strength_decides_how_few_steps_make_sense(model, strength, steps, fewest):
    asked = {"model": model, "task": "image-to-image", "strength": strength}
    spec = resolve("edit", Edit(**asked), None, lambda repository, revision: COMMIT)
    assert (spec.steps, spec.min_steps, spec.facts().min_steps) == (steps, fewest, fewest)
    check_settings("edit", Edit(**asked, steps=fewest), spec)
    if fewest > 1:
        with pytest.raises(RecipeError, match=rf"steps is {fewest - 1}, but with a strength of .* at least {fewest}:"):
            check_settings("edit", Edit(**asked, steps=fewest - 1), spec)


OWN = """
models:
  mine: {family: FluxPipeline, folder: mine, steps: 3, guidance_scale: null, licence: my own}
  painter: {family: StableDiffusionXLPipeline, repository: studio/painter, tasks: [inpaint], width: 640}
"""


@pytest.mark.parametrize("way", ["recipe", "environment"])
def test_models_of_ones_own_are_known_by_their_names(folder, way, monkeypatch):
    file = folder.parent / "models.yaml"
    file.write_text(OWN)
    if way == "environment":
        monkeypatch.setenv("IMAGEMILL_MODELS", str(file))
    given = str(file) if way == "recipe" else None
    spec = resolve("generate", Generate(model="mine"), None, models_file=given)
    assert (spec.name, spec.source, spec.steps, spec.guidance_scale) == ("mine", str(folder), 3, None)
    assert (spec.dtype, spec.licence) == ("bfloat16", "my own")
    painter = Edit(model="painter", task="inpaint")
    spec = resolve("edit", painter, None, lambda repository, revision: COMMIT, given)
    assert (spec.source, spec.pipeline, spec.width) == ("studio/painter", "StableDiffusionXLInpaintPipeline", 640)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            "models: {mine: {family: FluxPipeline, folder: x, widht: 3}}",
            ["models.mine.widht", "allowed are", "width"],
        ),
        ("models: {mine: {family: Video, folder: x}}", ["models.mine.family", "'Video'", "FluxPipeline"]),
        (
            "models: {mine: {family: FluxPipeline}}",
            ["models.mine", "either 'repository' (org/name) or 'folder'"],
        ),
        ("models: {mine: {family: SanaPipeline, folder: x, tasks: [inpaint]}}", ["'inpaint'", "can: text-to-image"]),
        ("model: {}", ["model in", "allowed are families, models"]),
        ("models: [", ["not YAML"]),
        (None, ["cannot be read", "No such file"]),
    ],
)
def test_a_bad_models_file_is_one_error_that_names_the_place(tmp_path, content, words):
    file = tmp_path / "models.yaml"
    if content is not None:
        file.write_text(content)
    message = refused(RecipeError, "generate", Generate(), None, None, str(file))
    assert message.startswith("recipe.models_file")
    assert all(word in message for word in [*words, str(file)])


def test_a_local_folder_is_known_by_its_files(folder):
    spec = resolve("generate", Generate(model=str(folder)), None)
    assert (spec.name, spec.revision, spec.source) == ("mine", None, str(folder))
    assert spec.files == hash_model(folder) == spec.facts().revision
    assert (spec.pipeline, spec.dtype) == ("FluxPipeline", "float16")
    assert resolve("edit", Edit(model=str(folder)), None).pipeline == "FluxKontextPipeline"


def test_a_folders_hash_changes_with_one_byte_of_its_weights(folder):
    before = hash_model(folder)
    weights = folder / "transformer" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert hash_model(folder) != before


@pytest.mark.parametrize("name", ["model_index.json", "transformer/config.json", "tokenizer/vocab.txt"])
def test_a_folders_hash_changes_with_what_decides_pixels(folder, name):
    before = hash_model(folder)
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text("{}")
    assert hash_model(folder) != before


def test_a_folders_hash_is_blind_to_its_place_and_its_readme(folder, tmp_path):
    elsewhere = tmp_path / "a" / "b"
    shutil.copytree(folder, elsewhere)
    (elsewhere / "README.md").write_text("moved")
    (elsewhere / ".cache.json").write_text("x")
    assert hash_model(elsewhere) == hash_model(folder)
    first, second = (resolve("generate", Generate(model=str(one)), None) for one in (folder, elsewhere))
    assert (first.identity, first.weights_key) == (second.identity, second.weights_key)


def test_a_dtype_is_part_of_the_identity(folder):
    first, second = (resolve("generate", Generate(model=str(folder), dtype=one), None) for one in ("auto", "float32"))
    assert first.identity != second.identity
    assert first.weights_key != second.weights_key


def test_a_revision_of_a_folder_is_refused(folder):
    assert refused(RecipeError, "generate", Generate(model=str(folder), revision="main"), None) == (
        f"recipe.generate.revision is 'main', but the model {str(folder)!r} is a local folder, "
        "which has no revisions: leave it out."
    )


def test_a_pipeline_that_cannot_be_called_yet_says_so(tmp_path):
    folder = write_model(tmp_path / "video", "VideoPipeline")
    message = refused(RecipeError, "generate", Generate(model=str(folder)), None)
    assert "a VideoPipeline, which imagemill cannot call yet. It can call: StableDiffusionPipeline," in message


@pytest.mark.parametrize("content", ["not json", "[]", "{}"])
def test_a_damaged_index_is_an_error_that_names_the_field(tmp_path, content):
    (tmp_path / "model_index.json").write_text(content)
    assert refused(RecipeError, "generate", Generate(model=str(tmp_path)), None).startswith("recipe.generate.model is ")


@pytest.mark.parametrize("content", [b"", b"\xff" * 40])
def test_damaged_weights_are_an_error_that_names_the_field(folder, content):
    (folder / "transformer" / "weights.safetensors").write_bytes(content)
    assert refused(RecipeError, "generate", Generate(model=str(folder)), None).startswith("recipe.generate.model is ")


@pytest.mark.parametrize("section", [Generate(width=72), Generate(height=72)])
def test_a_size_that_the_model_cannot_generate_is_refused(folder, section):
    spec = resolve("generate", Generate(model=str(folder)), None)
    name = "width" if section.width else "height"
    with pytest.raises(RecipeError) as caught:
        check_settings("generate", section, spec)
    assert str(caught.value) == (
        f"recipe.generate.{name} is 72: the model 'mine' generates sizes that are multiples of 16 pixels, for instance 64."
    )


def test_the_size_that_is_offered_instead_can_be_generated(folder):
    spec = resolve("generate", Generate(model=str(folder)), None)
    with pytest.raises(RecipeError, match="for instance 16"):
        check_settings("generate", Generate(width=8), spec)


def test_a_negative_prompt_that_the_model_does_not_read_is_refused(folder):
    spec = resolve("generate", Generate(model=str(folder)), None)
    with pytest.raises(RecipeError, match="negative_prompt is 'blur', but the model 'mine' makes no use of negative"):
        check_settings("generate", Generate(negative_prompt="blur"), spec)
    check_settings("generate", Generate(), spec)


def test_a_guidance_that_the_model_leaves_out_is_refused_and_its_own_number_is_not(folder):
    section = Generate(model="flux.1-schnell", revision=COMMIT, guidance_scale=5)
    for given in (section, section.model_copy(update={"model": "flux.2-klein-4b"})):
        spec = resolve("generate", given, None)
        with pytest.raises(
            RecipeError, match=f"guidance_scale is 5, but the model {given.model!r} makes no use of gui"
        ):
            check_settings("generate", given, spec)
        check_settings("generate", given.model_copy(update={"guidance_scale": spec.guidance_scale}), spec)
    dev = section.model_copy(update={"model": "flux.1-dev"})
    check_settings("generate", dev, resolve("generate", dev, None))
    # A folder's own files say it.
    (folder / "transformer").mkdir(exist_ok=True)
    for has_place, heeds in (("true", True), ("false", False)):
        (folder / "transformer" / "config.json").write_text(f'{{"guidance_embeds": {has_place}}}')
        assert resolve("generate", Generate(model=str(folder)), None).uses_guidance is heeds


def test_a_repositorys_index_tells_that_it_ships_no_safety_checker(hub):
    with pytest.raises(RecipeError, match="safety is 'flag', but the model 'studio/painter' ships no"):
        resolve("generate", Generate(model="studio/painter", safety="flag"), hub)


@pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT])
def test_a_repository_that_is_only_in_the_cache_resolves_to_its_commit(hub, revision):
    spec = resolve("generate", Generate(model="studio/painter", revision=revision), hub)
    assert (spec.source, spec.revision, spec.files) == ("studio/painter", COMMIT, None)
    assert (spec.pipeline, spec.cache_dir) == ("FluxPipeline", hub)


@pytest.mark.parametrize(("model", "revision"), [("studio/other", None), ("studio/painter", "v2")])
def test_a_repository_that_is_not_in_the_cache_is_unknown_offline(hub, model, revision):
    message = refused(UnknownModel, "generate", Generate(model=model, revision=revision), hub)
    assert message == (
        f"recipe.generate.model: {model!r} is not in the local cache, and the hub cannot be reached "
        "(OfflineModeIsEnabled). Connect, or name a local folder."
    )


def test_the_commit_is_part_of_the_identity_and_the_cache_is_not(hub, tmp_path):
    here = resolve("generate", Generate(model="studio/painter"), hub)
    shutil.copytree(hub, tmp_path / "copy")
    there = resolve("generate", Generate(model="studio/painter"), str(tmp_path / "copy"))
    assert here.identity == there.identity
    assert here.identity["revision"] == COMMIT


def test_a_pipeline_that_generates_a_megapixel_alone_is_asked_for_what_it_would_generate(tmp_path):
    section = Edit(model=str(write_model(tmp_path / "edit", "QwenImageEditPipeline")), task="inpaint")
    spec = resolve("edit", section, None)
    for width, height in spec.buckets:
        across = (1024 * 1024 * width / height) ** 0.5
        assert (round(across / 32) * 32, round(across * height / width / 32) * 32) == (width, height)
    assert edit_size((600, 400), (None, None), spec) == (1248, 832)
    assert spec.facts().only_buckets
