"""Embeddings of images and texts by one loaded model: each image and text of a job's chunk is embedded once.

Scorers of one model share them: a similarity, its direction, and heads on the same encoder cost one forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import torch
from PIL import Image

from imagemill.models.loading.scorer_cache import LoadedScorer

MAX_ASPECT = 16
"""A longer image is cropped to this shape around its centre: processors scale the short side to the model's size, which
would make gigabytes of a line of pixels."""

MAX_TEXTS = 4096
"""Embeddings of texts that are cached, the oldest forgotten first."""

T = TypeVar("T")


class Embeddings:
    """Runs one model over images and texts, in batches of one shape, and caches what comes out by content."""

    def __init__(self, size: int) -> None:
        self.loaded: LoadedScorer | None = None
        """While it is this model's turn: it may be evicted in between."""
        self.size = size
        """Rows of every call: fewer are padded, since an output's bits depend on the shape."""
        self._images: dict[str, torch.Tensor] = {}
        self._texts: dict[str, torch.Tensor] = {}
        self._logits: dict[str, torch.Tensor] = {}

    def images(self, images: Iterable[tuple[str, Image.Image]]) -> dict[str, torch.Tensor]:
        """Hash of pixels -> unit vector of that image, (width,), float32 on the CPU."""
        return self._each(images, self._images, lambda batch: _unit(self._image_features(self._pixel_values(batch))))

    def logits(self, images: Iterable[tuple[str, Image.Image]]) -> dict[str, torch.Tensor]:
        """Hash of pixels -> logits of a classifier, (labels,), float32 on the CPU."""
        return self._each(
            images, self._logits, lambda batch: self._model(pixel_values=self._pixel_values(batch)).logits
        )

    def texts(self, texts: Iterable[str]) -> dict[str, torch.Tensor]:
        """Text -> unit vector of it, (width,), float32 on the CPU. A text that is too long is cut."""
        found = self._each(
            ((text, text) for text in texts), self._texts, lambda batch: _unit(self._text_features(batch))
        )
        while len(self._texts) > MAX_TEXTS:
            del self._texts[next(iter(self._texts))]
        return found

    def forget_images(self) -> None:
        """Forget all images: the next ones are others."""
        self._images.clear()
        self._logits.clear()

    def _each(
        self,
        items: Iterable[tuple[str, T]],
        cached: dict[str, torch.Tensor],
        compute: Callable[[Sequence[T]], torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        items = dict(items)
        missing = [key for key in items if key not in cached]
        for start in range(0, len(missing), self.size):
            keys = missing[start : start + self.size]
            batch = [items[key] for key in keys]
            with torch.inference_mode():
                output = compute(batch + [batch[-1]] * (self.size - len(batch)))
            cached.update(zip(keys, output.float().cpu(), strict=False))
        return {key: cached[key] for key in items}

    @property
    def config(self) -> Any:
        """The model's settings."""
        return self._model.config

    @property
    def _model(self) -> Any:
        assert self.loaded is not None, "it is this model's turn"
        return self.loaded.model

    def _pixel_values(self, images: Sequence[Image.Image]) -> torch.Tensor:
        assert self.loaded is not None, "it is this model's turn"
        values = self.loaded.processor([crop_line(image) for image in images], return_tensors="pt").pixel_values
        return values.to(self.loaded.device, self.loaded.dtype)

    def _image_features(self, values: torch.Tensor) -> torch.Tensor:
        call = self._model.get_image_features if hasattr(self._model, "get_image_features") else self._model
        return call(pixel_values=values).pooler_output

    def _text_features(self, texts: Sequence[str]) -> torch.Tensor:
        assert self.loaded is not None, "it is this model's turn"
        loaded = self.loaded
        tokens: Any = loaded.tokenizer(
            list(texts), padding="max_length", max_length=loaded.text_length, truncation=True, return_tensors="pt"
        )
        # SigLIP was trained on padded texts without a mask.
        has_mask = not self.config.model_type.startswith("siglip")
        names = ("input_ids", "attention_mask") if has_mask else ("input_ids",)
        arguments = {name: tokens[name].to(loaded.device) for name in names if name in tokens}
        return self._model.get_text_features(**arguments).pooler_output


def _unit(features: torch.Tensor) -> torch.Tensor:
    features = features.float()
    return features / features.norm(dim=-1, keepdim=True)


def crop_line(image: Image.Image) -> Image.Image:
    """The image, or of one longer than MAX_ASPECT times its short side the middle."""
    width, height = image.size
    longest = MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))
