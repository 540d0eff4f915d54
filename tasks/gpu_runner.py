"""GpuTaskRunner: the Prefect engine in threads of the flow's process, the drawing in one worker process per GPU.

States, retries, caching and logs are Prefect's, in threads. A GPU task's body hands a plain function to a Dask cluster
with ``draw_on_gpu`` and waits for it there. The cluster starts when the first such call is made, so that a build with
nothing to draw never waits for a worker.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from typing import Any, Self
from uuid import uuid4

from dask import config
from distributed import CancelledError, Client, KilledWorker, Nanny, Scheduler, SpecCluster
from prefect.context import FlowRunContext
from prefect.task_runners import ThreadPoolTaskRunner

from data.errors import BuildFailed
from models.job import Job
from tasks.worker_side import draw_and_tell

# Every task that starts or ends is an INFO line otherwise.
logging.getLogger("distributed").setLevel(logging.WARNING)

Listener = Callable[[dict[str, Any]], None]


class GpuTaskRunner(ThreadPoolTaskRunner):
    """Runs tasks in threads, and GPU work in single-threaded worker processes, one per GPU.

    ``workers``: how many worker processes; by default one per visible GPU, or one on the CPU.
    ``address``: of a Dask scheduler that is already up, where models stay loaded between builds; none is then started.
    ``shards``: how many shards are under way at once; by default two more than there are workers.
    """

    def __init__(self, workers: int | None = None, address: str | None = None, shards: int | None = None) -> None:
        self.gpus = [] if address else visible_gpus()
        self.workers = workers or len(self.gpus) or 1
        self.address = address
        self.shards = shards or self.workers + 2
        super().__init__(max_workers=self.shards)
        self.listener: Listener | None = None
        self._topic = f"imagemill-{uuid4()}"
        self._starting = threading.Lock()
        self._cluster: SpecCluster | None = None
        self._client: Client | None = None
        self._stopped = False

    def duplicate(self) -> Self:
        """A runner with the same settings and nothing started."""
        return type(self)(self.workers, self.address, self.shards)

    def draw(self, job: Job) -> Any:
        """Draw a job on a free worker and wait for it. Raises what the worker raised.

        A job whose worker process ends goes to another, which isolates the rows that were being drawn.
        """
        # Dask gives a job up after four processes; isolating a row takes three.
        for _ in range(len(job.drawings) + 2):
            # First come, first served, to the millisecond: the shards of one model then follow each other.
            future = self.client().submit(draw_and_tell, job, self._topic, pure=False, fifo_timeout=0)
            try:
                return future.result()
            except KilledWorker:
                continue
            except CancelledError as error:
                raise BuildFailed("the build was stopped while it waited for a worker.") from error
            finally:
                if not future.done():
                    future.cancel()
        raise BuildFailed(f"worker process after worker process ended while {job.spec.name!r} was to draw.")

    def client(self) -> Client:
        """The cluster's client; starts the cluster on first need. Raises BuildFailed once the runner is stopped."""
        with self._starting:
            if self._stopped:
                raise BuildFailed("the build was stopped.")
            if self._client is None:
                if self.address is None:
                    self._cluster = start_cluster(self.workers, self.gpus)
                self._client = Client(self._cluster or self.address, set_as_default=False)
                self._client.subscribe_topic(self._topic, self._tell)
            return self._client

    def _tell(self, stamped: tuple[float, dict[str, Any]]) -> None:
        if self.listener is not None:
            self.listener(stamped[1])

    def __exit__(self, *exception: Any) -> None:
        if exception[0] is not None:
            # First of all: the threads that Prefect now waits for are themselves waiting for the workers.
            self._close()
        super().__exit__(*exception)
        self._close()

    def _close(self) -> None:
        with self._starting:
            self._stopped = True
            client, cluster = self._client, self._cluster
            self._client = self._cluster = None
        if client is not None:
            client.close()
        if cluster is not None:
            cluster.close()


def draw_on_gpu(job: Job) -> Any:
    """Draw a job from inside a task, on the workers of the flow's GpuTaskRunner."""
    context = FlowRunContext.get()
    runner = context and context.task_runner
    if not isinstance(runner, GpuTaskRunner):
        raise RuntimeError(
            f"the flow's task runner is {type(runner).__name__}, and GPU tasks need GpuTaskRunner: "
            "@flow(task_runner=GpuTaskRunner())."
        )
    return runner.draw(job)


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; found without importing torch."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [gpu.strip() for gpu in named.split(",") if gpu.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(number) for number, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def start_cluster(workers: int, gpus: list[str]) -> SpecCluster:
    """A cluster on the loopback: single-threaded worker processes, each with its GPU or its share of the cores."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // workers))
    specs = {}
    for number in range(workers):
        environment = {
            "OMP_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            # Threads that wait for each other sleep: else they take the core that encodes and writes.
            "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        }
        if gpus:
            environment["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]
        options = {
            "nthreads": 1,
            "host": "127.0.0.1",
            # Loading a model of 24 GB is not a leak: no limit, and no spilling or pausing.
            "memory_limit": 0,
            "env": environment,
            "preload": "tasks.worker_process",
            "dashboard": False,
        }
        specs[number] = {"cls": Nanny, "options": options}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}}
    # Read as soon as a worker process imports distributed, which else tells of every start, stop and error; what a
    # job raises is raised where it is waited for.
    quiet = "distributed.nanny.pre-spawn-environ.DASK_DISTRIBUTED__LOGGING__DISTRIBUTED"
    with config.set({quiet: "critical"}):
        return SpecCluster(scheduler=scheduler, workers=specs, shutdown_on_close=True)
