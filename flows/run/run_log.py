"""Log of a run: an error that is one sentence for the user has no traceback there."""

from __future__ import annotations

import logging

from imagemill.data.errors import ImagemillError


class WithoutTraceback(logging.Filter):
    """Filter that removes the traceback of an ImagemillError, whose sentence the line has."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every line."""
        if record.exc_info and isinstance(record.exc_info[1], ImagemillError):
            record.exc_info = record.exc_text = None
        return True


_FILTER = WithoutTraceback()


def log_sentences() -> None:
    """Arrange it for the flows and tasks of this process; Prefect would log a traceback for each of their levels."""
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).addFilter(_FILTER)
