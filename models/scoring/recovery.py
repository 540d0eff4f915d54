"""Recovery from failed batches of one scorer, so that all images but those at fault are scored.

A batch that runs out of memory is made smaller, a lost device ends the process, any other failure halves the batch
until the images at fault stand alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from PIL import Image

from imagemill.data.errors import BadRow, BuildFailed, ImagemillError
from imagemill.data.messages import shown
from imagemill.data.records import Failure
from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.loading.device_memory import free_memory
from imagemill.models.loading.load_errors import DeviceLost, is_out_of_memory, is_sticky
from imagemill.models.loading.pipeline import pick_device
from imagemill.models.loading.pipeline_cache import evict_others
from imagemill.models.loading.scorer_cache import spec_of
from imagemill.models.running.watchdog import time_limit
from imagemill.models.score_job import ScoreJob
from imagemill.models.scoring.embeddings import Embeddings
from imagemill.models.scoring.kind import Kind, Look, Pixels, Verdict

AUTO_BATCH, AUTO_BATCH_CPU = 64, 8
"""Images of one call with `batch_size: auto`, before memory makes it fewer. On a CPU a larger batch is no faster, and
padding costs as much as images do."""

PIXELS_BATCH = 32
"""Images between two writes of the journal for a scorer without a model."""

_fits: dict[str, int] = {}
"""ScorerSpec.weights_key -> the largest batch that fits, if the requested one did not."""


def batch_size_of(spec: ScorerSpec, has_model: bool) -> int:
    """The most images of one call, as far as is known by now."""
    if not has_model:
        return PIXELS_BATCH
    auto = AUTO_BATCH_CPU if pick_device().type == "cpu" else AUTO_BATCH
    size = auto if spec.batch_size == "auto" else spec.batch_size
    return min(size, _fits.get(spec.weights_key, size))


@dataclass
class RecoveringScorer:
    """Scores the batches of one scorer and recovers from failures."""

    spec: ScorerSpec
    kind: Kind
    job: ScoreJob
    embeddings: Embeddings | None
    """None for a scorer without a model."""
    on_lost: Callable[[str], None]
    """Called with the reason before this process ends because it has lost its device."""
    failed: dict[str, Failure]
    """Id of a request -> why it has no score."""

    def score(self, looks: Sequence[Look], attempt: int = 1) -> list[tuple[Look, Verdict]]:
        """The verdicts of a batch; if it fails, of its halves, until the images at fault stand alone in ``failed``.

        Raises DeviceLost where this process must be replaced, BuildFailed where the recipe says to stop.
        """
        reason, fits = "", True
        with time_limit(self.job.batch_timeout, self.on_lost):
            try:
                return self._finite(looks, self.kind.score(self.spec, looks, self.embeddings))
            except BadRow as error:
                reason = str(error)
            except ImagemillError:
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {error}"
                # Within the limit, since it waits for the device.
                if is_sticky(error):
                    self.on_lost(reason)
                    raise DeviceLost(reason) from error
                fits = not is_out_of_memory(error)
        # Outside of the handler: the error's traceback keeps the tensors alive that filled the memory.
        if not fits:
            return self._score_smaller(looks, reason, attempt)
        if len(looks) == 1:
            self.failed[looks[0].request.id] = Failure(reason, attempt)
            return []
        middle = len(looks) // 2
        return self.score(looks[:middle], attempt + 1) + self.score(looks[middle:], attempt + 1)

    def _finite(self, looks: Sequence[Look], verdicts: Sequence[Verdict]) -> list[tuple[Look, Verdict]]:
        good = []
        for look, verdict in zip(looks, verdicts, strict=True):
            if verdict.score is not None and not math.isfinite(verdict.score):
                words = f"its score is {verdict.score}, and not a finite number ({self.spec.name})"
                self.failed[look.request.id] = Failure(words)
            else:
                good.append((look, verdict))
        return good

    def _score_smaller(self, looks: Sequence[Look], reason: str, attempt: int) -> list[tuple[Look, Verdict]]:
        """Apply the recipe's on_oom. Only the batch size ever changes, never the images."""
        free_memory()
        if self.embeddings is None:
            self.failed |= {look.request.id: Failure(reason, attempt) for look in looks}
            return []
        if evict_others(spec_of(self.spec)):
            return self.score(looks, attempt)
        size = self.embeddings.size
        detail = f"{reason} (batch of {size})"
        if self.job.on_oom == "stop":
            raise BuildFailed(
                f"{shown(self.spec.model)} ran out of memory: {detail}, and recipe.on_oom is 'stop'. Make "
                f"scorers.{self.spec.name}.batch_size smaller."
            )
        if self.job.on_oom == "set_aside" or size == 1:
            self.failed |= {look.request.id: Failure(detail, attempt) for look in looks}
            return []
        self.embeddings.size = _fits[self.spec.weights_key] = size // 2
        return self.score(looks, attempt)

    def check_model(self, look: Look) -> None:
        """Raises BuildFailed when images failed for one reason and a plain grey one fails too: no row is at fault."""
        if len(self.failed) < 2 or len({failure.reason for failure in self.failed.values()}) > 1:
            return
        size = look.image.image.size
        grey = Pixels(Image.new("RGB", size, "gray"), f"grey {size}")
        request = replace(
            look.request, **{name: "an image" for name in ("text", "before") if getattr(look.request, name)}
        )
        mask = look.mask and Pixels(Image.new("L", size), "black")
        try:
            with time_limit(self.job.batch_timeout, self.on_lost):
                self.kind.score(self.spec, [Look(request, grey, look.source and grey, mask)], self.embeddings)
        except Exception as error:
            raise BuildFailed(
                f"the scorer {shown(self.spec.name)} ({self.spec.model or self.spec.kind}) fails on every image, so no "
                f"single row is at fault: {type(error).__name__}: {error}"
            ) from error
