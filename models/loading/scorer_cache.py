"""Cache of loaded scorers' models: resident beside the pipelines, and evicted with them (pipeline_cache)."""

from __future__ import annotations

import os
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification, AutoTokenizer
from transformers.utils import logging as transformers_logging

from imagemill.data.config.memory import Memory
from imagemill.data.config.speed import Speed
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.scorers.spec import BACKEND, ScorerSpec
from imagemill.models.catalog.source import ModelSource
from imagemill.models.library_messages import collect_new
from imagemill.models.loading import pipeline_cache
from imagemill.models.loading.device_memory import bytes_of, move
from imagemill.models.loading.load_errors import load_errors
from imagemill.models.loading.pipeline import pick_device
from imagemill.models.loading.scorer_files import scorer_folder
from imagemill.models.loading.weights_report import complete_weights


@dataclass(frozen=True, slots=True)
class LoadedScorer:
    """A scorer's model on the device, with what prepares its inputs."""

    model: torch.nn.Module
    processor: Any
    """Makes pixel values of images."""
    tokenizer: Any
    """None for a model without a text encoder."""
    text_length: int
    """Tokens of each text; 0 without a text encoder."""

    @property
    def components(self) -> dict[str, Any]:
        """As a pipeline's."""
        return {"model": self.model}

    @property
    def device(self) -> torch.device:
        """Its present device."""
        return next(self.model.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return next(self.model.parameters()).dtype


@dataclass(frozen=True, slots=True)
class _ResidentSpec:
    """Interface that pipeline_cache needs of a resident model's spec."""

    name: str
    source: ModelSource
    weights_key: str
    dtype: str
    memory: Memory = field(default_factory=Memory)
    speed: Speed = field(default_factory=Speed)
    quantized: str = "named"


def resident_scorer(
    spec: ScorerSpec, report: Callable[[dict[str, Any]], None], max_resident: int | None = None
) -> LoadedScorer:
    """The scorer's model, on the device. ``report`` gets an event when it is loaded, or moved back from host memory.

    ``max_resident``: as resident_pipeline has it, over pipelines and scorers together. Raises RecipeError where the
    files cannot be loaded.
    """
    known = spec_of(spec)
    with pipeline_cache._loading:
        device, started = pick_device(), time.perf_counter()
        found = pipeline_cache._resident.get(known.weights_key)
        if found is None:
            loaded = _load(spec, known)
            pipeline_cache._make_space(bytes_of([loaded.model]), device, max_resident)
            move([loaded.model], device)
            found = pipeline_cache.Resident(known, {("scorer", None): loaded}, None, {})  # type: ignore[arg-type]
            pipeline_cache._resident[known.weights_key] = found
            pipeline_cache._emit(report, "loaded", found, device, started)
        elif not found.is_on_device:
            pipeline_cache._make_space(bytes_of(found.parts), device, max_resident)
            move(found.parts, device)
            found.is_on_device = True
            pipeline_cache._emit(report, "moved", found, device, started)
        pipeline_cache._thin_out(found, device)
        found.used = time.monotonic()
        return next(iter(found.pipelines.values()))


def spec_of(spec: ScorerSpec) -> Any:
    """The scorer's model as the cache knows it, for evict_others and messages."""
    assert spec.source is not None, "only scorers with a model are loaded"
    return _ResidentSpec(spec.model or spec.source.location, spec.source, spec.weights_key, spec.dtype)


def _load(spec: ScorerSpec, known: _ResidentSpec) -> LoadedScorer:
    """Load into host memory: safetensors only, no remote code, a pinned revision.

    For tests: IMAGEMILL_SCORER in a worker's environment names a ``module:function`` that is called with the spec and
    the loaded scorer, and returns what takes its place.
    """
    source, kind = known.source, AutoModelForImageClassification if spec.kind == "classify" else AutoModel
    transformers_logging.disable_progress_bar()
    collect_new()
    with load_errors(known), complete_weights(known.name, source.location):
        folder, safely = scorer_folder(known.name, source, spec.cache_dir), {"trust_remote_code": False}
        model = kind.from_pretrained(folder, dtype=getattr(torch, spec.dtype), use_safetensors=True, **safely)
        processor = AutoImageProcessor.from_pretrained(folder, backend=BACKEND, **safely)
        text = getattr(model.config, "text_config", None) if hasattr(model, "get_text_features") else None
        tokenizer = None
        if text is not None:
            tokenizer = AutoTokenizer.from_pretrained(folder, **safely)
            # transformers makes an empty one where there is no file.
            if 2 * len(tokenizer) < text.vocab_size:
                raise RecipeError(
                    f"the model {shown(known.name)} cannot be loaded from {shown_path(source.location)}: it has no "
                    f"tokenizer for its {text.vocab_size:,} tokens. Copy or download the model again."
                )
    length = text.max_position_embeddings if text is not None else 0
    loaded = LoadedScorer(model.eval(), processor, tokenizer, length)
    stand_in = os.environ.get("IMAGEMILL_SCORER")
    return pkgutil.resolve_name(stand_in)(spec, loaded) if stand_in else loaded
