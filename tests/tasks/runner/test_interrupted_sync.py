"""Ctrl-C while Dask waits for its event loop leaves no traceback of Dask's in the output of a stopped build."""

from __future__ import annotations

import subprocess
import sys

import pytest

INTERRUPTED = """
import asyncio, signal, sys, threading, time, traceback
from distributed.utils import LoopRunner, sync
if "filtered" in sys.argv:
    from imagemill.tasks.runner import cluster
# Tests that run in the background of a shell ignore it, and so do their children.
signal.signal(signal.SIGINT, signal.default_int_handler)
runner = LoopRunner(asynchronous=False)
runner.start()
busy, free = threading.Event(), threading.Event()

def block():
    busy.set()
    free.wait()

# The loop is busy, as on a machine under load, when the signal comes.
runner.loop.add_callback(block)
busy.wait()
main = threading.main_thread().ident

def is_waiting():
    # Within sync: the start of a thread waits as well.
    names = [frame.name for frame in traceback.extract_stack(sys._current_frames()[main])]
    return names[-1] == "wait" and "sync" in names

def interrupt():
    while not is_waiting():
        time.sleep(0.01)
    signal.pthread_kill(main, signal.SIGINT)

try:
    threading.Thread(target=interrupt).start()
    sync(runner.loop, asyncio.sleep, 0)
except KeyboardInterrupt:
    free.set()
    runner.stop()
    print("interrupted")
"""


@pytest.mark.parametrize(("filtered", "tracebacks"), [("filtered", 0), ("as it is", 1)])
def test_a_wait_for_dask_that_is_interrupted_leaves_no_traceback(filtered: str, tracebacks: int):
    command = [sys.executable, "-c", INTERRUPTED, filtered]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "interrupted\n"
    assert done.stderr.count("cannot access free variable 'future'") == tracebacks, done.stderr
