"""Tests of `imagemill view` as a process: its link, its port, its end, and what it prints."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Launch, Run
from tests.conftest import ROOT, wait_until
from tests.starter import Started

pytestmark = pytest.mark.slow


@pytest.fixture
def gallery(launch: Launch, judged: Path) -> tuple[Started, int, str]:
    """A started gallery, its port and the path of its link."""
    process = launch("view", judged)
    match: Any = wait_until(
        lambda: re.search(r"http://127\.0\.0\.1:(\d+)(/open/\S+)\n", process.printed()), "the gallery's link"
    )
    return process, int(match[1]), match[2]


def ask(port: int, path: str, cookie: str = "", host: str = "127.0.0.1") -> tuple[int, str, str]:
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.request("GET", path, headers={"cookie": cookie})
    answer = connection.getresponse()
    return answer.status, answer.read().decode(errors="replace"), answer.headers.get("set-cookie", "")


def test_the_printed_link_opens_it_and_ctrl_c_ends_it(gallery: tuple[Started, int, str]) -> None:
    process, port, link = gallery
    assert ask(port, "/")[0] == 403

    status, _, cookie = ask(port, link)
    assert status == 303
    status, text, _ = ask(port, "/", cookie.partition(";")[0])
    assert (status, "a disc of hue" in text) == (200, True)
    assert ask(port, link)[0] == 403
    process.send_signal(signal.SIGINT)
    assert process.communicate()[1] == ""
    assert process.returncode == 0


def test_it_listens_on_the_loopback_alone(gallery: tuple[Started, int, str]) -> None:
    _, port, _ = gallery
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        # No packet is sent: the address that this machine would have there.
        probe.connect(("192.0.2.1", 9))
        own = probe.getsockname()[0]
    if own.startswith("127."):
        pytest.skip("this machine has no address but the loopback")
    with pytest.raises(ConnectionRefusedError):
        ask(port, "/", host=own)


def test_requests_are_in_no_output(gallery: tuple[Started, int, str]) -> None:
    process, port, link = gallery
    ask(port, link)
    ask(port, "/?words=a-secret-prompt")
    process.send_signal(signal.SIGINT)
    out, errors = process.communicate()

    assert out.count(link) == 1
    assert "secret" not in out + errors


def test_enter_in_the_terminal_gives_another_link(judged: Path) -> None:
    terminal, ours = os.openpty()
    command = [sys.executable, "-m", "imagemill", "view", str(judged)]
    with subprocess.Popen(command, stdin=ours, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            first, _ = process.stdout.readline(), process.stdout.readline()
            os.write(terminal, b"\n")
            second = process.stdout.readline()
        finally:
            process.terminate()
            os.close(ours)
            os.close(terminal)
    links = re.findall(r"http://127\.0\.0\.1:\d+/open/\S+", first + second)
    assert len(set(links)) == 2


def test_a_port_in_use_is_one_clear_error(imagemill: Run, judged: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = imagemill("view", str(judged), "--port", str(port))
    assert (code, text.count("\n")) == (1, 1)
    assert f"cannot listen on port {port}" in text


def test_a_folder_without_a_dataset_is_one_clear_error(imagemill: Run, tmp_path: Path) -> None:
    code, text = imagemill("view", str(tmp_path))
    assert (code, "there is no manifest.json" in text) == (1, True)
