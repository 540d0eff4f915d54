"""A family that the catalog does not have is read from the source of the installed diffusers, which is not imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.families.signature import family_of


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ChromaPipeline", {"steps": 35, "guidance_scale": 5.0, "negative_prompt": True, "max_sequence_length": 512}),
        ("Lumina2Pipeline", {"steps": 30, "guidance_scale": 4.0, "max_sequence_length": 256}),
        ("KolorsPipeline", {"steps": 50, "guidance_scale": 5.0, "max_sequence_length": 256}),
        ("Krea2Pipeline", {"steps": 28, "width": 1024, "height": 1024}),
        ("LatentConsistencyModelPipeline", {"steps": 4, "guidance_scale": 8.5, "negative_prompt": False}),
    ],
)
def test_its_defaults_are_those_of_the_call(kind: str, expected: dict[str, object]):
    family = family_of(kind)
    assert family is not None
    assert {name: getattr(family, name) for name in expected} == expected
    assert set(family.tasks) == {"text-to-image"}


def test_an_image_has_the_size_that_is_asked_for():
    assert family_of("PixArtSigmaPipeline").tasks["text-to-image"].arguments == {"use_resolution_binning": False}
    assert family_of("ChromaPipeline").tasks["text-to-image"].arguments == {}


@pytest.mark.parametrize(
    "kind", ["", "NoSuchPipeline", "StableDiffusionUpscalePipeline", "os.system", "DiffusionPipeline"]
)
def test_another_class_is_none(kind: str):
    assert family_of(kind) is None


def test_no_library_of_models_is_imported_for_it():
    code = (
        "import sys; from imagemill.models.catalog.families.signature import family_of; "
        "assert family_of('ChromaPipeline'); assert not {'torch', 'diffusers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_it_says_of_a_family_of_the_catalog_what_the_catalog_says():
    known = read_catalog().families
    for kind in ("SanaPipeline", "HiDreamImagePipeline", "StableDiffusion3Pipeline"):
        found = family_of(kind)
        assert found.negative_prompt == known[kind].negative_prompt
        assert found.guidance_argument == known[kind].guidance_argument
