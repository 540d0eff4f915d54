"""Faults of a disk and of a clock in real processes: shim.c, compiled when a test needs it, and its control file."""

from __future__ import annotations

import mmap
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("shim.c")

_LAYOUT = struct.Struct("=6q128s1024s1024s")
"""As ``struct control`` in shim.c."""

KILL, KILL_GROUP = -1, -2
"""Actions beside an errno."""

WRITES = ("create", "write", "fsync", "rename", "mkdir", "unlink")
"""Every call that changes a folder."""


def compile_shim(folder: Path) -> Path:
    """The compiled shim; skips the test where that is not possible."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if sys.platform != "linux":
        pytest.skip("faults are injected with LD_PRELOAD, which is Linux's")
    if compiler is None:
        pytest.skip("faults are injected by a library in C, and there is no C compiler (cc)")
    library = folder / "shim.so"
    if not library.exists():
        command = [compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the C compiler cannot build the shim: {done.stderr[:300]}")
    return library


class Faults:
    """The control file of processes that have the shim."""

    def __init__(self, control: Path) -> None:
        self.control = control
        if not control.exists():
            control.write_bytes(bytes(_LAYOUT.size))
        with open(control, "r+b") as file:
            self._map = mmap.mmap(file.fileno(), _LAYOUT.size)

    def environment(self, library: Path) -> dict[str, str]:
        """Environment variables of a process that is to have these faults."""
        return {"LD_PRELOAD": str(library), "FAULTS_CONTROL": str(self.control)}

    def arm(self, action: int, paths: str, at: int = 1, times: int = 1, calls: tuple[str, ...] = WRITES) -> None:
        """From the ``at``th call on, ``times`` calls on these paths fail with an errno, or kill.

        ``paths``: patterns of absolute paths, separated by bars; an asterisk matches slashes too.
        """
        self._write(at, at + times - 1, action, calls, paths)

    def count(self, paths: str, calls: tuple[str, ...] = WRITES) -> None:
        """Count such calls, and let them pass."""
        self._write(2**62, 2**62, 0, calls, paths)

    def disarm(self) -> None:
        """Let all calls pass, uncounted. The clock stays."""
        self._map[:8] = bytes(8)

    def shift_clock(self, seconds: float) -> None:
        """Set the clock of these processes forward, or back."""
        self._map[40:48] = struct.pack("=q", int(seconds * 1e9))

    def _write(self, at: int, until: int, action: int, calls: tuple[str, ...], paths: str) -> None:
        names = f",{','.join(calls)},".encode()
        self.disarm()
        self._map[48:] = struct.pack("=128s1024s1024s", names, paths.encode(), b"")
        self._map[8:40] = struct.pack("=4q", until, action, 0, 0)
        self._map[:8] = struct.pack("=q", at)

    @property
    def seen(self) -> int:
        """Calls that counted since ``arm`` or ``count``."""
        return _LAYOUT.unpack(self._map[:])[3]

    @property
    def failed(self) -> int:
        """Those of them that failed."""
        return _LAYOUT.unpack(self._map[:])[4]

    @property
    def first(self) -> str:
        """The first of these: its name and its path."""
        return _LAYOUT.unpack(self._map[:])[8].split(b"\0")[0].decode()
