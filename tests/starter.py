"""`imagemill` in processes forked from one that has the command's imports.

A new process would import for seconds, and the tests start many. Otherwise each is an ordinary process: it has its own
folder, environment, pipes and signals, and can be killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.conftest import ROOT, wait_until


class Started:
    """A command in a forked process, with the part of subprocess.Popen that the tests need."""

    def __init__(self, pid: int, out: Path, errors: Path) -> None:
        self.pid, self.returncode = pid, None
        self._out, self._errors = out, errors

    def poll(self) -> int | None:
        """The exit code, once it has ended."""
        return self.returncode

    def wait(self, timeout: float = 90) -> int:
        """The exit code once it has ended; negative for a signal."""
        wait_until(lambda: self.returncode is not None, f"process {self.pid} to end", timeout)
        return self.returncode

    def communicate(self, timeout: float = 90) -> tuple[str, str]:
        """Both output streams, once it has ended."""
        self.wait(timeout)
        return self._out.read_text(), self._errors.read_text()

    def printed(self) -> str:
        """What it has printed until now."""
        return self._out.read_text() if self._out.exists() else ""

    def send_signal(self, sign: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, sign)

    def kill(self) -> None:
        """Kill it."""
        self.send_signal(signal.SIGKILL)


class Starter:
    """The process that commands are forked from."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._number = folder, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.starter"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._started: dict[int, Started] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, *arguments: str, constants: Mapping[str, int] | None = None) -> Started:
        """Start `imagemill` with these arguments and this process's environment.

        ``constants``: module:name -> its value in that process.
        """
        self._number += 1
        out, errors = (self._folder / f"{self._number}.{name}" for name in ("out", "err"))
        request = {"arguments": arguments, "environment": dict(os.environ), "out": str(out), "errors": str(errors)}
        request["constants"] = dict(constants or {})
        with self._changed:
            known = len(self._started)
            print(json.dumps(request), file=self._process.stdin, flush=True)
            assert self._changed.wait_for(lambda: len(self._started) > known, 300), "no process was forked"
            return [*self._started.values()][-1]

    def _listen(self) -> None:
        for line in self._process.stdout:
            event = json.loads(line)
            with self._changed:
                if "code" in event:
                    self._started[event["pid"]].returncode = event["code"]
                else:
                    self._started[event["pid"]] = Started(event["pid"], Path(event["out"]), Path(event["errors"]))
                self._changed.notify_all()

    def stop(self) -> None:
        """End it."""
        self._process.stdin.close()
        self._process.wait(300)


def _quiet() -> None:
    # Prefect reads the environment on import, so the command sets this before.
    from imagemill.flows.cli.build_command import quiet_prefect

    quiet_prefect()
    os.environ["PREFECT_INTERNAL_LOGGING_LEVEL"] = "CRITICAL"


def serve() -> None:
    """Fork a process for every line of standard input; print its pid, and later its exit code."""
    _quiet()
    import imagemill.flows.build_dataset
    import imagemill.flows.prefect_server.connection  # noqa: F401

    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write)
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin, selectors.EVENT_READ)
        selector.register(read, selectors.EVENT_READ)
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if read in ready:
                os.read(read, 4096)
                _report_exits()
            if sys.stdin in ready:
                if not (line := sys.stdin.readline()):
                    return
                request = json.loads(line)
                if not (pid := os.fork()):
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    _run(request)
                _emit(pid=pid, out=request["out"], errors=request["errors"])


def _report_exits() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        _emit(pid=pid, code=os.waitstatus_to_exitcode(status))


def _emit(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Run the command in this forked process."""
    for stream, path in ((1, request["out"]), (2, request["errors"])):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ |= request["environment"]
    _quiet()
    from dask import config
    from prefect.context import refresh_global_settings_context

    from imagemill.flows.cli.app import main

    refresh_global_settings_context()
    config.refresh()
    for constant, value in request["constants"].items():
        module, name = constant.split(":")
        setattr(import_module(module), name, value)
    sys.argv = ["imagemill", *request["arguments"]]
    main()


if __name__ == "__main__":
    serve()
