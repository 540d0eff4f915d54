"""Multiprocessing contexts for worker processes: the program that starts a worker is neither run nor importable in it.

Python's own contexts have each new process run the main file of the program that starts it, and look for modules in its
working directory: a script that builds at its top would build in every worker, and a user's random.py would be taken
for Python's.

`dask_settings.py` makes Dask start workers with them. `_launch` follows Python's own popen_forkserver.py and
popen_spawn_posix.py, but for the preparation data and the option -P. What they use is private, and so partly missing in
typeshed: hence the ignores.
"""

from __future__ import annotations

import io
import os
from multiprocessing import context, forkserver, popen_forkserver, popen_spawn_posix, resource_tracker, spawn, util
from multiprocessing import reduction as pickling
from multiprocessing.context import set_spawning_popen
from multiprocessing.process import BaseProcess
from typing import Any

from imagemill.data.storage.scratch import scratch_folder
from imagemill.tasks.runner.safe_path import importable_path, safe_path
from imagemill.tasks.runner.worker_queue import WorkerQueue

FORKSERVER, SPAWN = "imagemill-forkserver", "imagemill-spawn"
"""Names of the contexts, as in Dask's setting distributed.worker.multiprocessing-method."""


def _pickled(popen: Any, process: BaseProcess) -> memoryview:
    preparation = spawn.get_preparation_data(process.name)
    # What the process keeps in temporary files then lies in this one's folder, and is removed with it.
    process._config["tempdir"] = str(scratch_folder())  # type: ignore[attr-defined]
    preparation["sys_path"] = importable_path(preparation["sys_path"], preparation["orig_dir"])
    buffer = io.BytesIO()
    set_spawning_popen(popen)
    try:
        pickling.dump({key: value for key, value in preparation.items() if not key.startswith("init_main")}, buffer)
        pickling.dump(process, buffer)
    finally:
        set_spawning_popen(None)
    return buffer.getbuffer()


class _ForkServerPopen(popen_forkserver.Popen):
    _fds: list[int]

    def _launch(self, process_obj: BaseProcess) -> None:
        content = _pickled(self, process_obj)
        self.sentinel, parent = forkserver.connect_to_new_process(self._fds)
        kept_open = os.dup(parent)
        self.finalizer = util.Finalize(self, util.close_fds, (kept_open, self.sentinel))  # type: ignore[attr-defined]
        with open(parent, "wb", closefd=True) as pipe:
            pipe.write(content)
        self.pid = forkserver.read_signed(self.sentinel)


class _SpawnPopen(popen_spawn_posix.Popen):
    _fds: list[int]

    def _launch(self, process_obj: BaseProcess) -> None:
        with safe_path():
            tracker = resource_tracker.getfd()
        assert tracker is not None, "getfd has started the tracker"
        self._fds.append(tracker)
        content = _pickled(self, process_obj)
        from_child, to_parent = os.pipe()
        from_parent, to_child = os.pipe()
        try:
            program, *arguments = spawn.get_command_line(tracker_fd=tracker, pipe_handle=from_parent)
            self._fds.extend([from_parent, to_parent])
            # -P: the working directory is not looked in for modules, from the interpreter's start.
            command = [program, "-P", *arguments]
            # Typed as bytes, but a text is passed by Python too.
            self.pid = util.spawnv_passfds(spawn.get_executable(), command, self._fds)  # type: ignore[arg-type]
            self.sentinel = from_child
            with open(to_child, "wb", closefd=False) as pipe:
                pipe.write(content)
        finally:
            self.finalizer = util.Finalize(self, util.close_fds, (from_child, to_child))  # type: ignore[attr-defined]
            os.close(from_parent)
            os.close(to_parent)


class _ForkServerProcess(context.ForkServerProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> _ForkServerPopen:
        return _ForkServerPopen(process_obj)


class _SpawnProcess(context.SpawnProcess):
    @staticmethod
    def _Popen(process_obj: BaseProcess) -> _SpawnPopen:
        return _SpawnPopen(process_obj)


class _WorkerQueues(context.BaseContext):
    def Queue(self, maxsize: int = 0) -> WorkerQueue:  # type: ignore[override]
        return WorkerQueue(*self.Pipe(duplex=False))


class _ForkServerContext(_WorkerQueues, context.ForkServerContext):
    Process = _ForkServerProcess


class _SpawnContext(_WorkerQueues, context.SpawnContext):
    Process = _SpawnProcess


# Added beside Python's own, none of which is changed: multiprocessing.get_context finds a context by its name alone.
_contexts = {FORKSERVER: _ForkServerContext(), SPAWN: _SpawnContext()}
context._concrete_contexts |= _contexts  # type: ignore[attr-defined]
