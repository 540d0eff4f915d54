"""Output of a worker process: into a file beside the staged images of its job, never onto the build's terminal.

Libraries print, log, warn and show progress bars, and those in C write to the process's streams directly. A worker has
no terminal: what it has to report are a job's result, errors and events. The file is for a process that dies, when a
driver's last words are the only trace; it is removed with the build's other work files.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from imagemill.models.library_messages import collect_forever, collect_new

FILE = "workers.log"
"""Name of the file, in the folder of the staged images."""

MAX_FILE_BYTES = 2**20
"""Size from which on a job writes nothing more to the file."""

MAX_PRINTED_BYTES = 2**16
"""Maximum of what Python code prints in one job; the rest is dropped."""

_STREAMS = (1, 2)
"""File descriptors of the standard output and the standard error."""


def silence_process() -> None:
    """Take this process's streams, loggers and warnings off the terminal, for good. Call it before the imports."""
    if isinstance(sys.stdout, _Stream):
        return
    os.environ |= {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    _redirect(os.open(os.devnull, os.O_WRONLY))
    # Typed as a buffer with a name, which TextIOWrapper does without.
    printed: Any = _Printed()
    sys.stdout = sys.stderr = _Stream(printed, encoding="utf-8", errors="backslashreplace", write_through=True)
    collect_forever(sys.stderr.write)


def write_into(folder: Path) -> None:
    """Write this process's output into a folder's file from now on; nowhere if it cannot be opened or is long."""
    collect_new()
    _printed[0] = 0
    target = None
    # Work goes on without it, on a full disk, say.
    with suppress(OSError):
        target = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    if target is not None and os.fstat(target).st_size > MAX_FILE_BYTES:
        os.close(target)
        target = None
    _redirect(os.open(os.devnull, os.O_WRONLY) if target is None else target)


def _redirect(target: int) -> None:
    for stream in _STREAMS:
        os.dup2(target, stream)
    os.close(target)


_printed = [0]
"""Bytes that Python code printed in the current job."""


class _Printed(io.RawIOBase):
    """The process's standard error, whose writes never fail: a full disk must not fail a library that prints."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, content: Any) -> int:
        size = memoryview(content).nbytes
        _printed[0] += size
        if _printed[0] <= MAX_PRINTED_BYTES:
            with suppress(OSError):
                os.write(2, content)
        return size


class _Stream(io.TextIOWrapper):
    """Text for ``_Printed``."""
