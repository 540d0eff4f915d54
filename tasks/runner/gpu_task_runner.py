"""GpuTaskRunner: the Prefect engine in threads of the flow's process, the drawing in one worker process per GPU.

States, retries, caching and logs are Prefect's, in threads. A GPU task's body hands a plain function to a Dask cluster
with ``draw_on_gpu`` and waits for it there. The cluster starts when the first such call is made, so that a build with
nothing to draw never waits for a worker.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import copy_context
from typing import Any, Protocol, Self, TypeVar
from uuid import uuid4

from distributed import CancelledError, Client, KilledWorker
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from imagemill.data.errors import BuildFailed
from imagemill.models.job import Job
from imagemill.tasks.runner.cluster import MachineCluster, check_address, cores, cpu_workers, root_cause
from imagemill.tasks.runner.gpus import visible_gpus
from imagemill.tasks.runner.job_message import pack
from imagemill.tasks.runner.worker import draw_on_worker

Listener = Callable[[dict[str, Any]], None]


class Closable(Protocol):
    """What ends with the flow."""

    def close(self) -> None:
        """Break off what is under way."""


SharedResource = TypeVar("SharedResource", bound=Closable)

PATIENCE = 600.0
"""Seconds for which a scheduler of another process may be out of reach before the build fails."""

MAX_THREADS = 1024
"""Shards under way at once, at the most, on a cluster that grows."""


class GpuTaskRunner(ThreadPoolTaskRunner):
    """Runs tasks in threads, and GPU work in single-threaded worker processes, one per GPU.

    ``workers``: how many worker processes; by default one per visible GPU, and without any as many as draw best.
    ``address``: of a Dask scheduler that is already up, where models stay loaded between builds (by default
    IMAGEMILL_CLUSTER of the environment); no worker is then started.
    ``shards``: how many shards are under way at once; by default two a worker, and three with one.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        shards: int | None = None,
        own: MachineCluster | None = None,
    ) -> None:
        self._requested_workers = workers
        self.address = address or os.environ.get("IMAGEMILL_CLUSTER") or None
        self.gpus = [] if self.address else visible_gpus()
        self.workers = workers or len(self.gpus) or 1
        self.shards = shards
        most = _shards_for(max(self.workers, cores()))
        super().__init__(max_workers=shards or (MAX_THREADS if self.address else most))
        self.listener: Listener | None = None
        self._topic = f"imagemill-{uuid4()}"
        self._starting = threading.Lock()
        self._own = own
        self._client: Client | None = None
        self._stopped = self._was_there = False
        self._beside: dict[type, Closable] = {}

    def duplicate(self) -> Self:
        """A runner with the same settings and nothing started."""
        return type(self)(self._requested_workers, self.address, self.shards, self._own)

    def prestart(self) -> None:
        """Start the worker processes now, beside what the build does first: importing torch takes them seconds."""
        if self.address is None and self._own is None:
            self._own = MachineCluster(self.workers, self.gpus)

    def size_for(self, shards: int, weights: int | None) -> None:
        """Settle how many workers there are where nobody said and there is no GPU; see cpu_workers."""
        if self._requested_workers is None and not self.gpus and self.address is None:
            self.workers = cpu_workers(shards, weights)

    def max_in_flight(self) -> int:
        """How many shards to keep under way now: of a cluster that grows or shrinks, by the workers it has."""
        if self.shards:
            return self.shards
        workers = self.client().scheduler_info(n_workers=0)["n_workers"] if self.address else self.workers
        return min(MAX_THREADS, _shards_for(workers))

    def submit_call(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function in one of the runner's threads, in the flow's context: tasks that it calls are the flow's.

        Not a task itself: a run of its own for every shard would cost as much as one that does something.
        """
        return self._executor.submit(copy_context().run, function, *arguments)

    def draw(self, job: Job) -> Any:
        """Generate a job on a free worker and wait for it. Raises what the worker raised.

        A job whose worker process ends goes to another, which isolates the rows that were being generated. A scheduler of
        another process that is out of reach is waited for.
        """
        parcel = pack(job)
        # Dask gives a job up after four processes; isolating a row takes three.
        for _ in range(len(job.drawings) + 2):
            client = self.client()
            # First come, first served, to the millisecond: the shards of one model then follow each other.
            future = client.submit(draw_on_worker, parcel, self._topic, self._threads(), pure=False, fifo_timeout=0)
            try:
                return future.result()
            except KilledWorker:
                continue
            except CancelledError:
                self._drop(client)
            finally:
                if not future.done():
                    future.cancel()
        raise BuildFailed(f"worker process after worker process ended while {job.spec.name!r} was to draw.")

    def _threads(self) -> int | None:
        """How many threads a worker generates with; None: as many as it was started with."""
        return None if self.address or self.gpus else max(1, cores() // self.workers)

    def shared_resource(self, kind: type[SharedResource]) -> SharedResource:
        """The flow's own one of a kind, made on first need. Raises BuildFailed once the runner is stopped."""
        with self._starting:
            if self._stopped:
                raise BuildFailed("the build was stopped.")
            if kind not in self._beside:
                self._beside[kind] = kind()
            return self._beside[kind]

    def client(self) -> Client:
        """The cluster's client; starts the cluster, or connects to it, on first need.

        Raises BuildFailed once the runner is stopped, and where no scheduler answers.
        """
        with self._starting:
            if self._client is None and not self._stopped:
                self.prestart()
                self._client = self._connect()
                self._client.subscribe_topic(self._topic, self._emit)
            if self._stopped:
                raise BuildFailed("the build was stopped while it waited for a worker.")
            return self._client

    def _connect(self) -> Client:
        if self._own is not None:
            return Client(self._own.running(self.workers), set_as_default=False)
        check_address(self.address)
        timeout_s, deadline = (PATIENCE if self._was_there else 30), time.monotonic()
        while True:
            try:
                found = Client(self.address, set_as_default=False, timeout=10)
            except OSError as error:
                if self._stopped or time.monotonic() - deadline > timeout_s:
                    raise BuildFailed(
                        f"no Dask scheduler answers at {self.address} ({root_cause(error)}). "
                        "Start one with `imagemill scheduler`, or build without --cluster; what is generated is kept."
                    ) from error
            else:
                self._was_there = True
                return found

    def _drop(self, lost: Client) -> None:
        """Forget a client that has lost its scheduler, so that the next job connects anew."""
        with self._starting:
            if self._client is lost:
                self._client = None
                lost.close(timeout=1)

    def _emit(self, stamped: tuple[float, dict[str, Any]]) -> None:
        if self.listener is not None:
            self.listener(stamped[1])

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None:
            # First of all: the threads that Prefect now waits for are themselves waiting for the workers.
            self._close()
        super().__exit__(*exception)
        self._close()

    def _close(self) -> None:
        # Before the lock, which is held while a scheduler is waited for.
        self._stopped = True
        with self._starting:
            client, own, beside = self._client, self._own, [*self._beside.values()]
            self._client = self._own = None
            self._beside.clear()
        for one in beside:
            one.close()
        if client is not None:
            client.close()
        if own is not None:
            own.close()


def _shards_for(workers: int) -> int:
    """One that each worker generates, and one that is ready when that is done, while a third is edited or written."""
    return max(2 * workers, workers + 2)


def draw_on_gpu(job: Job) -> Any:
    """Generate a job from inside a task, on the workers of the flow's GpuTaskRunner."""
    context = FlowRunContext.get()
    runner = context and context.task_runner
    if not isinstance(runner, GpuTaskRunner):
        raise RuntimeError(
            f"the flow's task runner is {type(runner).__name__}, and GPU tasks need GpuTaskRunner: "
            "@flow(task_runner=GpuTaskRunner())."
        )
    return runner.draw(job)
