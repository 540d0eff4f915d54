"""The ports of a build and of a cluster's services: none can be used without a certificate."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from distributed import Client, LocalCluster, Security, SpecCluster
from distributed.comm import connect

from imagemill.tasks.runner.cluster import start_cluster
from tests.conftest import command_of, small_fields
from tests.tasks.ports import Port, listening_ports, needs_certificate
from tests.tasks.running_build import RunningBuild

GARBAGE = (b"GET / HTTP/1.1\r\n\r\n", b"", b"\xff" * 64, b"\x16\x03\x01\x00\x05hello", b"\0" * 8 + b"x" * 100)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, model: Path, empty_home: Path) -> Iterator[RunningBuild]:
    folder = tmp_path_factory.mktemp("running")
    build = RunningBuild(folder, small_fields(folder, model), empty_home)
    yield build
    build.kill()


def test_every_port_of_a_build_needs_its_certificate_or_is_prefects_and_is_on_the_loopback(running: RunningBuild):
    ports = running.ports()
    assert {port.host for port in ports} == {"127.0.0.1"}
    assert [port for port in ports if not port.is_prefects and not needs_certificate(port)] == []
    assert len([port for port in ports if port.is_prefects]) == 1


ATTACK = """
import asyncio, json, os, sys
from distributed import Client, Security
from distributed.comm import connect

os.setgroups([])
os.setgid(65534)
os.setuid(65534)
ports = json.loads(sys.argv[1])

async def operate(address, security):
    comm = await connect(address, timeout=3, **security.get_connection_args("client"))
    try:
        await comm.write({"op": "run", "function": os.getuid, "reply": True, "serializers": ["pickle", "msgpack"]})
        return await comm.read()
    finally:
        comm.abort()

stranger, got = Security.temporary(), []
for port in ports:
    for security, scheme in ((Security(require_encryption=False), "tcp"), (stranger, "tls")):
        address = f"{scheme}://127.0.0.1:{port}"
        try:
            got.append((address, repr(asyncio.run(operate(address, security)))))
        except (OSError, TypeError, ValueError, EOFError, asyncio.TimeoutError):
            pass
        try:
            with Client(address, security=security, set_as_default=False, timeout=3) as client:
                got.append((address, client.run_on_scheduler(lambda: os.environ.get("HF_TOKEN"))))
        except (OSError, TypeError, ValueError, EOFError, asyncio.TimeoutError):
            pass
