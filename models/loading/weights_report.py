"""Check that a model's files hold all of its weights.

diffusers and transformers load a part whose file lacks a tensor: they fill it with random numbers, another time with
others, and only log that. Images of such a model cannot be generated again. Neither returns what it found for a whole
pipeline, so their log records are read here.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from imagemill.data.errors import RecipeError, one_line

_LOGGERS = ("diffusers", "transformers")

_STYLE = re.compile(r"\x1b\[[0-9;]*m")

_LACKS = re.compile(r"Some weights of (\w+) were not initialized from .* newly initialized: \[(.*)\]", re.DOTALL)
_IGNORES = re.compile(r"Some weights of the model checkpoint .* when initializing (\w+):\s*\[(.*)\]", re.DOTALL)
"""Texts of diffusers: class of the part, names of the tensors."""

_REPORT = re.compile(r"(\w+) LOAD REPORT from: ")
_ROW = re.compile(r"^(\S[^|\n]*?) +\| (MISSING|MISMATCH|UNEXPECTED) +\|", re.MULTILINE)
"""Table of transformers: class of the part, then a line for each tensor."""


@dataclass
class WeightsReport:
    """Findings about the tensors of a model's files, each as ``class: tensor``."""

    missing: list[str] = field(default_factory=list)
    """The model has such a tensor, and its files have none that fits."""
    unused: list[str] = field(default_factory=list)
    """The files have such a tensor, and the model none."""


@contextmanager
def complete_weights(model: str, location: str) -> Iterator[WeightsReport]:
    """Watch the loading of a model's parts from ``location``. Raises RecipeError where their files lack a tensor."""
    report = WeightsReport()
    watchers = [_Watcher(logging.getLogger(name), report) for name in _LOGGERS]
    try:
        yield report
    except RuntimeError as error:
        if report.missing:
            raise _incomplete(model, location, report) from error
        raise
    finally:
        for watcher in watchers:
            watcher.stop()
    if report.missing:
        raise _incomplete(model, location, report)


def _incomplete(model: str, location: str, report: WeightsReport) -> RecipeError:
    first = one_line(report.missing[0], 120)
    return RecipeError(
        f"the model {model!r} cannot be loaded from {location!r}: its files lack some of its tensors, or have them in "
        f"another shape (first {first}). Random numbers in their place would give other images each time. Download the "
        "model again, or name another one."
    )


class _Watcher(logging.Handler):
    def __init__(self, logger: logging.Logger, report: WeightsReport) -> None:
        super().__init__(logging.WARNING)
        self._logger, self._level, self._report = logger, logger.level, report
        logger.addHandler(self)
        if not logger.isEnabledFor(logging.WARNING):
            logger.setLevel(logging.WARNING)

    def stop(self) -> None:
        self._logger.removeHandler(self)
        self._logger.setLevel(self._level)

    def emit(self, record: logging.LogRecord) -> None:
        """Read a record."""
        text = _STYLE.sub("", record.getMessage())
        if found := _LACKS.search(text):
            self._report.missing += _named(found)
        elif found := _IGNORES.search(text):
            self._report.unused += _named(found)
        elif found := _REPORT.match(text):
            for tensor, status in _ROW.findall(text):
                names = self._report.unused if status == "UNEXPECTED" else self._report.missing
                names.append(f"{found[1]}: {tensor}")


def _named(found: re.Match[str]) -> list[str]:
    return [f"{found[1]}: {tensor}" for tensor in re.findall(r"[\w.]+", found[2])]
