"""Temporary Prefect server for a build without PREFECT_API_URL: started before its flow, ended with its process."""

from __future__ import annotations

import os
import subprocess

from prefect.server.api.server import SubprocessASGIServer


def start_temporary_server() -> None:
    """Start Prefect's temporary server for the flows of this process; it ends with this process.

    Its runs are stored in PREFECT_HOME. Raises RuntimeError if it does not start in time.
    """
    # As in the project's prefect.toml, which is not read if a build starts in another folder.
    for name, value in {"BATCH_SIZE": "50", "FLUSH_INTERVAL": "1"}.items():
        os.environ.setdefault(f"PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_{name}", value)
    server = SubprocessASGIServer()
    server.start()
    _end_with_this_process(server.server_process.pid)


def _end_with_this_process(process: int) -> None:
    # Prefect ends its server in an exit handler, which SIGKILL skips: the server would run for ever. The other end of
    # this pipe closes when this process ends, however it ends.
    end, _held_open = os.pipe()
    # In a new session: Ctrl-C is for the build, which still needs its server.
    subprocess.Popen(
        ["sh", "-c", 'read line; kill "$0"', str(process)],
        stdin=end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(end)
