"""The listening ports of a process and its children, and what they answer to strangers."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass

import psutil

from tests.conftest import command_of


@dataclass(frozen=True, slots=True)
class Port:
    """A port that a process listens on."""

    host: str
    number: int
    process: int
    command: str

    @property
    def is_prefects(self) -> bool:
        """Whether a temporary Prefect server listens there."""
        return "prefect" in self.command


def listening_ports(root: int) -> list[Port]:
    """All ports on which a process or one of its descendants listens."""
    found = []
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(root)
        for process in (top, *top.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                found += [
                    Port(connection.laddr.ip, connection.laddr.port, process.pid, " ".join(command_of(process)))
                    for connection in process.net_connections("inet")
                    if connection.status == psutil.CONN_LISTEN
                ]
    return found


def needs_certificate(port: Port) -> bool:
    """Whether a connection over TLS without a certificate is refused, and so is one without TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with context.wrap_socket(socket.create_connection(("127.0.0.1", port.number), timeout=10)) as connection:
            # With TLS 1.3 the refusal follows the handshake.
            connection.recv(1)
    except ssl.SSLError as error:
        # What a server without TLS answers is no TLS alert.
        if not error.reason or "CERTIFICATE_REQUIRED" not in error.reason:
            return False
    else:
        return False
    with socket.create_connection(("127.0.0.1", port.number), timeout=10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        try:
            return connection.recv(1) == b""
        except ConnectionResetError:
            return True
