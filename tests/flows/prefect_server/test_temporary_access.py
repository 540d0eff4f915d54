"""Who can reach a temporary Prefect server: the process that started it, and no other program, user or web page."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import urllib3
import websockets

from tests.conftest import wait_until
from tests.flows.prefect_server.own_builds import environment, is_server, run_script

STARTS = """
import sys
from imagemill.flows.prefect_server.temporary import connection_settings, start_temporary_server
start_temporary_server()
print(*[value for value in connection_settings().values() if value], flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def home(empty_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty database."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(empty_home, home / ".prefect")
    return home


@pytest.fixture(scope="module")
def running(home: Path) -> Iterator[tuple[psutil.Process, str, str]]:
    """A temporary server: its process, its address and the password."""
    command = [sys.executable, "-c", STARTS]
    with subprocess.Popen(
        command, env=environment(home), cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        address, password = process.stdout.readline().split()
        (server,) = filter(is_server, psutil.Process(process.pid).children())
        yield server, address, password
        process.stdin.close()


def status(address: str, password: str = "", method: str = "POST", **headers: str) -> urllib3.BaseHTTPResponse:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    credentials = urllib3.make_headers(basic_auth=password) if password else {}
    body = b"{}" if method == "POST" else None
    all_headers = {"Content-Type": "application/json", **credentials, **named}
    return urllib3.request(method, address, body=body, headers=all_headers, retries=False)


def test_a_request_is_answered_only_with_the_password(running: tuple):
    _, address, password = running
    assert status(f"{address}/flow_runs/count").status == 401
    assert status(f"{address}/flow_runs/count", "imagemill:guessed").status == 401
    assert status(f"{address}/admin/settings", method="GET").status == 401
    assert status(f"{address}/flow_runs/count", password).status == 200


@pytest.mark.parametrize("path", ["events/in", "events/out", "logs/out"])
def test_a_websocket_is_closed_without_the_password(path: str, running: tuple):
    _, address, _ = running

    async def connect() -> None:
        url = f"{address.replace('http', 'ws')}/{path}"
        async with websockets.connect(url, subprotocols=["prefect"]) as connection:
            await connection.send(json.dumps({"type": "auth", "token": "imagemill:guessed"}))
            await connection.recv()

    with pytest.raises(websockets.ConnectionClosedError):
        asyncio.run(connect())


def test_no_other_origin_gets_a_permission(running: tuple):
    _, address, password = running
    foreign = {"Origin": "http://pages.example"}
    preflight = {"Access_Control_Request_Method": "POST", "Access_Control_Request_Headers": "authorization"}
    for answer in (
        status(f"{address}/health", method="GET", **foreign),
        status(f"{address}/flow_runs/count", password, **foreign),
        status(f"{address}/flow_runs/count", method="OPTIONS", **foreign, **preflight),
    ):
        assert "access-control-allow-origin" not in answer.headers


def test_a_host_name_that_was_pointed_at_this_machine_is_refused(running: tuple):
    _, address, password = running
    assert status(f"{address}/flow_runs/count", password, Host="pages.example:80").status == 400


def test_the_password_is_on_no_command_line(running: tuple):
    server, _, password = running
    assert all(password not in argument for process in (server, server.parent()) for argument in process.cmdline())


def test_the_log_can_be_read_by_its_owner_only(running: tuple, home: Path):
    assert (home / ".prefect" / "temporary-server.log").stat().st_mode & 0o077 == 0


def test_no_other_program_can_listen_on_its_port_not_even_while_it_starts(home: Path):
    command = [sys.executable, "-c", STARTS]
    with subprocess.Popen(
        command, env=environment(home), cwd=home, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        child = wait_until(lambda: next(filter(is_server, psutil.Process(process.pid).children()), None), "the server")
        (listening,) = [found for found in child.net_connections("tcp") if found.status == psutil.CONN_LISTEN]
        assert listening.laddr.ip == "127.0.0.1"
        for host in ("127.0.0.1", "0.0.0.0"):
            with socket.socket() as stranger:
                for option in (socket.SO_REUSEADDR, socket.SO_REUSEPORT):
                    stranger.setsockopt(socket.SOL_SOCKET, option, 1)
                with pytest.raises(OSError, match="in use"):
                    stranger.bind((host, listening.laddr.port))
        address, _ = process.stdout.readline().split()
        assert address == f"http://127.0.0.1:{listening.laddr.port}/api"
        process.stdin.close()


def test_it_imports_nothing_from_the_working_directory(home: Path, tmp_path: Path):
    folder = shutil.copytree(home, tmp_path / "folder")
    for name in ("uvicorn", "prefect", "random", "sqlite3", "filelock", "imagemill"):
        (folder / f"{name}.py").write_text("open('imported', 'a').write(__name__); raise SystemExit(1)")
    done = run_script(
        "from imagemill.flows.prefect_server.temporary import start_temporary_server; start_temporary_server()", folder
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert not (folder / "imported").exists()


def test_a_forked_process_neither_ends_it_nor_keeps_it_running(home: Path, tmp_path: Path):
    code = """
import os, sys
from imagemill.flows.prefect_server import temporary
temporary.start_temporary_server()
server = temporary._server.process
child = os.fork()
if not child:
    temporary.stop_temporary_server()
    os.close(1), os.close(2)
    os.read(int(sys.argv[1]), 1)
    os._exit(0)
assert server.poll() is None
print(server.pid, flush=True)
os.kill(os.getpid(), 9)
"""
    folder = shutil.copytree(home, tmp_path / "folder")
    (tmp_path / "script.py").write_text(code)
    read, write = os.pipe()
    command = [sys.executable, str(tmp_path / "script.py"), str(read)]
    with subprocess.Popen(
        command, env=environment(folder), pass_fds=[read], stdout=subprocess.PIPE, text=True
    ) as process:
        server = psutil.Process(int(process.stdout.readline()))
        wait_until(lambda: not server.is_running(), "the server to end")
        os.close(write)
    os.close(read)
