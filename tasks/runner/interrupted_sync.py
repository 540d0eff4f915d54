"""Filter for a useless traceback of Dask on Ctrl-C: an interrupted wait cancels what it awaits.

``distributed.utils.sync`` starts a coroutine on its event loop and waits. Where the signal comes before the loop has
started the coroutine, its callback ``cancel`` raises NameError: "cannot access free variable 'future'". The wait ends
all the same, with KeyboardInterrupt, but Tornado logs a traceback among the lines of a stopped build.
"""

from __future__ import annotations

import logging


def drop_interrupted_sync() -> None:
    """Keep this one traceback out of the log, however often it is called."""
    logging.getLogger("tornado.application").addFilter(_is_of_interest)


def _is_of_interest(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not (isinstance(error, NameError) and "free variable 'future'" in str(error))