print(json.dumps([os.getuid(), got]))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can act as another user")
def test_another_user_runs_nothing_through_any_port_of_a_build(running: RunningBuild, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    def attack(ports: list[Port]) -> list:
        command = [sys.executable, "-W", "ignore", "-c", ATTACK, json.dumps([port.number for port in ports])]
        environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
        done = subprocess.run(
            command, env=environment, cwd="/", capture_output=True, text=True, timeout=280, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    # It does reach what is open.
    with LocalCluster(n_workers=0, processes=False, protocol="tcp", dashboard_address=None, host="127.0.0.1") as clear:
        number = int(clear.scheduler_address.rpartition(":")[2])
        (scheduler,) = (port for port in listening_ports(os.getpid()) if port.number == number)
        assert not needs_certificate(scheduler)
        user, got = attack([scheduler])
        assert (user, [clear.scheduler_address, "hf_secret"] in got) == (65534, True)
    assert attack(running.dask_ports()) == [65534, []]


def test_a_port_scan_logs_nothing_in_a_build_which_completes_and_leaves_no_temporary_file(running: RunningBuild):
    for port in running.dask_ports():
        for garbage in GARBAGE:
            with socket.create_connection((port.host, port.number)) as connection:
                connection.sendall(garbage)
                # It may have been closed by then.
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                wait_for_end(connection)
    assert running.finish() == 0
    begins = [line.split(":")[0] for line in running.log.read_text().splitlines()]
    assert begins == [str(running.output), "Fingerprint", "Contact sheet", "View it with", "Open with"]
    assert running.leftovers() == []


@pytest.fixture(scope="module")
def own() -> Iterator[SpecCluster]:
    """A cluster as a build starts it."""
    with start_cluster(1, []) as cluster:
        yield cluster


@pytest.mark.parametrize("server", ["scheduler", "nanny", "worker"])
@pytest.mark.parametrize("certificate", ["none", "another"])
def test_a_scheduler_a_nanny_and_a_worker_refuse_connections_without_their_certificate(
    own: SpecCluster, server: str, certificate: str
):
    nanny = own.workers[0]
    address = {"scheduler": own.scheduler_address, "nanny": nanny.address, "worker": nanny.worker_address}[server]
    security = Security(require_encryption=False) if certificate == "none" else Security.temporary()
    address = address if certificate == "another" else address.replace("tls://", "tcp://")

    async def run_there() -> None:
        comm = await connect(address, timeout=5, **security.get_connection_args("client"))
        await comm.write({"op": "run", "function": os.getuid, "reply": True})
        await comm.read()

    with pytest.raises(OSError):  # noqa: PT011 - as varied as the ways in which a connection ends
        asyncio.run(run_there())
    with pytest.raises(OSError), Client(address, security=security, set_as_default=False, timeout=3):  # noqa: PT011
        pass


def test_the_key_of_a_cluster_is_in_no_environment_and_no_command_line(own: SpecCluster):
    me = psutil.Process()
    seen = [part for process in (me, *me.children(recursive=True)) for part in command_of(process)]
    with Client(own, set_as_default=False) as client:
        for environment in (dict(os.environ), *client.run(lambda: dict(os.environ)).values()):
            seen += environment.values()
    assert "PRIVATE KEY" in own.security.tls_worker_key
    assert [text for text in seen if "PRIVATE KEY" in text] == []


HOSTILE = {
    "scheduler-address": "tcp://127.0.0.1:1",
    "distributed.client.preload": ["no_such_module"],
    "distributed.comm.default-scheme": "ws",
    "distributed.comm.require-encryption": False,
    "distributed.comm.tls.ciphers": "none",
    "distributed.comm.tls.max-version": 1.2,
    "distributed.comm.tls.ca-file": "/no/such/file.pem",
    "distributed.nanny.preload": ["no_such_module"],
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.contact-address": "tcp://127.0.0.1:1",
    "distributed.scheduler.dashboard.tls.cert": "/no/such/file.pem",
    "distributed.scheduler.http.routes": ["distributed.http.scheduler.info"],
    "distributed.scheduler.idle-timeout": "1 ms",
    "distributed.scheduler.preload": ["no_such_module"],
    "distributed.worker.lifetime.duration": "1 s",
    "distributed.worker.multiprocessing-method": "fork",
    "distributed.worker.preload": ["no_such_module"],
    "temporary-directory": "/proc/none",
}
"""Settings of this machine that are meant for other clusters."""

WITH_SETTINGS = """
import json, os, sys
from dask import config
from imagemill.tasks.runner.cluster import MachineCluster
from tests.tasks.ports import listening_ports, needs_certificate

before, environment = repr(config.config), dict(os.environ)
own = MachineCluster(1, [])
with own.connect(1) as client:
    assert client.submit(sum, [1, 2]).result() == 3
    ports = listening_ports(os.getpid())
    assert len(ports) == 3 and all(needs_certificate(port) for port in ports), ports
with own.connect(2) as client:
    client.wait_for_workers(2)
    client.submit(os._exit, 1, pure=False)
    client.wait_for_workers(2)
own.close()
assert repr(config.config) == before
assert dict(os.environ) == environment
"""


@pytest.mark.parametrize("kind", ["variables", "file"])
def test_dasks_settings_of_the_machine_neither_open_nor_break_the_cluster_of_a_build_and_are_put_back(
    kind: str, tmp_path: Path
):
    environment = dict(os.environ)
    if kind == "file":
        (tmp_path / "dask.yaml").write_text(yaml.safe_dump(nested(HOSTILE)))
        environment["DASK_CONFIG"] = str(tmp_path)
    else:
        names = {key: f"DASK_{key.upper().replace('.', '__').replace('-', '_')}" for key in HOSTILE}
        environment |= {names[key]: str(HOSTILE[key]) for key in HOSTILE}
    command = [sys.executable, "-c", WITH_SETTINGS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=250, check=False)
    assert done.returncode == 0, done.stderr


def nested(flat: dict[str, object]) -> dict:
    """Settings by dotted key, as a YAML file has them."""
    root: dict = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        section = root
        for name in sections:
            section = section.setdefault(name, {})
        section[last] = value
    return root


def wait_for_end(connection: socket.socket) -> None:
    """Read until the other side closes the connection."""
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
