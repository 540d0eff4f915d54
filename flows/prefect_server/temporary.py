"""The server that a build without PREFECT_API_URL has for itself: there before its flow, and gone with its process."""

from __future__ import annotations

import os
import subprocess

from prefect.server.api.server import SubprocessASGIServer


def start_temporary_server() -> None:
    """Start Prefect's own temporary server, which flows of this process then use, and tie its life to this process's.

    Its runs are kept in PREFECT_HOME. Raises RuntimeError where it does not start in time.
    """
    # As this project's prefect.toml has it: a build may be started in any folder.
    for name, value in {"BATCH_SIZE": "50", "FLUSH_INTERVAL": "1"}.items():
        os.environ.setdefault(f"PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_{name}", value)
    server = SubprocessASGIServer()
    server.start()
    _end_with_this_process(server.server_process.pid)


def _end_with_this_process(process: int) -> None:
    # Prefect ends its server in an exit handler, which a SIGKILL never calls: it would live on for ever. The other end
    # of this pipe closes when this process is gone, however that comes.
    end, _held_open = os.pipe()
    # A session of its own: a Ctrl-C is for the build, which still needs its server.
    subprocess.Popen(
        ["sh", "-c", 'read line; kill "$0"', str(process)],
        stdin=end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(end)
