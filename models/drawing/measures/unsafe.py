"""Column ``unsafe``: findings of the model's own safety checker, which may set an image aside but change none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from imagemill.data.config.chain import plain_steps
from imagemill.data.records import Drawing
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.catalog.weight_files import part_variant
from imagemill.models.drawing.measure_registry import Measure, MeasureContext

if TYPE_CHECKING:
    import torch

FOUND = (
    "the model's safety checker has found something in the image, and the recipe's safety is 'set_aside': the same "
    "seed gives the same image, so change the prompt or the seed, or set safety to 'flag'"
)


def settings(recipe: Mapping[str, Any]) -> dict[str, str]:
    """Step -> ``flag`` or ``set_aside``, for the steps that use their model's checker."""
    modes = {step: section.get("safety", "off") for step, section in plain_steps(recipe).items()}
    return {step: mode for step, mode in modes.items() if mode != "off"}


def of(images: Sequence[tuple[Drawing, Image.Image]], context: MeasureContext) -> list[bool]:
    """One bool an image: True if the checker finds something in it."""
    return load(context).unsafe([image for _, image in images])


def fault(is_unsafe: bool, mode: str) -> str | None:
    """Why an image is set aside."""
    return FOUND if is_unsafe and mode == "set_aside" else None


@dataclass(frozen=True, slots=True)
class _Checker:
    """A loaded checker and the preprocessor of its images."""

    model: Any
    extractor: Any
    device: torch.device
    dtype: torch.dtype

    def unsafe(self, images: Sequence[Image.Image]) -> list[bool]:
        """One bool an image: True if it finds something in it."""
        import torch

        pixels = self.extractor(list(images), return_tensors="pt").pixel_values.to(self.device, self.dtype)
        # The checker paints unsafe images black: these, in place of the dataset's.
        painted = np.zeros((len(images), 1, 1, 3))
        with torch.inference_mode():
            _, found = self.model(clip_input=pixels, images=painted)
        return [bool(is_unsafe) for is_unsafe in found]


_checkers: dict[tuple[Any, ...], _Checker] = {}
"""Loaded by this process; they stay, being small beside a pipeline."""


def load(context: MeasureContext) -> _Checker:
    """The checker of the images' model, loaded on first need. Raises RecipeError."""
    spec = context.spec
    key = spec.source.key, spec.dtype
    if key not in _checkers:
        started = time.perf_counter()
        _checkers[key] = checker = _load(spec)
        context.report(_loaded_event(spec, checker, time.perf_counter() - started))
    return _checkers[key]


def _load(spec: ModelSpec) -> _Checker:
    # Imported here: they take seconds, few builds use them, and the flow's process must not import torch.
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    from imagemill.models.loading.load_errors import load_errors
    from imagemill.models.loading.pipeline import local_folder, pick_device
    from imagemill.models.loading.weights_report import complete_weights

    # A stand-in for the pipeline has no folder.
    folder, device, dtype = local_folder(spec) or Path(spec.source.location), pick_device(), getattr(torch, spec.dtype)
    checker = folder / "safety_checker"
    with load_errors(spec, str(folder)), complete_weights(f"{spec.name}'s safety checker", str(checker)):
        model = StableDiffusionSafetyChecker.from_pretrained(
            checker, dtype=dtype, use_safetensors=True, variant=part_variant(checker)
        )
        extractor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor")
    return _Checker(model.to(device).eval(), extractor, device, dtype)


def _loaded_event(spec: ModelSpec, checker: _Checker, seconds: float) -> dict[str, Any]:
    from imagemill.models.loading.device_memory import bytes_of
    from imagemill.models.loading.pipeline import device_name

    gib = round(bytes_of([checker.model]) / 2**30, 3)
    name = f"{spec.name}'s safety checker"
    device = device_name(checker.device)
    return {"kind": "loaded", "model": name, "device": device, "seconds": round(seconds, 2), "gib": gib}


MEASURE = Measure(
    name="unsafe",
    kind="bool",
    settings=settings,
    of=of,
    combine=any,
    load=load,
    fault=fault,
    is_column=lambda modes: "flag" in modes.values(),
    # Also without a column, so that rows that were built unchecked are checked. The name is that of version 0.1.0.
    digest=lambda modes: {"safety": modes} if modes else {},
)
