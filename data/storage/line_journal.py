"""Journal of lines in a folder, which several processes append to: on disk before a line counts, whatever is killed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

_GLOB = "*.jsonl"


class LineJournal:
    """The journal in one folder, which several processes and machines may append to at once.

    Each object appends to separate files, so an object is for one thread. Making it touches nothing.

    ``max_bytes``: size after which it continues in another file; None: it has one.
    """

    def __init__(self, folder: Path, max_bytes: int | None = None) -> None:
        self.folder = folder
        self.series = f"{os.getpid()}-{uuid4().hex}"
        """Prefix of the names of its files."""
        self._max_bytes = max_bytes
        self._file: Path | None = None
        self._count = 0

    def append(self, lines: Sequence[bytes]) -> None:
        """Add lines without their ends: one write, synced to disk. After a kill the last one may be cut short."""
        if not lines:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        file, self._file = self._file or self._next_file(), None
        with open(file, "ab", buffering=0) as out:
            _write_all(out.fileno(), b"".join(line + b"\n" for line in lines))
            os.fsync(out.fileno())
            size = out.tell()
        # After an error, such as a full disk, the file may end in half a line: the next batch begins another file.
        self._file = file if self._max_bytes is None or size < self._max_bytes else None

    def _next_file(self) -> Path:
        self._count += 1
        return self.folder / f"{self.series}-{self._count:05d}.jsonl"

    def sizes(self) -> dict[Path, int]:
        """Each of its files -> bytes now; empty if there is no folder."""
        return {path: path.stat().st_size for path in sorted(self.folder.glob(_GLOB))}

    def read(
        self, sizes: Mapping[Path, int] | None = None, starts: Mapping[Path, int] | None = None
    ) -> Iterator[bytes]:
        """The lines; the last of each file may be one that a kill has cut short.

        Of each file the first ``sizes`` bytes only, without the first ``starts``, the ``sizes`` of an earlier call.
        """
        for path, end in (self.sizes() if sizes is None else sizes).items():
            start = (starts or {}).get(path, 0)
            size = end - start
            try:
                file = open(path, "rb")  # noqa: SIM115 - closed below
            except FileNotFoundError:
                # It was taken over since.
                continue
            with file:
                file.seek(start)
                while size > 0 and (line := file.readline(size)):
                    size -= len(line)
                    yield line

    def clear(self, sizes: Mapping[Path, int] | None = None) -> None:
        """Remove its files; with ``sizes``, those that have not grown since."""
        now = self.sizes()
        for path in now:
            if sizes is None or sizes.get(path) == now[path]:
                path.unlink(missing_ok=True)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
