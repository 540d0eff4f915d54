"""Scorers that fail on purpose for some texts, for IMAGEMILL_SCORER."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from imagemill.models.catalog.scorers.spec import ScorerSpec
from imagemill.models.loading.scorer_cache import LoadedScorer


class DeadlyTokenizer:
    """Ends its process, hangs or loses its device, as the texts say; with the word once, only the first time.

    A file in the folder that IMAGEMILL_FAULTS names records a fault that happened.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: list[str], **arguments: Any) -> Any:
        for text in texts:
            if "once" in text and self._happened(text):
                continue
            if "kill" in text:
                os.kill(os.getpid(), signal.SIGKILL)
            if "hang" in text:
                time.sleep(600)
            if "assert" in text:
                raise RuntimeError("CUDA error: device-side assert triggered")
        return self._tokenizer(texts, **arguments)

    @staticmethod
    def _happened(text: str) -> bool:
        try:
            (Path(os.environ["IMAGEMILL_FAULTS"]) / text).touch(exist_ok=False)
        except FileExistsError:
            return True
        return False


def deadly(spec: ScorerSpec, loaded: LoadedScorer) -> LoadedScorer:
    """For IMAGEMILL_SCORER."""
    return replace(loaded, tokenizer=DeadlyTokenizer(loaded.tokenizer))
