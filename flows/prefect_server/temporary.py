"""Temporary Prefect server of a process without PREFECT_API_URL: started before its first flow, ended with the process.

Prefect can start one itself, but takes whatever answers on a random port for it, even another user's server, and leaves
it running when the process is killed. Here the process binds the port and hands the socket over
(flows/prefect_server/server_process.py); the server answers only requests with a random password.
"""

from __future__ import annotations

import atexit
import os
import secrets
import selectors
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import prefect.context
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, PREFECT_UI_URL, Settings, get_current_settings

from imagemill.data.errors import ImagemillError
from imagemill.flows.prefect_server import server_process
from imagemill.flows.prefect_server.server_log import LOG, last_line, open_log

STARTUP_TIMEOUT_S = 300.0
"""Seconds within which a server must be ready; a server that ends is reported at once."""

STOP_TIMEOUT_S = 10.0
"""Seconds that a server has to write what it received, from SIGTERM to SIGKILL."""

DEFAULTS = {
    # As in the project's prefect.toml, which is not read if a build starts in another folder.
    "PREFECT_SERVER_EVENTS_MESSAGING_BROKER": "imagemill.flows.prefect_server.event_broker",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",
}
"""Settings of the server unless the user's differ."""

FIXED = {
    "PREFECT_SERVER_API_BASE_PATH": "/api",
    "PREFECT_SERVER_UI_ENABLED": "false",
    # Without the services that only a permanent server needs, such as the scheduler.
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    # Nothing in the user's working directory is imported.
    "PYTHONSAFEPATH": "1",
}
"""Settings of the server in any case."""

_changing = threading.Lock()
_server: _Server | None = None


@dataclass
class _Server:
    process: subprocess.Popen[bytes]
    address: str
    password: str
    home: Path
    held_open: BinaryIO
    """Our end of a pipe: the server ends when it closes, however this process ends."""
    ready: BinaryIO
    """End of a pipe on which the server reports that it is ready; closed since."""

    @property
    def is_ready(self) -> bool:
        return self.ready.closed

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.held_open.close()
        self.ready.close()


def begin_temporary_server() -> None:
    """Start the server's process, unless this process has one, and do not wait for it. Raises ImagemillError."""
    global _server
    with _changing:
        if _server is None:
            _server = _start()


def start_temporary_server() -> None:
    """Start the server unless this process has one, and let this process's Prefect settings name it.

    Its runs are stored in PREFECT_HOME. The environment is not changed. Raises ImagemillError if it does not start, or
    if it has ended: Prefect's threads in this process know no other.
    """
    global _server
    with _changing:
        if _server is None:
            _server = _start()
        if _server.is_ready:
            check_running()
        elif failure := _wait_for(_server):
            _server.stop()
            _server = None
            raise failure
        context = prefect.context.get_settings_context()
        # In place of the global settings, since threads of Prefect's see no others.
        prefect.context.GLOBAL_SETTINGS_CONTEXT = prefect.context.SettingsContext(
            profile=context.profile, settings=context.settings.copy_with_update(updates=connection_settings())
        )


def connection_settings() -> dict[Any, Any]:
    """Prefect's settings for the running server."""
    assert _server is not None, "started before"
    # Without a dashboard, no link to it is logged.
    return {PREFECT_API_URL: _server.address, PREFECT_API_AUTH_STRING: _server.password, PREFECT_UI_URL: ""}


def is_temporary(address: str) -> bool:
    """True if this is the address of this process's temporary server."""
    return _server is not None and _server.address == address


def check_running() -> None:
    """Raises ImagemillError if this process's server has ended by itself, as when memory was short."""
    if _server is not None and (code := _server.process.poll()) is not None:
        raise ImagemillError(
            f"the temporary Prefect server ended ({_describe(code)}); its log is {get_current_settings().home / LOG}. "
            "Run the same command again: what is finished is kept."
        )


def stop_temporary_server() -> None:
    """End the server, if this process has one."""
    global _server
    with _changing:
        if _server is not None:
            _server.stop()
            _server = None


def _forget() -> None:
    # A forked process neither stops the server at its exit nor keeps it running.
    global _server, _changing
    _changing = threading.Lock()
    if _server is not None:
        _server.held_open.close()
        _server.ready.close()
        _server = None


os.register_at_fork(after_in_child=_forget)
# Prefect's own exit functions, which send the last events and logs, are called before these.
atexit.register(stop_temporary_server)


def _start() -> _Server:
    settings = get_current_settings()
    password = f"imagemill:{secrets.token_urlsafe(32)}"
    with ExitStack() as opened:
        try:
            # Not reusable: no other program can listen on its port while it is open here or in the server.
            listener = opened.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            alive, held_open = _pipe(opened)
            ready, to_us = _pipe(opened)
        except OSError as error:
            raise ImagemillError(
                f"no port or pipe is left for a temporary Prefect server ({error.strerror}): end other programs, or "
                "set PREFECT_API_URL to a running server."
            ) from error
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        fds = [listener.fileno(), alive.fileno(), to_us.fileno()]
        log = opened.enter_context(open_log(settings.home))
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", server_process.__name__, *map(str, fds), str(os.getpid())],
            env=_environment(settings, address, password),
            pass_fds=fds,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            # In a new session: Ctrl-C is for the build, which still needs its server.
            start_new_session=True,
        )
        for theirs in (listener, alive, to_us, log):
            theirs.close()
        # What is left open is the server's.
        opened.pop_all()
    return _Server(process, f"{address}/api", password, settings.home, held_open, ready)


def _pipe(opened: ExitStack) -> tuple[BinaryIO, BinaryIO]:
    read, write = os.pipe()
    return opened.enter_context(os.fdopen(read, "rb")), opened.enter_context(os.fdopen(write, "wb"))


def _environment(settings: Settings, address: str, password: str) -> dict[str, str]:
    environment = {**DEFAULTS, **os.environ, **settings.to_environment_variables(exclude_unset=True), **FIXED}
    for client_setting in ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_UI_URL"):
        environment.pop(client_setting, None)
    # No web page of another origin may read an answer.
    return environment | {
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": address,
    }


def _wait_for(server: _Server) -> ImagemillError | None:
    """Wait until the server is ready; the error if it does not become ready."""
    if (reason := _reason_not_ready(server)) is None:
        return None
    return ImagemillError(
        f"the temporary Prefect server did not start: {reason}. It stores runs in the database of "
        f"PREFECT_HOME={server.home}: move a damaged database away, or set PREFECT_HOME to another folder. "
        f"The whole log is {server.home / LOG}."
    )


def _reason_not_ready(server: _Server) -> str | None:
    with server.ready, selectors.DefaultSelector() as selector:
        selector.register(server.ready, selectors.EVENT_READ)
        if not selector.select(STARTUP_TIMEOUT_S):
            return f"it was not ready within {STARTUP_TIMEOUT_S:.0f} s"
        line = server.ready.readline().decode(errors="replace").strip()
    if line == server_process.READY:
        return None
    code = server.process.wait()
    return line or last_line(server.home) or _describe(code)


def _describe(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
