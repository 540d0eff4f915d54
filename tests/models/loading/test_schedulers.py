"""Schedulers by name: each generates its own image with the configuration of the model's own, or is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from imagemill.data.config.load import parse_recipe
from imagemill.data.config.schedulers import SchedulerName
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.errors import RecipeError
from imagemill.data.images.codec import decode_image
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import resolve
from imagemill.models.catalog.tried import TRIED
from imagemill.models.drawing.draw import draw
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.pipeline_cache import resident_pipeline
from imagemill.models.loading.schedulers import sampler_name
from tests.models.jobs import PNG, make_job, silent
from tests.models.tiny import save_tiny

NOISE = [name for name in get_args(SchedulerName) if not name.startswith("flow-match")]
FLOWS = {
    family: call.schedulers
    for family, tasks in TRIED.items()
    if (call := read_catalog().families[family].tasks.get("text-to-image")) and "text-to-image" in tasks
    if call.schedulers
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("tiny")
    return lambda family: folder / family if (folder / family).is_dir() else save_tiny(family, folder)


@pytest.fixture(autouse=True)
def nothing_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline_cache, "_resident", {})


@pytest.fixture
def images(tmp_path: Path) -> Callable[..., list[bytes]]:
    """Generates one image of four steps with each of the schedulers; returns their pixels."""
    number = iter(range(100))

    def run(model: Path, names: list[str | None]) -> list[bytes]:
        pixels = []
        for name in names:
            spec, folder = resolve("generate", Generate(model=str(model), scheduler=name)), tmp_path / f"{next(number)}"
            job = make_job(model, folder, ["a fox"], spec=spec, batch_size=1)
            report = draw(replace(job, drawings=(replace(job.drawings[0], steps=4),)), silent)
            assert (report.generated, report.failed) == (1, {})
            content, _ = Staging(folder).read(job.drawings[0].key, PNG.name)
            pixels.append(decode_image(content, "a fox").tobytes())
        return pixels

    return run


@pytest.mark.slow
def test_every_scheduler_generates_another_image_and_the_same_one_again(tiny: Callable, images: Callable):
    # The small model's own is a PNDM scheduler.
    generated = images(tiny("StableDiffusionPipeline"), [*NOISE, None])
    assert len(set(generated)) == len(NOISE)
    assert generated[-1] == generated[NOISE.index("pndm")]
    twice = ["dpm++ 2m sde", "euler a", None]
    places = [NOISE.index(name) if name else -1 for name in twice]
    assert images(tiny("StableDiffusionPipeline"), twice) == [generated[place] for place in places]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "names"), FLOWS.items(), ids=list(FLOWS))
def test_flow_matching_models_generate_with_the_schedulers_of_the_catalog(
    tiny: Callable, images: Callable, family: str, names: list[str]
):
    generated = images(tiny(family), [None, *names])
    assert generated[0] == generated[1 + names.index("flow-match euler")]
    assert len(set(generated)) == len(names)


@pytest.mark.parametrize(
    ("name", "sampler"),
    [
        (None, "PLMS"),
        ("euler a", "Euler a"),
        ("dpm++ 2m", "DPM++ 2M"),
        ("dpm++ 2m sde karras", "DPM++ 2M SDE Karras"),
        ("unipc", "UniPC"),
        ("lcm", "LCM"),
    ],
)
def test_a_scheduler_has_the_name_that_readers_of_images_know(tiny: Callable, name: str | None, sampler: str):
    spec = resolve("generate", Generate(model=str(tiny("StableDiffusionPipeline")), scheduler=name))
    assert sampler_name(resident_pipeline(spec, silent)) == sampler


def test_a_scheduler_has_the_models_own_configuration(tiny: Callable):
    model = str(tiny("StableDiffusionPipeline"))

    def made(name: str | None) -> Any:
        return resident_pipeline(resolve("generate", Generate(model=model, scheduler=name)), silent).scheduler

    own = made(None)
    for name, karras in (("dpm++ 2m karras", True), ("dpm++ 2m", False), ("euler a", None)):
        config = made(name).config
        assert (config["beta_end"], config["beta_schedule"], config["steps_offset"]) == (0.012, "scaled_linear", 1)
        assert config.get("use_karras_sigmas") is karras
    assert type(own).__name__ == "PNDMScheduler"
    assert made(None) is own


@pytest.mark.parametrize(
    ("section", "words"),
    [
        (Generate(model="flux.1-dev", scheduler="dpm++ 2m"), r"predicts a flow, not noise.*flow-match unipc"),
        (Generate(model="sd-1.5", scheduler="flow-match euler"), r"it can generate with euler, euler a, heun"),
        (Edit(model="flux.1-dev", task="image-to-image", scheduler="flow-match unipc"), r"with flow-match euler\."),
        (Generate(model="sana-sprint-1.6b", scheduler="euler"), r"has its own scheduler; leave it out"),
    ],
    ids=["noise for flow", "flow for noise", "not for this task", "none"],
)
def test_a_scheduler_that_does_not_fit_is_refused(section: Generate | Edit, words: str):
    with pytest.raises(RecipeError, match=rf"^recipe\.step\.scheduler is .*{words}"):
        resolve("step", section.model_copy(update={"revision": "0" * 40}))


def test_a_scheduler_is_part_of_the_identity_however_it_is_written(tiny: Callable):
    model = str(tiny("StableDiffusionPipeline"))
    named = [
        resolve("generate", Generate(model=model, scheduler=name)).identity
        for name in ("DPM++ 2M  Karras", "dpm++_2m_karras", "", None)
    ]
    assert named[0] == named[1]
    assert named[0]["scheduler"] == "dpm++ 2m karras"
    assert "scheduler" not in named[2]
    assert named[2] == named[3]


def test_an_unknown_scheduler_lists_what_is_known():
    with pytest.raises(RecipeError, match=r"recipe\.generate\.scheduler is 'eular'.*'euler', 'euler a'"):
        parse_recipe({"prompts": "p.txt", "generate": {"scheduler": "eular"}})
