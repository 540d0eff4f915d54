"""A page of the documentation as a script: its files, its commands in order, and the output that it shows."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

import psutil

from tests.conftest import ROOT, free_port, wait_until

BLOCK = re.compile(r"(?:^<!-- (?P<note>.+?) -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
ASSIGNMENT = re.compile(r"\w+=")
FILE_NAME = re.compile(r"# (\S+\.yaml)\n")

VOLATILE = re.compile(r"\b[0-9a-f]{8,}\b|\b\d+(?:\.\d+)?(?= (?:s|images/s|bytes|kB|MB)\b)|\b\d+\.\d+\b")
"""Hashes, times, sizes and scores, which differ between machines."""

PORTS = ("4200", "8786")
"""Ports that the pages name: a Prefect server's and a scheduler's."""


@dataclass(frozen=True)
class Block:
    """A fenced block, with the HTML comment in the line before it."""

    kind: str
    text: str
    note: str

    @property
    def is_executed(self) -> bool:
        return not self.note.startswith("not executed: ")

    @property
    def is_in_background(self) -> bool:
        return self.note == "another terminal"

    @property
    def file_name(self) -> str | None:
        """The name in a YAML block's first line."""
        found = FILE_NAME.match(self.text) if self.kind == "yaml" else None
        return found[1] if found else None

    def commands(self) -> list[list[str]]:
        """The words of each line of a shell block, without the variables that it sets."""
        lines = self.text.replace("\\\n", " ").splitlines()
        words = (shlex.split(line, comments=True) for line in lines)
        commands = (list(dropwhile(ASSIGNMENT.match, line)) for line in words)
        return [command for command in commands if command]


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    found = BLOCK.finditer(page.read_text())
    return [Block(block["kind"], block["text"], block["note"] or "") for block in found]


class Reader:
    """A user who pastes the blocks of a page into a terminal, in an empty folder and with an empty home."""

    def __init__(self, folder: Path, empty_prefect_home: Path) -> None:
        self.folder, self._home = folder / "work", folder / "home"
        self._exports = folder / "exports"
        self._ports = {port: str(free_port()) for port in PORTS}
        self._started: list[subprocess.Popen] = []
        self._printed = ""
        self._log: Path | None = None
        self.folder.mkdir()
        self._home.mkdir()
        shutil.copytree(empty_prefect_home, self._home / ".prefect")
        self._environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "COLUMNS": "120",
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "OMP_WAIT_POLICY": "PASSIVE",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_API_PORT": self._ports["4200"],
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }

    def read(self, block: Block) -> None:
        """Do what a block says: write its file, run its commands, or compare the output that it shows."""
        if not block.is_executed:
            return
        if block.file_name:
            (self.folder / block.file_name).write_text(block.text)
        elif block.kind == "sh":
            self._start(block) if block.is_in_background else self._run(block)
        elif block.kind == "python":
            self._run(Block("sh", f"python - <<'END'\n{block.text}END\n", ""))
        elif block.kind == "text":
            self._compare(block)

    def end(self) -> None:
        """End the processes of the other terminals, the newest first: SIGTERM, and SIGKILL after 20 s."""
        for process in reversed(self._started):
            if process.poll() is None:
                shell = psutil.Process(process.pid)
                family = [*shell.children(recursive=True), shell]
                for member in family:
                    with suppress(psutil.NoSuchProcess):
                        member.terminate()
                for member in psutil.wait_procs(family, timeout=20)[1]:
                    member.kill()
            process.wait()

    def _script(self, block: Block) -> list[str]:
        exports = shlex.quote(str(self._exports))
        text = self._on_free_ports(block.text)
        return ["bash", "-ec", f"[ ! -f {exports} ] || . {exports}\n{text}\nexport -p > {exports}\n"]

    def _run(self, block: Block) -> None:
        self._log = None
        done = subprocess.run(
            self._script(block),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self._printed = done.stdout
        assert done.returncode == 0, f"{block.text}\n{done.stdout}\n{self._logs()}"

    def _start(self, block: Block) -> None:
        self._log = self.folder.parent / f"terminal-{len(self._started)}.log"
        with self._log.open("wb") as log:
            self._started.append(
                subprocess.Popen(
                    self._script(block),
                    cwd=self.folder,
                    env=self._environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                )
            )

    def _compare(self, block: Block) -> None:
        if self._log is None:
            missing = missing_line(self._on_free_ports(block.text), self._printed)
            assert missing is None, f"{missing!r} is not in this order in:\n{self._printed}"
            return
        log, process = self._log, self._started[-1]

        def is_printed() -> bool:
            assert process.poll() is None, log.read_text()
            return missing_line(self._on_free_ports(block.text), log.read_text()) is None

        wait_until(is_printed, f"{block.text} in {log}", 120)
        # A Prefect server prints its address before it listens there.
        for port in re.findall(r"http://127\.0\.0\.1:(\d+)", self._on_free_ports(block.text)):
            wait_until(lambda port=int(port): is_open(port), f"port {port}", 120)

    def _on_free_ports(self, text: str) -> str:
        for named, free in self._ports.items():
            text = text.replace(f":{named}", f":{free}").replace(f"--port {named}", f"--port {free}")
        return text

    def _logs(self) -> str:
        return "\n".join(path.read_text() for path in sorted(self.folder.parent.glob("terminal-*.log")))


def is_open(port: int) -> bool:
    """True if a program listens on this port of the loopback interface."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def missing_line(shown: str, printed: str) -> str | None:
    """The first line of ``shown`` that is not in ``printed`` after the lines before it; None if all are.

    Volatile values and the width of blanks are not compared; three dots stand for any text.
    """
    lines = iter(map(_stable, printed.splitlines()))
    for line in shown.splitlines():
        pattern = re.compile(".*".join(map(re.escape, _stable(line).split("..."))))
        if not any(pattern.fullmatch(other) for other in lines):
            return line
    return None


def _stable(line: str) -> str:
    return VOLATILE.sub("#", " ".join(line.split()))


def make_targets() -> set[str]:
    """The targets of the Makefile."""
    return set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
