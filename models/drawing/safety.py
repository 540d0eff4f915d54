"""A model's own safety checker: what it finds is noted beside an image, or sets it aside. No image is changed."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from imagemill.data.errors import RecipeError
from imagemill.data.images.codec import decode_image
from imagemill.data.records import Drawing, Failure
from imagemill.data.staging.store import Staging
from imagemill.models.catalog.spec import ModelSpec
from imagemill.models.drawing.recovery import GeneratedImage
from imagemill.models.job import Job
from imagemill.models.loading.device_memory import bytes_of
from imagemill.models.loading.pipeline import device_name, local_folder, pick_device

FOUND = (
    "the model's safety checker has found something in the image, and the recipe's safety is 'set_aside': the same "
    "seed gives the same image, so change the prompt or the seed, or set safety to 'flag'"
)


@dataclass(frozen=True, slots=True)
class _Checker:
    """A loaded checker, and what makes its input of images."""

    model: Any
    extractor: Any
    device: torch.device
    dtype: torch.dtype

    def unsafe(self, images: Sequence[Image.Image]) -> list[bool]:
        """Whether it finds something in each of the images."""
        seen = self.extractor(list(images), return_tensors="pt").pixel_values.to(self.device, self.dtype)
        # It paints what it finds something in black: that is done to these.
        painted = np.zeros((len(images), 1, 1, 3))
        with torch.inference_mode():
            _, found = self.model(clip_input=seen, images=painted)
        return [bool(one) for one in found]


_checkers: dict[tuple[Any, ...], _Checker] = {}
"""Those that this process has loaded; they stay, being small beside what generates."""


class Safety:
    """Looks at the images of one job, as its ``safety`` says; loads the checker on first need, and else does nothing.

    ``report`` is told when the checker was loaded.
    """

    def __init__(self, job: Job, staging: Staging, report: Callable[[dict[str, Any]], None]) -> None:
        self._job = job
        self._staging = staging
        self._report = report

    def load(self) -> None:
        """Load the checker now, so that a batch size is found beside it. Raises RecipeError."""
        if self._job.safety != "off":
            self._checker()

    def check_images(
        self, images: Sequence[GeneratedImage], failed: dict[str, Failure]
    ) -> list[tuple[GeneratedImage, bool | None]]:
        """The images, each with whether something is found in it; those to set aside go into ``failed``."""
        if self._job.safety == "off" or not images:
            return [(one, None) for one in images]
        found = zip(images, self._checker().unsafe([image for _, image, _ in images]), strict=True)
        return [(one, unsafe) for one, unsafe in found if not self._is_set_aside(one[0].drawing, unsafe, failed)]

    def check_staged(self, drawings: Sequence[Drawing], failed: dict[str, Failure]) -> None:
        """Look at those of the staged images that nobody has looked at; those to set aside go into ``failed``."""
        for drawing in drawings if self._job.safety != "off" else ():
            encodings = self._job.encodings[drawing.key]
            best = min(encodings, key=lambda one: not one.lossless)
            staged = self._staging.read(drawing.key, best.name)
            if staged is None:
                continue
            unsafe = staged[1].unsafe
            if unsafe is None:
                (unsafe,) = self._checker().unsafe([decode_image(staged[0], drawing.key)])
                self._staging.update(drawing.key, encodings, unsafe=unsafe)
            self._is_set_aside(drawing, unsafe, failed)

    def _is_set_aside(self, drawing: Drawing, unsafe: bool, failed: dict[str, Failure]) -> bool:
        if unsafe and self._job.safety == "set_aside":
            failed[drawing.key] = Failure(FOUND)
            return True
        return False

    def _checker(self) -> _Checker:
        spec = self._job.spec
        key = spec.source.key, spec.dtype
        if key not in _checkers:
            started = time.perf_counter()
            _checkers[key] = checker = _load(spec)
            self._report(_loaded(spec, checker, time.perf_counter() - started))
        return _checkers[key]


def _load(spec: ModelSpec) -> _Checker:
    # Imported here: they take seconds, and few builds ask for them.
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPImageProcessor

    # A stand-in for the pipeline has no folder of its own.
    folder, device, dtype = local_folder(spec) or Path(spec.source.location), pick_device(), getattr(torch, spec.dtype)
    try:
        model = StableDiffusionSafetyChecker.from_pretrained(
            folder / "safety_checker", dtype=dtype, use_safetensors=True
        )
        extractor = CLIPImageProcessor.from_pretrained(folder / "feature_extractor")
    except (OSError, ValueError) as error:
        raise RecipeError(
            f"the safety checker of the model {spec.name!r} cannot be loaded from {str(folder)!r}: {error}"
        ) from error
    return _Checker(model.to(device).eval(), extractor, device, dtype)


def _loaded(spec: ModelSpec, checker: _Checker, seconds: float) -> Mapping[str, Any]:
    gib = round(bytes_of([checker.model]) / 2**30, 3)
    name = f"{spec.name}'s safety checker"
    device = device_name(checker.device)
    return {"kind": "loaded", "model": name, "device": device, "seconds": round(seconds, 2), "gib": gib}
