"""GpuTaskRunner: the Prefect engine in threads of the flow's process, the models in one worker process per GPU.

States, retries and logs are Prefect's, in threads. The body of a GPU task submits a plain function to a Dask cluster
with ``draw`` or ``score`` and waits for its result; ``wait_for_worker`` submits it before the task run begins. The
cluster starts with the first such call, so that a build with nothing to generate never waits for a worker.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar
from uuid import uuid4

from distributed import CancelledError, Client, KilledWorker
from prefect.task_runners import ThreadPoolTaskRunner

from imagemill.data.errors import BuildFailed
from imagemill.data.messages import shown, shown_path
from imagemill.data.records import StepReport
from imagemill.data.scores.records import ScoreReport
from imagemill.models.job import Job
from imagemill.models.library_messages import collected
from imagemill.models.score_job import ScoreJob
from imagemill.tasks.progress import Progress
from imagemill.tasks.runner.cluster import MachineCluster, check_address, cores, cpu_workers, root_cause
from imagemill.tasks.runner.gpus import visible_gpus
from imagemill.tasks.runner.job_message import WorkerJob, pack
from imagemill.tasks.runner.started_jobs import StartedJobs, Submission
from imagemill.tasks.runner.worker import draw_on_worker, score_on_worker
from imagemill.tasks.runner.worker_output import FILE

Listener = Callable[[dict[str, Any]], None]


class Closable(Protocol):
    """A resource that ends with the flow."""

    def close(self) -> None:
        """Cancel everything in flight."""


SharedResource = TypeVar("SharedResource", bound=Closable)

SCHEDULER_TIMEOUT_S = 600.0
"""Seconds that an external scheduler may be unreachable, once it has answered, before the build fails."""

FIRST_CONTACT_TIMEOUT_S = 30.0
"""Seconds that a build looks for an external scheduler that has never answered."""

CONNECT_TIMEOUT_S = 10.0
"""Timeout of one attempt to connect to it."""

MAX_THREADS = 1024
"""Maximum number of shards in flight on a cluster that grows."""


class GpuTaskRunner(ThreadPoolTaskRunner):
    """Runs tasks in threads, and GPU work in single-threaded worker processes, one per GPU.

    Args:
        workers: Number of worker processes; by default one per visible GPU, on CPU a number chosen for throughput.
        address: A running Dask scheduler, on whose workers models stay loaded between builds (by default the
            environment's IMAGEMILL_CLUSTER); no worker is started then.
        shards: Number of shards in flight; by default two per worker, and three for a single one.
        own: The cluster of this machine, if it is starting already.
        on_start: Called with the build's Progress when it begins.
    """

    def __init__(
        self,
        workers: int | None = None,
        address: str | None = None,
        shards: int | None = None,
        own: MachineCluster | None = None,
        on_start: Callable[[Progress], None] | None = None,
    ) -> None:
        self._requested_workers, self._requested_address = workers, address
        self.address = address or os.environ.get("IMAGEMILL_CLUSTER") or None
        self.gpus = [] if self.address else visible_gpus()
        self.workers = workers or len(self.gpus) or 1
        self.shards = shards
        self.on_start = on_start
        self.listener: Listener | None = None
        self.cpu_threads: int | None = None
        """Threads of a worker of the own cluster without a GPU; by default its share of the cores."""
        self._max_threads = shards or (MAX_THREADS if self.address else _shards_for(max(self.workers, cores())))
        super().__init__(max_workers=self._max_threads)
        self._topic = f"imagemill-{uuid4()}"
        self._starting = threading.Lock()
        self._own = own
        self._client: Client | None = None
        self._stopped = self._has_connected = False
        self._resources: dict[type, Closable] = {}
        self._jobs = StartedJobs()

    def duplicate(self) -> Self:
        """A runner with the same settings and nothing started."""
        return type(self)(self._requested_workers, self.address, self.shards, self._own, self.on_start)

    def __reduce__(self) -> tuple[type[Self], tuple[Any, ...]]:
        # Prefect pickles the flow that it runs in another process, as a served one: the settings alone, since GPUs and
        # cluster are that process's.
        return type(self), (self._requested_workers, self._requested_address, self.shards, None, self.on_start)

    def prestart(self) -> None:
        """Start the worker processes while the build is planned: importing torch takes them seconds."""
        if self.address is None and self._own is None:
            self._own = MachineCluster(self.workers, self.gpus)

    def size_for(self, shards: int, weights: int | None, pin_threads: Callable[[int], int]) -> None:
        """Choose the number of a worker's threads, and of workers if the user named none; nothing where GPUs generate.

        ``weights``: see cpu_workers. ``pin_threads`` returns the threads that a dataset was begun with, given those of
        a new one: an image's last bits depend on them.
        """
        if self.gpus or self.address is not None:
            return
        most = cpu_workers(cores(), weights)
        self.cpu_threads = pin_threads(max(1, cores() // (self._requested_workers or most)))
        if self._requested_workers is None:
            self.workers = max(1, min(most, shards, cores() // self.cpu_threads))

    def max_in_flight(self) -> int:
        """Number of shards to keep in flight now; on a cluster that grows or shrinks, by its current workers."""
        if self.shards:
            return self.shards
        workers = self.client().scheduler_info(n_workers=0)["n_workers"] if self.address else self.workers
        return min(MAX_THREADS, _shards_for(workers))

    def submit_call(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        """Call a function in one of the runner's threads, in the flow's context: its tasks belong to the flow.

        The call is not a task: a task run for every shard would cost as much as one that does some work.
        """
        return self._threads.submit(copy_context().run, function, *arguments)

    def draw(self, job: Job) -> StepReport:
        """Generate a job on a free worker and wait for it. Raises what the worker raised.

        If its worker process ends, the job goes to another, which isolates the rows that were being generated. If an
        external scheduler is unreachable, the job waits for it.
        """
        report: StepReport = self._run(job, len(job.drawings), f"generated with {shown(job.spec.name)}")
        return report

    def score(self, job: ScoreJob) -> ScoreReport:
        """Score a job's images on a free worker and wait for it, as ``draw``."""
        report: ScoreReport = self._run(job, job.requests, f"scored with {shown(job.name)}")
        return report

    def _run(self, job: WorkerJob, images: int, doing: str) -> Any:
        # Dask abandons a job after four processes; isolating an image takes three.
        for _ in range(images + 2):
            client, future = self._jobs.take(job) or self._submit(job, _new_key(job))
            try:
                return future.result()
            except KilledWorker:
                continue
            except CancelledError:
                self._drop(client)
            finally:
                if not future.done():
                    future.cancel()
        raise BuildFailed(
            f"every worker process that {doing} ended; what they printed before is in "
            f"{shown_path(Path(job.staging) / FILE)}."
        )

    def wait_for_worker(self, job: WorkerJob) -> None:
        """Submit a job and return once a worker has started it, or it has failed.

        ``draw`` or ``score`` then waits for its end. Raises BuildFailed once the runner is stopped, and if no scheduler
        answers.
        """
        key = _new_key(job)
        self._jobs.wait(job, key, lambda: self._submit(job, key))

    def _submit(self, job: WorkerJob, key: str) -> Submission:
        message, client = pack(job), self.client()
        # First come, first served, to the millisecond: the shards of one model then follow each other.
        return client, client.submit(
            _function(job), message, self._topic, self._cpu_threads(), key=key, pure=False, fifo_timeout=0
        )

    def _cpu_threads(self) -> int | None:
        """Number of threads that a worker generates with; None: as many as it was started with."""
        return None if self.address or self.gpus else self.cpu_threads or max(1, cores() // self.workers)

    def shared_resource(self, kind: type[SharedResource]) -> SharedResource:
        """The flow's instance of ``kind``, made on first need. Raises BuildFailed once the runner is stopped."""
        with self._starting:
            if self._stopped:
                raise BuildFailed("the build was stopped.")
            resource = self._resources.get(kind)
            if not isinstance(resource, kind):
                resource = self._resources[kind] = kind()
            return resource

    def client(self) -> Client:
        """The cluster's client; starts the cluster, or connects to it, on first need.

        Raises BuildFailed once the runner is stopped, and if no scheduler answers.
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
            return self._own.connect(self.workers)
        assert self.address is not None, "without an address there is an own cluster"
        check_address(self.address)
        timeout_s = SCHEDULER_TIMEOUT_S if self._has_connected else FIRST_CONTACT_TIMEOUT_S
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                client = Client(self.address, set_as_default=False, timeout=CONNECT_TIMEOUT_S)
            except OSError as error:
                if self._stopped or time.monotonic() > deadline:
                    raise BuildFailed(
                        f"no Dask scheduler answers at {self.address} ({root_cause(error)}). "
                        "Start one with `imagemill scheduler`, or build without --cluster; generated images are kept."
                    ) from error
            else:
                self._has_connected = True
                return client

    def _drop(self, lost: Client) -> None:
        """Discard a client that has lost its scheduler, so that the next job connects again."""
        with self._starting:
            is_current = self._client is lost
            if is_current:
                self._client = None
                lost.close(timeout=1)

    def _emit(self, stamped: tuple[float, dict[str, Any]]) -> None:
        event = stamped[1]
        if event["kind"] == "started":
            self._jobs.on_event(event)
        elif self.listener is not None:
            self.listener(event)

    def __enter__(self) -> Self:
        self._quiet = collected()
        self._quiet.__enter__()
        self._threads = ThreadPoolExecutor(self._max_threads, thread_name_prefix="shard")
        return super().__enter__()

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None:
            # Before the threads are waited for: they are themselves waiting for the workers.
            self._close()
        self._threads.shutdown(cancel_futures=True)
        super().__exit__(*exception)
        self._close()
        self._quiet.__exit__(None, None, None)

    def _close(self) -> None:
        # Set without the lock, which is held while connecting to a scheduler.
        self._stopped = True
        self._jobs.close()
        with self._starting:
            client, own, resources = self._client, self._own, [*self._resources.values()]
            self._client = self._own = None
            self._resources.clear()
        for resource in resources:
            resource.close()
        if client is not None:
            client.close()
        if own is not None:
            own.close()


def _shards_for(workers: int) -> int:
    """Per worker one shard being generated and the next one ready; at least one more being edited or written."""
    return max(2 * workers, workers + 2)


def _function(job: WorkerJob) -> Callable[..., Any]:
    return score_on_worker if isinstance(job, ScoreJob) else draw_on_worker


def _new_key(job: WorkerJob) -> str:
    return f"{_function(job).__name__}-{uuid4()}"
