"""Server of the gallery: on the loopback alone, until Ctrl-C. Links to it are printed in the terminal, nowhere else."""

from __future__ import annotations

import socket
import sys
import threading
from collections.abc import Callable

import uvicorn

from imagemill.data.errors import ImagemillError
from imagemill.data.view.gallery import Gallery
from imagemill.flows.view.app import make_app
from imagemill.flows.view.door import OPEN, Door

HOST = "127.0.0.1"

END_TIMEOUT_S = 2
"""Seconds that requests in flight have when the server ends."""


def serve(gallery: Gallery, port: int, emit: Callable[[str], None] | None = None) -> None:
    """Serve the gallery until SIGINT or SIGTERM. ``port``: 0 for a free one. Raises ImagemillError.

    ``emit`` is called with each line for the terminal; by default it is printed.
    """
    emit = emit or _print
    listener = _listen(port)
    port = listener.getsockname()[1]
    door = Door(make_app(gallery), port)
    config = uvicorn.Config(
        door,
        log_config=None,
        # Paths in a log would name tokens and prompts.
        access_log=False,
        lifespan="off",
        ws="none",
        server_header=False,
        timeout_graceful_shutdown=END_TIMEOUT_S,
    )
    emit(f"Gallery of {gallery.output}: {_link(door, port)}")
    emit("The link works once, in one browser. Press Enter for another, Ctrl-C to end.")
    if sys.stdin is not None and sys.stdin.isatty():
        threading.Thread(target=_more_links, args=(door, port, emit), daemon=True, name="links").start()
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        # uvicorn has ended, and raises the signal again.
        return
    finally:
        listener.close()


def _print(line: str) -> None:
    print(line, flush=True)


def _link(door: Door, port: int) -> str:
    return f"http://{HOST}:{port}{OPEN}{door.new_token()}"


def _more_links(door: Door, port: int, emit: Callable[[str], None]) -> None:
    for _ in sys.stdin:
        emit(_link(door, port))


def _listen(port: int) -> socket.socket:
    listener = socket.socket()
    try:
        # Not reusable: no other program can listen on the port while it is open here.
        listener.bind((HOST, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ImagemillError(
            f"cannot listen on port {port} ({error.strerror or error}): give --port another number, or leave it out "
            "for a free one."
        ) from error
    return listener
