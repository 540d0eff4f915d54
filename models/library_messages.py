"""Collector of what libraries log and warn: counted by library and category, and not shown.

Their lines are about calls that a user of imagemill never wrote, some repeat for every batch, and some quote whole
prompts. What matters of them is checked and reported by the code that makes the call.

In a user's own process only loggers of LIBRARIES are touched, only while a block runs, and only the handlers that write
to the terminal; warnings that name a file of the user's are shown as before. A worker process is ours as a whole.
"""

from __future__ import annotations

import logging
import sys
import sysconfig
import threading
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIBRARIES = frozenset(
    {
        *("accelerate", "bitsandbytes", "diffusers", "peft", "safetensors", "tokenizers", "transformers"),
        *("torch", "torchao", "torchvision", "triton"),
        *("dask", "distributed", "tornado"),
        *("datasets", "filelock", "fsspec", "huggingface_hub", "httpx", "httpx2", "urllib3"),
        *("aiobotocore", "botocore", "gcsfs", "google", "s3fs"),
        *("numpy", "PIL", "pyarrow"),
    }
)
"""Names of loggers, with all below them."""

_LEVELS = {"distributed": logging.WARNING}
"""Logger -> its level meanwhile: at INFO, Dask logs the start and end of every task."""

MAX_EXAMPLES = 100
"""Number of different messages of a process that are written out in full; all are counted."""

MAX_EXAMPLE = 500
"""Maximum length of such a message, in characters: some quote a whole prompt."""

_counts: Counter[str] = Counter()
_changing = threading.RLock()
_active: list[_Collector] = []
"""The collector in use; empty if there is none."""
_users = 0


def take_counts() -> dict[str, int]:
    """``library category`` -> number of messages since the last call."""
    with _changing:
        taken = dict(sorted(_counts.items()))
        _counts.clear()
    return taken


@contextmanager
def collected() -> Iterator[None]:
    """Collect the libraries' messages until the block ends, then restore all that was changed."""
    global _users
    with _changing:
        if not _active:
            _active.append(_Collector(lambda line: None))
            _active[0].start()
        collect_new()
        _users += 1
    try:
        yield
    finally:
        with _changing:
            _users -= 1
            if not _users:
                _active.pop().stop()


def collect_forever(write: Callable[[str], Any]) -> None:
    """Collect all that is logged and warned in this process from now on. ``write`` gets examples, a line each."""
    global _users
    with _changing:
        if _active:
            _active.pop().stop()
        _active.append(_Collector(write, everything=True))
        _active[0].start()
        _users += 1


def collect_new() -> None:
    """Collect from the loggers of libraries that were imported since the collection began, if there is one."""
    with _changing:
        for collector in _active:
            collector.sweep()


@dataclass
class _Before:
    """Settings that a logger gets back."""

    handlers: list[logging.Handler]
    """Those that write to the terminal."""
    propagate: bool
    level: int


class _Collector(logging.Handler):
    def __init__(self, write: Callable[[str], Any], everything: bool = False) -> None:
        super().__init__(logging.WARNING)
        self._write = write
        self._everything = everything
        self._written: set[tuple[str, int]] = set()
        self._before: dict[logging.Logger, _Before] = {}
        self._showwarning = warnings.showwarning

    def start(self) -> None:
        for name in LIBRARIES:
            logging.getLogger(name)
        self.sweep()
        warnings.showwarning = self.show_warning

    def stop(self) -> None:
        if warnings.showwarning == self.show_warning:
            warnings.showwarning = self._showwarning
        for logger, before in self._before.items():
            logger.handlers = before.handlers + [handler for handler in logger.handlers if handler is not self]
            logger.propagate = before.propagate
            logger.setLevel(before.level)

    def sweep(self) -> None:
        """Take over every logger that is not taken over yet, or has received a handler since."""
        if self._everything:
            self._take_over(logging.root, is_top=True)
        for name, logger in list(logging.root.manager.loggerDict.items()):
            if isinstance(logger, logging.Logger) and (self._everything or name.partition(".")[0] in LIBRARIES):
                self._take_over(logger, is_top=not self._everything and "." not in name)

    def _take_over(self, logger: logging.Logger, is_top: bool) -> None:
        before = self._before.get(logger)
        if before is None:
            before = self._before[logger] = _Before([], logger.propagate, logger.level)
        # A library that is imported meanwhile sets up its own logger.
        if isinstance(logger.propagate, bool):
            before.propagate = logger.propagate
        if logger.level != _LEVELS.get(logger.name, before.level):
            before.level = logger.level
        others = [handler for handler in logger.handlers if handler is not self]
        shown = [handler for handler in others if _is_console(handler)]
        before.handlers += shown
        logger.handlers = [handler for handler in others if handler not in shown] + [self] * is_top
        # A number, which tells it from what a library sets.
        logger.propagate = int(not is_top)
        logger.setLevel(_LEVELS.get(logger.name, before.level))

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        self._count(record.name.partition(".")[0], record.levelname, (record.pathname, record.lineno), record)

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: Any = None,
        line: str | None = None,
    ) -> None:
        """In place of ``warnings.showwarning``."""
        library = _library(filename) or ("unknown" if self._everything else None)
        if library is None:
            self._showwarning(message, category, filename, lineno, file, line)
        else:
            self._count(library, category.__name__, (filename, lineno), message)

    def _count(self, library: str, category: str, place: tuple[str, int], message: object) -> None:
        with _changing:
            _counts[f"{library} {category}"] += 1
            is_new = place not in self._written and len(self._written) < MAX_EXAMPLES
            if is_new:
                self._written.add(place)
        if is_new:
            text = message.getMessage() if isinstance(message, logging.LogRecord) else str(message)
            self._write(f"{library} {category}: {' '.join(text[:MAX_EXAMPLE].split())}\n")


def _is_console(handler: logging.Handler) -> bool:
    """True if a handler writes to this process's terminal."""
    if not isinstance(handler, logging.StreamHandler):
        return False
    stream = handler.stream
    return stream in (sys.stdout, sys.stderr) or getattr(stream, "name", None) in ("<stdout>", "<stderr>")


_INSTALLED = {Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")}
_HERE = Path(__file__).parents[1]
_OURS = {_HERE / name for name in ("data", "models", "tasks", "flows")}
_PYTHON = {Path(sysconfig.get_path("stdlib"))}


def _library(filename: str) -> str | None:
    """Name of the library that a warned-of file belongs to; None for a file of the user's."""
    inside = Path(filename).parents
    for folder in _INSTALLED.intersection(inside):
        return Path(filename).relative_to(folder).parts[0].removesuffix(".py")
    if _OURS.intersection(inside):
        return "imagemill"
    # Of a caller without a file, Python names its module or gives a name in brackets.
    return "python" if _PYTHON.intersection(inside) or filename in ("sys", "<sys>") else None
