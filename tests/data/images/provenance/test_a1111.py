"""Readers of A1111's format find the settings of the image, whatever its prompt says."""

import re

import pytest

from imagemill.data.images.provenance.a1111 import generation_parameters
from imagemill.data.images.provenance.details import LoraDetails, ModelDetails
from imagemill.data.records import Drawing

DETAILS = ModelDetails("abc", "Euler a", 0.6, (LoraDetails("ink", "ab" * 32, 0.8),))
HOSTILE = [
    "a fox\nSteps: 99, Sampler: Heun, CFG scale: 3, Seed: 1",
    "Steps: 99, Sampler: Heun, CFG scale: 3, Seed: 1",
    "a fox\r\n  Steps : 99, Seed: 1\n\tsteps:99, Seed: 1",
    "a Negative prompt: of\nNegative prompt: this\nSteps: 99",
    "{red|blue} fox",
]


def parameters(prompt="a fox", negative=None, steps=4, guidance=3.5, model="bundled", details=DETAILS):
    drawing = Drawing("k", prompt, 7, steps, negative_prompt=negative, guidance_scale=guidance)
    return generation_parameters(drawing, (64, 32), model, details)


def web_ui(text):
    """modules/infotext_utils.py of the web UI: the last line has the settings if it has three of them."""
    *lines, last = text.strip().split("\n")
    found = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(found) >= 3
    prompt, negative, is_negative = [], [], False
    for line in lines:
        if line.strip().startswith("Negative prompt:"):
            is_negative, line = True, line.strip()[16:].strip()
        (negative if is_negative else prompt).append(line.strip())
    return "\n".join(prompt), "\n".join(negative), {name: value.strip('"') for name, value in found}


def sd_parsers(text):
    """sd-parsers 0.6, parsers/_automatic1111.py: the last line with three of these settings."""
    lines = text.split("\n")
    for number in reversed(range(len(lines))):
        pairs = [item.split(":") for item in lines[number].split(",")]
        settings = {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}
        if len({"Sampler", "CFG scale", "Seed", "Steps"} & set(settings)) >= 3:
            break
    assert "Sampler" in settings
    prompts = "\n".join(lines[:number]).split("Negative prompt:")
    prompt, negative = map(str.strip, prompts + [""] * (2 - len(prompts)))
    return prompt, negative, settings


def sd_prompt_reader(text):
    """sd-prompt-reader 1.3.5, format/a1111.py: from the first line that begins with Steps on."""
    assert text[0] != "{"
    steps, negative = text.find("\nSteps:"), text.find("\nNegative prompt:")
    settings = {}
    for name, value in re.findall(r"\s*([^:,]+):\s*([^,]+)", text[steps:]):
        settings.setdefault(name.strip(), value)
    if "Negative prompt:" in text:
        return text[:negative].strip(), text[negative + 17 : steps].strip(), settings
    return text[:steps].strip(), "", settings


READERS = [web_ui, sd_parsers, sd_prompt_reader]


def test_it_names_all_that_the_image_was_generated_with():
    assert parameters(negative="blur") == (
        "a fox\nNegative prompt: blur\n"
        "Steps: 4, Sampler: Euler a, CFG scale: 3.5, Seed: 7, Size: 64x32, Model: bundled, Denoising strength: 0.6, "
        'Lora hashes: "ink: abababababab", Lora weights: "ink: 0.8", Version: imagemill'
    )


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("negative", [None, "blur"])
@pytest.mark.parametrize("prompt", ["a fox", "狐 \N{FOX FACE}", "two\nlines", ""])
def test_readers_find_prompts_and_settings(reader, prompt, negative):
    found = reader(parameters(prompt, negative))
    assert found[:2] == (prompt, negative or "")
    expected = {"Steps": "4", "Sampler": "Euler a", "CFG scale": "3.5", "Seed": "7", "Model": "bundled"}
    assert expected.items() <= found[2].items()


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("negative", [None, *HOSTILE])
@pytest.mark.parametrize("prompt", HOSTILE)
def test_a_prompt_cannot_forge_the_settings(reader, prompt, negative):
    words, negative_words, settings = reader(parameters(prompt, negative))
    assert (settings["Steps"], settings["Seed"], settings["Sampler"]) == ("4", "7", "Euler a")
    # A blank before the colon is all that is changed.
    for found, given in ((words, prompt), (negative_words, negative or "")):
        assert "".join(found.split()) == "".join(given.split())


@pytest.mark.parametrize("reader", READERS)
def test_a_model_or_a_lora_cannot_forge_the_settings(reader):
    name = 'x, Steps: 99, Seed: 1, "Sampler: y\nSteps: 98'
    details = ModelDetails("abc", "Euler", None, (LoraDetails(name, "ab" * 32, 1.0),))
    settings = reader(parameters(model=name, details=details))[2]
    assert (settings["Steps"], settings["Seed"], settings["Sampler"]) == ("4", "7", "Euler")
    assert settings["Model"] == "x Steps 99 Seed 1 Sampler y Steps 98"


@pytest.mark.parametrize("reader", READERS)
def test_what_an_images_api_does_not_report_is_called_unknown(reader):
    settings = reader(parameters("a fox\nSteps: 99, Sampler: Heun", None, None, None, details=ModelDetails()))[2]
    assert {settings[name] for name in ("Steps", "Sampler", "CFG scale")} == {"unknown"}
    assert settings["Seed"] == "7"


def test_a_model_without_guidance_has_a_cfg_scale_of_1():
    assert "CFG scale: 1, " in parameters(guidance=None)
