"""Clusters of several machines: workers that join and leave, unreachable schedulers, TLS, no unencrypted traffic."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from imagemill.data.config.load import load_recipe
from tests.commands import Run
from tests.conftest import free_port, small_fields, wait_until, write_prompts
from tests.tasks.certificates import make_certificates, tls_settings
from tests.tasks.ports import listening_ports, needs_certificate

PROMPTS = [f"number {number}" for number in range(24)]


Serve = Callable[..., subprocess.Popen]


@pytest.fixture(autouse=True)
def sleeper(monkeypatch: pytest.MonkeyPatch) -> None:
    """All workers use a stand-in that takes a moment per batch, as a GPU does, and no CPU."""
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "benchmarks.stand_in:make_sleeper")
    monkeypatch.setenv("IMAGEMILL_STAND_IN_SECONDS", "0.3")


@pytest.fixture(scope="module")
def expected(server: str, model: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The fingerprint of the dataset that one worker generates from the prompts, undisturbed."""
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    fields = small_fields(tmp_path_factory.mktemp("one"), model)
    write_prompts(Path(fields["prompts"]), PROMPTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IMAGEMILL_PIPELINE", "benchmarks.stand_in:make_sleeper")
        patch.setenv("IMAGEMILL_STAND_IN_SECONDS", "0")
        flow = build_dataset.with_options(task_runner=GpuTaskRunner(workers=1))
        return flow(load_recipe(fields))["fingerprint"]


@pytest.fixture
def fields(tmp_path: Path, model: Path) -> dict[str, Any]:
    """A recipe of 24 prompts, each generated and edited, in twelve shards."""
    fields = small_fields(tmp_path, model)
    write_prompts(Path(fields["prompts"]), PROMPTS)
    return fields


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Starts `imagemill scheduler` or `imagemill worker` in a new process; its output goes to a file."""
    started: list[subprocess.Popen] = []

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen:
        path = tmp_path / f"serve-{len(started)}.log"
        code = "from imagemill.flows.cli.app import main; main()"
        with path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *arguments], stdout=log, stderr=log, env={**os.environ, **(env or {})}
            )
        process.log = path
        started.append(process)
        return process

    yield run
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    for process in started:
        process.wait(300)


def output_of(process: subprocess.Popen, pattern: str) -> str:
    """The first group of the pattern in the process's output, once it appears."""

    def found() -> re.Match[str] | None:
        assert process.poll() is None, process.log.read_text()
        return re.search(pattern, process.log.read_text())

    return wait_until(found, pattern)[1]


def build_on(address: str, fields: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    from imagemill.flows.build_dataset import build_dataset
    from imagemill.tasks.runner.gpu_task_runner import GpuTaskRunner

    flow = build_dataset.with_options(task_runner=GpuTaskRunner(address=address))
    return flow(load_recipe(fields, overrides))


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """The worker processes of `imagemill worker`: forked, so grandchildren."""
    return [worker for child in psutil.Process(process.pid).children() for worker in child.children()]


@pytest.mark.slow
def test_four_workers_on_three_addresses_one_killed_and_one_late_generate_the_same_as_one(
    serve: Serve, expected: str, fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMAGEMILL_PIPELINE", "tests.models.faulty:gated")
    monkeypatch.setenv("IMAGEMILL_FAULTS", str(tmp_path))
    address = output_of(serve("scheduler", "--port", "0"), r"scheduler at (\S+)")
    serve("worker", address, "--host", "127.0.0.2", "--workers", "2")
    doomed = serve("worker", address, "--host", "127.0.0.3")
    output_of(doomed, r"worker (\S+) at")
    late: list[subprocess.Popen] = []
    staged = Path(fields["output"]) / ".imagemill" / "staged"

    def disturb() -> None:
        wait_until(lambda: list(staged.glob("*.staged")), "an image")
        workers_of(doomed)[0].kill()
        late.append(serve("worker", address, "--host", "127.0.0.4", env={"IMAGEMILL_OPENS": "1"}))

    thread = threading.Thread(target=disturb)
    thread.start()
    figures = build_on(address, fields)
    thread.join()
    assert figures["fingerprint"] == expected
    assert figures["set_aside"] == 0
    assert {name.rsplit("-", 3)[1] for name in figures["workers"]} >= {"127.0.0.2", "127.0.0.4"}
    again = build_on(address, fields, output=str(tmp_path / "again"))
    assert again["fingerprint"] == expected
    assert again["model_loads"] == 0


@pytest.mark.slow
def test_two_builds_share_a_cluster_and_a_machine_that_leaves_passes_its_shards_to_another(
    serve: Serve, expected: str, fields: dict[str, Any], tmp_path: Path
):
    address = output_of(serve("scheduler", "--port", "0"), r"scheduler at (\S+)")
    leaving = serve("worker", address, "--host", "127.0.0.2")
    output_of(leaving, r"worker (\S+) at")
    both = [{**fields, "output": str(tmp_path / name)} for name in ("one", "other")]
    with ThreadPoolExecutor(2) as pool:
        builds = [pool.submit(build_on, address, recipe) for recipe in both]
        for recipe in both:
            staged = Path(recipe["output"]) / ".imagemill" / "staged"
            wait_until(lambda staged=staged: list(staged.glob("*.staged")), "an image of each build")
        leaving.terminate()
        assert leaving.wait(300) == 0
        serve("worker", address, "--host", "127.0.0.3")
        figures = [build.result(300) for build in builds]
    assert [run["fingerprint"] for run in figures] == [expected, expected]
    assert [run["set_aside"] for run in figures] == [0, 0]


@pytest.mark.slow
def test_a_build_outlasts_an_unreachable_scheduler(serve: Serve, expected: str, fields: dict[str, Any]):
    address = output_of(serve("scheduler", "--port", "0"), r"scheduler at tcp://(\S+)")
    with Wire(address) as wire:
        serve("worker", f"tcp://{wire.address}")
        staged = Path(fields["output"]) / ".imagemill" / "staged"

        def cut() -> None:
            wait_until(lambda: list(staged.glob("*.staged")), "an image")
            wire.cut(seconds=5)

        thread = threading.Thread(target=cut)
        thread.start()
        figures = build_on(f"tcp://{wire.address}", fields)
        thread.join()
    assert wire.cuts == 1
    assert (figures["status"], figures["fingerprint"], figures["set_aside"]) == ("complete", expected, 0)


class Wire:
    """A proxy that can be cut: all connections break, and new ones are refused."""

    def __init__(self, target: str) -> None:
        host, port = target.rsplit(":", 1)
        self.target = (host, int(port))
        self.cuts = 0
        self._port = free_port()
        self.address = f"127.0.0.1:{self._port}"
        self._open: list[socket.socket] = []

    def __enter__(self) -> Wire:
        self._listen()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._hang_up()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self._port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
                self._open += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._copy, args=(source, target), daemon=True).start()

    @staticmethod
    def _copy(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while content := source.recv(65536):
                target.sendall(content)
        with suppress(OSError):
            target.shutdown(socket.SHUT_RDWR)

    def _hang_up(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._open.clear()

    def cut(self, seconds: float) -> None:
        self._hang_up()
        self.cuts += 1
        time.sleep(seconds)
        self._listen()


@pytest.fixture
def certificates(tmp_path: Path) -> Callable[[str], Path]:
    """Creates certificates, and their authority, with the commands of docs/operations/clusters.md."""
    return lambda name: make_certificates(tmp_path / name)


@pytest.mark.slow
def test_a_cluster_with_the_documented_certificates_uses_tls_and_refuses_others(
    server: str, serve: Serve, fields: dict[str, Any], certificates: Callable[[str], Path]
):
    from dask import config
    from distributed import Client

    ours = certificates("ours")
    settings = tls_settings(ours)
    address = output_of(serve("scheduler", "--port", "0", env=settings), r"scheduler at (tls://\S+)")
    serve("worker", address, env=settings)
    stranger = serve("worker", address, env=tls_settings(certificates("theirs")))
    with pytest.raises((OSError, TypeError)), Client(address, set_as_default=False, timeout=5):
        pass
    here = {"ca-file": ours / "ca.pem", "client.cert": ours / "cert.pem", "client.key": ours / "key.pem"}
    with config.set({f"distributed.comm.tls.{name}": str(path) for name, path in here.items()}):
        assert build_on(address, fields)["status"] == "complete"
    assert "certificate" in output_of(stranger, r"looks for the scheduler at tls://\S+: (.*)")


@pytest.mark.slow
def test_with_tls_a_scheduler_and_a_worker_listen_on_no_port_that_needs_no_certificate(
    serve: Serve, certificates: Callable[[str], Path]
):
    settings = tls_settings(certificates("ours")) | {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    scheduler = serve("scheduler", "--host", "0.0.0.0", "--port", "0", env=settings)
    number = output_of(scheduler, r"scheduler at tls://\S+:(\d+)")
    worker = serve("worker", f"tls://127.0.0.1:{number}", "--workers", "2", env=settings)
    output_of(worker, r"(?s)(worker \S+ at.*){2}")
    ports = [*listening_ports(scheduler.pid), *listening_ports(worker.pid)]
    assert [port.host for port in ports if port.process == scheduler.pid] == ["0.0.0.0"]
    assert [port.host for port in ports if port.process != scheduler.pid] == ["127.0.0.1"] * 4
    assert [port for port in ports if not needs_certificate(port)] == []


@pytest.mark.slow
def test_without_a_host_a_scheduler_and_a_worker_listen_on_the_loopback_only_and_log_no_garbage(serve: Serve):
    scheduler = serve("scheduler", "--port", "0")
    worker = serve("worker", output_of(scheduler, r"scheduler at (\S+)"))
    output_of(worker, r"worker (\S+) at")
    ports = [*listening_ports(scheduler.pid), *listening_ports(worker.pid)]
    assert [port.host for port in ports] == ["127.0.0.1"] * 3
    for port in ports:
        with socket.create_connection((port.host, port.number)) as connection:
            connection.sendall(b"\x16\x03\x01\x00\x05hello, this is no message of Dask's")
            with suppress(ConnectionResetError):
                while connection.recv(4096):
                    pass
    # They still serve, also a second worker of this machine, and log nothing but their own lines.
    output_of(serve("worker", output_of(scheduler, r"scheduler at (\S+)")), r"worker (\S+) at")
    for process in (scheduler, worker):
        assert process.log.read_text().count("\n") == 1, process.log.read_text()


@pytest.mark.parametrize(
    "command",
    [
        ("scheduler", "--host", "0.0.0.0"),
        ("worker", "tcp://127.0.0.1:8786", "--host", "0.0.0.0"),
        ("worker", "tcp://10.1.2.3:8786"),
        ("build", "--prompts", "x.txt", "--generate.model", "bundled", "--cluster", "tcp://10.1.2.3:8786"),
    ],
    ids=lambda command: command[0],
)
def test_unencrypted_traffic_beyond_the_loopback_is_refused(imagemill: Run, command: tuple[str, ...]):
    code, text = imagemill(*command)
    assert code == 2
    assert "is not encrypted and lies beyond this machine's loopback" in text
    assert "--insecure" in text


def test_an_invalid_address_is_refused_with_the_right_form(imagemill: Run):
    code, text = imagemill("worker", "127.0.0.1:8786")
    assert (code, "write tcp://host:port or tls://host:port" in text) == (2, True)
