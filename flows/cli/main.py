"""The `imagemill` command, from its first moment: what a build waits for longest is begun before anything is read.

Importing torch and diffusers takes a worker seconds, and reading the recipe and importing Prefect takes this process
others; they go on beside each other. A build that turns out to draw nothing here ends it again (flows/cli/app.py).
"""

from __future__ import annotations

import os
import sys
from threading import Thread

from imagemill.tasks.runner.fork_server import start_fork_server


def main() -> None:
    """Run the command line and exit."""
    # For every process that this one starts: none looks for modules in the user's working directory.
    os.environ["PYTHONSAFEPATH"] = "1"
    if sys.argv[1:2] == ["build"]:
        # In a thread: to ask for this machine's GPUs takes a moment, too.
        Thread(target=start_fork_server, daemon=True, name="entry").start()
    from imagemill.flows.cli import app as cli

    cli.main()
