"""Entry point of the `imagemill` command: starts the longest wait of a build before anything else.

Workers import torch and diffusers while this process reads the recipe and imports Prefect, which takes seconds each. A
build that has nothing to generate here stops them again (flows/cli/app.py).
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from threading import Thread

from imagemill.data.errors import ImagemillError
from imagemill.tasks.runner.processes.fast_imports import fast_imports
from imagemill.tasks.runner.processes.fork_server import start_fork_server


def _start_early() -> None:
    # The build starts it again where it needs it, and reports why it cannot.
    with suppress(ImagemillError):
        start_fork_server()


def main() -> None:
    """Run the command line and exit."""
    # Inherited by every process that this one starts: none imports from the user's working directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    # Read when the hub's client is imported: a command reports progress in its own way.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    if sys.argv[1:2] == ["build"]:
        # In a thread, since listing the GPUs takes a moment too.
        Thread(target=_start_early, daemon=True, name="entry").start()
    with fast_imports():
        from imagemill.flows.cli import app as cli

    cli.main()
