"""Log filter for connections that do not come from the cluster, as a port scan's: one line each, or none.

Dask lets such an error end in tornado's event loop, which logs a traceback of thirty lines for every connection.
"""

from __future__ import annotations

import logging
import traceback

_HANDSHAKE = "on_connection"
"""Function of Dask in which a new connection's first message is read."""


def shorten_strangers() -> None:
    """Log one line for a connection that ends before it has introduced itself."""
    logging.getLogger("tornado.application").addFilter(_shorten)
    logging.getLogger("distributed.protocol.core").addFilter(_without_traceback)


def ignore_strangers() -> None:
    """Log nothing for connections without the certificate of a build's own cluster, which nothing else should use."""
    shorten_strangers()
    logging.getLogger("distributed.comm.tcp").addFilter(_is_no_handshake)


def _shorten(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    if error is not None and any(frame.name == _HANDSHAKE for frame in traceback.extract_tb(error.__traceback__)):
        record.msg, record.args = "Closed a connection that does not speak Dask's protocol: %s", (_named(error),)
        record.exc_info = None
    return True


def _without_traceback(record: logging.LogRecord) -> bool:
    if record.exc_info and record.exc_info[1]:
        record.msg, record.args = "%s: %s", (record.getMessage(), _named(record.exc_info[1]))
        record.exc_info = None
    return True


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return "TLS handshake failed" not in str(record.msg)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
