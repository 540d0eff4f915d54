"""Generation parameters as AUTOMATIC1111's web UI writes them: prompt, negative prompt, and a last line of settings.

Readers of the format (the web UI, sd-parsers 0.6, sd-prompt-reader 1.3.5, Civitai) disagree on where the prompt ends:
at the last line, at the first line that begins with ``Steps:``, or at the words ``Negative prompt:``. A prompt in which
these stand gets a blank before their colon, so that no reader takes its text for settings. The XMP packet has the
prompt unchanged.
"""

from __future__ import annotations

import re

from imagemill.data.images.provenance.details import ModelDetails
from imagemill.data.records import Drawing

UNKNOWN = "unknown"
"""Value of a setting that an images API does not report. Readers need the setting itself to find the line."""

NO_GUIDANCE = 1
"""CFG scale of a model without guidance, as the web UI writes it."""

HASH_DIGITS = 12
"""Of a LoRA's hash, as in the web UI."""

_TAKEN_FOR_SETTINGS = re.compile(r"(?i)((?:^|[\n\r\v\f\x85\u2028\u2029])\s*steps|negative\s+prompt)(?=\s*:)")

_SEPARATORS = re.compile(r'[\s,:"\x00-\x1f\x7f]+')
"""Characters that end a value, or a name, in the line of settings. Readers do not agree on quotes."""


def generation_parameters(drawing: Drawing, size: tuple[int, int], model: str, details: ModelDetails) -> str:
    """The text. ``size``: width, height in pixels."""
    settings = {
        "Steps": UNKNOWN if drawing.steps is None else drawing.steps,
        "Sampler": details.sampler or UNKNOWN,
        "CFG scale": _guidance(drawing.guidance_scale, details),
        "Seed": drawing.seed,
        "Size": f"{size[0]}x{size[1]}",
        "Model": _plain(model),
        "Denoising strength": details.strength,
        **_loras(details),
        "Version": "imagemill",
    }
    line = ", ".join(f"{name}: {value}" for name, value in settings.items() if value is not None)
    negative = f"\nNegative prompt: {_prompt(drawing.negative_prompt)}" if drawing.negative_prompt else ""
    return f"{_prompt(drawing.prompt)}{negative}\n{line}"


def _guidance(scale: float | None, details: ModelDetails) -> float | str:
    if scale is not None:
        return scale
    return NO_GUIDANCE if details.sampler else UNKNOWN


def _loras(details: ModelDetails) -> dict[str, str]:
    """The web UI has weights in the prompt, which here stays as it is; they get a separate setting."""
    names = [_plain(lora.name) for lora in details.loras]
    hashes = [f"{name}: {lora.sha256[:HASH_DIGITS]}" for name, lora in zip(names, details.loras, strict=True)]
    weights = [f"{name}: {lora.weight}" for name, lora in zip(names, details.loras, strict=True)]
    return {"Lora hashes": f'"{", ".join(hashes)}"', "Lora weights": f'"{", ".join(weights)}"'} if names else {}


def _prompt(text: str) -> str:
    marked = _TAKEN_FOR_SETTINGS.sub(r"\1 ", text)
    # sd-prompt-reader takes a comment that begins so for JSON. Readers strip the blank.
    return f" {marked}" if marked.startswith("{") else marked


def _plain(name: str) -> str:
    return _SEPARATORS.sub(" ", name).strip()
