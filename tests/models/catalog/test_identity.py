"""Identities of models stay what they are: a change of any regenerates every image of that model in every dataset."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagemill.data.config.adapters import Controlnet, IpAdapter
from imagemill.data.config.memory import Memory
from imagemill.data.config.speed import Speed
from imagemill.data.config.steps import Edit, Generate
from imagemill.data.identity import digest
from imagemill.models.catalog.entries import read_catalog
from imagemill.models.catalog.resolve import Resolver
from imagemill.models.catalog.source import Locator
from tests.models.catalog.folders import COMMIT


def spec_of(section: Generate | Edit) -> Any:
    step = "generate" if isinstance(section, Generate) else "edit"
    return Resolver(read_catalog(), Locator()).resolve(step, section)


def write_tensors(path: Path, *names: str) -> Path:
    """A safetensors file of empty tensors, byte by byte: no library decides what it is hashed to."""
    header = json.dumps({name: {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for name in names}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    return path


def write_config(folder: Path, **fields: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


@pytest.fixture(autouse=True)
def hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every repository is at one commit."""
    monkeypatch.setattr("imagemill.models.hub.resolve_commit", lambda *_: COMMIT)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model, a LoRA, a ControlNet and an IP-Adapter; the hub has the same, at every commit."""
    write_tensors(tmp_path / "model/unet/diffusion_pytorch_model.safetensors", "weight")
    (tmp_path / "model/model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    write_tensors(tmp_path / "lora/style.safetensors", "unet.lora_A.weight")
    write_config(tmp_path / "controlnet/canny", _class_name="ControlNetModel")
    write_config(tmp_path / "union", _class_name="FluxControlNetModel", num_mode=4)
    write_tensors(tmp_path / "ip/models/adapter.safetensors", "image_proj.norm.weight")
    write_config(tmp_path / "ip/models/image_encoder", hidden_size=16)

    def fetch(field: str, repository: str, commit: str, name: str, cache_dir: str | None) -> Path:
        return tmp_path / repository.removeprefix("studio/") / name

    monkeypatch.setattr("imagemill.models.hub.fetch_file", fetch)
    monkeypatch.setattr("imagemill.models.hub.list_weights", lambda *_: ["style.safetensors"])
    return tmp_path


SECTIONS: dict[str, tuple[type[Generate | Edit], dict[str, Any]]] = {
    "folder": (Generate, {"model": "FILES/model"}),
    "repository": (Generate, {"model": "studio/model"}),
    "speed": (Generate, {"model": "flux.1-dev", "speed": Speed(attention="cudnn", step_cache="taylorseer")}),
    "memory": (Generate, {"model": "flux.1-dev", "memory": Memory(quantization="torchao_int8", vae_tiling=True)}),
    "scheduler": (Generate, {"model": "sdxl", "scheduler": "dpm++ 2m karras", "dtype": "float32"}),
    "strength": (Edit, {"model": "sdxl", "task": "image-to-image", "strength": 0.3}),
    "inpaint": (Edit, {"model": "flux.1-fill-dev", "task": "inpaint"}),
    "whole inpaint": (Edit, {"model": "flux.1-fill-dev", "task": "inpaint", "keep_unmasked": False}),
    "image guidance": (Edit, {"model": "instruct-pix2pix", "image_guidance_scale": 1.2}),
    "bucket": (Edit, {"model": "flux.1-kontext-dev", "size": "bucket"}),
    "stitched": (Edit, {"model": "flux.1-kontext-dev", "references": True, "references_layout": "stitch"}),
    "LoRA": (Generate, {"model": "sdxl", "lora": [{"source": "FILES/lora", "weight": 0.7}]}),
    "LoRA of the hub": (Generate, {"model": "sdxl", "lora": [{"source": "studio/lora"}, {"source": "FILES/lora"}]}),
    "ControlNet": (Generate, {"model": "sd-1.5", "controlnet": Controlnet(model="FILES/controlnet/canny", scale=0.5)}),
    "ControlNet in a subfolder": (
        Generate,
        {"model": "sd-1.5", "controlnet": Controlnet(model="FILES/controlnet", subfolder="canny", end=0.5)},
    ),
    "ControlNet of the hub": (
        Generate,
        {"model": "sd-1.5", "controlnet": Controlnet(model="studio/controlnet", subfolder="canny", start=0.1)},
    ),
    "union ControlNet": (Generate, {"model": "flux.1-dev", "controlnet": Controlnet(model="studio/union", mode=2)}),
    "IP-Adapter": (
        Generate,
        {
            "model": "sd-1.5",
            "ip_adapter": IpAdapter(model="FILES/ip", subfolder="models", weight_name="adapter.safetensors", scale=0.6),
        },
    ),
    "IP-Adapter of the hub": (
        Generate,
        {
            "model": "sdxl",
            "ip_adapter": IpAdapter(
                model="studio/ip", weight_name="models/adapter.safetensors", image_encoder="models/image_encoder"
            ),
        },
    ),
}

EXPECTED: dict[str, tuple[str, str]] = {
    "folder": ("3fa459a30350cf8ccdd954d8596e13ab", "b2aeee0ee50dfc78e8c30bd7c7485103"),
    "repository": ("7d7b45247b7f3bf65abd3ad57c6bf71c", "d5488afbbca589cfc5030e68230a2487"),
    "speed": ("73c353c8db06e21c21f57e71ecfe5813", "b0b263940b95f6042c7984e2f1e8b9e1"),
    "memory": ("a9fbbb57a501e7400a61d50d75bbed1d", "e010a69897f33e427dc4201f90f213a4"),
    "scheduler": ("d5eb455a3f44300a49b4059ea215638d", "a0e57f55588de598f5208b918cbd2b62"),
    "strength": ("511fe30291b4f88b99ae25bc5856ea07", "f840bbcc413186ee6336d29b69315799"),
    "inpaint": ("722b767809bfab72147e67967f676887", "061250924801d2e5d0aa532838d8c618"),
    "whole inpaint": ("cca3a3bad998875e4b56db5e4936b34a", "061250924801d2e5d0aa532838d8c618"),
    "image guidance": ("f022ca9733c40c290129309cde6248ef", "f3846cd0e7eb3df536c3c5da2b04a6c4"),
    "bucket": ("320526481ce3e36b65fe0c2a8669b7e1", "aedb66e693be8f0125750c97c50677bd"),
    "stitched": ("41e1af92146257ec528e1599da589fcc", "aedb66e693be8f0125750c97c50677bd"),
    "LoRA": ("ab3072dd6292d07c2c59623e714e2782", "37acb9a4e94e710a50166d151767ad75"),
    "LoRA of the hub": ("f81363a44cbe80ce1bd083c58919ef89", "28719b8a2988fb3bfc39b2ee3cfc7760"),
    "ControlNet": ("18eeb11eb9d36e048e89e81a271a788f", "9fec1054c5be18fe42f8bcbd976229b0"),
    "ControlNet in a subfolder": ("ace6b232837a2d5d4f41daa1438d71a9", "9fec1054c5be18fe42f8bcbd976229b0"),
    "ControlNet of the hub": ("3b3648ec43b461977f7f0c10e6f1072e", "08c3162197724b88c367433685fb6848"),
    "union ControlNet": ("f8e40fd5607283cb466e9d76551126d1", "2f3784a550379cc8cf0b1bca8794b403"),
    "IP-Adapter": ("063d85ee2be6dbb373706037f0eb319a", "7439e24bbdc4c9faf03dc45a36037b19"),
    "IP-Adapter of the hub": ("1d42cc2764b52b3e144ff421391c9cf5", "d1bf45e9e5931999d449e1db9f889478"),
}
"""Digests of the identity, and of what decides whether two pipelines share their parts."""


@pytest.mark.parametrize("name", SECTIONS)
def test_a_sections_model_has_the_identity_that_it_always_had(name: str, files: Path):
    kind, settings = SECTIONS[name]
    section = kind.model_validate_json(kind(**settings).model_dump_json().replace("FILES", str(files)))
    spec = spec_of(section)
    assert (digest(spec.identity), spec.weights_key) == EXPECTED[name]


CATALOG: dict[str, str] = {
    "sd-1.5": "8ea249c7e3d43c7915fc31a10d512768",
    "sd-2.1": "d8e1547e1ffe46ef20c2c07a759ef389",
    "sd-inpainting": "1b0e18d29ef18d85df0bfa94794af984",
    "instruct-pix2pix": "691ebbf851c6d1ec8bfdbb96b97d6e00",
    "sdxl": "802fd7ef67329d7ff084569172ccf29d",
    "sdxl-turbo": "17d8a41d5d8f748a282e049b2c940f1a",
    "sdxl-inpainting": "7e7934560df3d3dafb8eb3cfd0b2833d",
    "sd-3.5-medium": "422ec59ac24d4df9c43cbd69e7e5d9fc",
    "sd-3.5-large": "94eabc33029f532c416a4d969bf86ae7",
    "sd-3.5-large-turbo": "35c9ca31e4da70db8950b8b846ca620a",
    "flux.1-dev": "1638201745bf29fedb5d6c1d5179fbf5",
    "flux.1-krea-dev": "f0d1e81331a467ce623d85012f669cf1",
    "flux.1-schnell": "636e98d1a7197776d2aabaa61afb7450",
    "flux.1-kontext-dev": "18bc22a7dc31ce5a7dd2eaa63ba707bb",
    "flux.1-fill-dev": "40da2b31e3f7821f586dc47b9cff522f",
    "flux.2-dev": "57f343bfbd8c5e22e7d665b96d0663a1",
    "flux.2-klein-4b": "b949637f141a68ac4416eb487a06fcf5",
    "flux.2-klein-9b": "55dc603be707209911f6b8ede4658e94",
    "qwen-image": "8076afdf4d571a7beec5d6056d6bea61",
    "qwen-image-edit": "b03d43f9a861c3372ac4d363469b4ed6",
    "qwen-image-edit-2509": "a287a9fd0888eb55e5a12b2c2645abc1",
    "z-image-turbo": "3abb8f9b3b7ce97b1aeb01e6f830af4f",
    "hidream-i1-full": "7a70cd68af080a4b4a2cf36528cb8268",
    "sana-1.6b": "ba5b4405bfe8edda2a53ca9b3dc88d8c",
    "sana-sprint-1.6b": "ac589c441987e402256bdd33d44de3b8",
}
"""Digest of a model's identities, for all that it could do when this was written."""


@pytest.mark.parametrize("name", CATALOG)
def test_a_model_of_the_catalog_has_the_identity_that_it_always_had(name: str):
    catalog = read_catalog()
    entry = catalog.models[name]
    sections = [
        Generate(model=name) if task == "text-to-image" else Edit(model=name, task=task)
        for task in entry.calls(catalog.families[entry.family])
    ]
    assert digest([spec_of(section).identity for section in sections]) == CATALOG[name]


@pytest.mark.parametrize("name", CATALOG)
def test_only_quantized_models_whose_text_encoders_came_to_be_quantized_have_another_identity(name: str):
    catalog = read_catalog()
    entry = catalog.models[name]
    task = next(iter(entry.calls(catalog.families[entry.family])))
    kind = Generate if task == "text-to-image" else Edit
    plain, quantized = (
        spec_of(kind(model=name, memory=Memory(quantization=setting), **({} if kind is Generate else {"task": task})))
        for setting in ("none", "torchao_int8")
    )
    added = {"memory": {"quantization": "torchao_int8"}}
    is_named = entry.family.startswith(("StableDiffusion", "FluxPipeline", "FluxKontext", "FluxFill"))
    assert quantized.identity == plain.identity | added | ({} if is_named else {"quantized": "large"})
