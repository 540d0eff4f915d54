"""Dask clusters: options of a worker process, the cluster of one machine, and which addresses are allowed."""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import psutil
from distributed import Client, Security, SpecCluster

from imagemill.data.errors import BuildFailed, RecipeError
from imagemill.data.messages import shown
from imagemill.models.library_messages import collect_new
from imagemill.tasks.runner.dask_servers import OwnNanny, PlainScheduler, PlainWorker
from imagemill.tasks.runner.dask_settings import own_settings
from imagemill.tasks.runner.gpus import gpu_environment, visible_gpus
from imagemill.tasks.runner.interrupted_sync import drop_interrupted_sync
from imagemill.tasks.runner.processes.fork_server import can_fork, start_fork_server, unset_variables
from imagemill.tasks.runner.processes.torch_threads import wait_policy

# Importing distributed has set up its loggers.
collect_new()
drop_interrupted_sync()

PROCESS_BYTES = 2**30
"""Memory of a worker process without its model's weights, rounded up; 0.6 GiB was measured."""

INSECURE = "IMAGEMILL_INSECURE"
"""Environment variable that allows unencrypted connections to other machines."""


def worker_options(number: int, workers: int, gpus: list[str]) -> dict[str, Any]:
    """Nanny options of one of ``workers`` single-threaded worker processes: its GPU, or its share of the cores."""
    threads = str(max(1, cores() // workers))
    environment = {
        # A forked process has the fork server's environment, which may be older than this one.
        **os.environ,
        **unset_variables(),
        "OMP_NUM_THREADS": threads,
        "MKL_NUM_THREADS": threads,
        **wait_policy(),
    }
    if gpus:
        environment |= gpu_environment(gpus[number % len(gpus)])
    return {
        "nthreads": 1,
        # Loading a model of 24 GB is not a leak: no limit, and no spilling or pausing.
        "memory_limit": 0,
        "env": environment,
        "preload": "imagemill.tasks.runner.worker_setup",
        "worker_class": PlainWorker,
    }


def cores() -> int:
    """The number of cores this process may use."""
    # macOS has no processor affinity.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu_workers(shards: int, weights: int | None) -> int:
    """The best number of worker processes without a GPU: one per core, if shards and memory suffice.

    Small models gain little from a second core; ``weights``: the models' bytes on disk, None if unknown.
    """
    if weights is None:
        return 1
    # Saved in half precision, a model may take twice its size; torch and diffusers take the rest.
    fitting = psutil.virtual_memory().available // 2 // (2 * weights + PROCESS_BYTES)
    return max(1, min(cores(), shards, fitting))


def prepare_workers(gpus: list[str]) -> bool:
    """True if worker processes are forked; if so, starts the process that they are forked from."""
    forks = can_fork(gpus)
    if forks:
        start_fork_server()
    return forks


def start_cluster(workers: int, gpus: list[str]) -> SpecCluster:
    """Start a cluster on this machine's loopback; without GPUs it can grow.

    All its connections need the certificate that it makes for itself: any user of this machine can reach a port.
    Raises BuildFailed, with the cause in one line, if a worker process cannot start, and ImagemillError if there is no
    place for temporary files.
    """
    forks = prepare_workers(gpus)
    # The other values are Dask's settings for clusters that have certificates already.
    security = Security.temporary(tls_ciphers=None, tls_min_version=ssl.TLSVersion.TLSv1_3, tls_max_version=None)
    options = {"host": "127.0.0.1", "port": 0, "protocol": "tls", "security": security}

    def spec(number: int, workers: int, gpus: list[str]) -> dict[str, Any]:
        return {"cls": OwnNanny, "options": {**worker_options(number, workers, gpus), **options, "forks": forks}}

    specs: Mapping[int, Any] = {number: spec(number, workers, gpus) for number in range(workers)}
    scheduler = {"cls": PlainScheduler, "options": {**options, "dashboard": False}}
    with own_settings(forks):
        try:
            return SpecCluster(
                scheduler=scheduler,
                workers=specs,
                worker=spec(0, 1, []),
                security=security,
                shutdown_on_close=True,
            )
        except Exception as error:
            raise BuildFailed(
                f"a worker process cannot start: {root_cause(error)}. Fix that, and run the build again."
            ) from error


class MachineCluster:
    """Cluster of one build on this machine. It starts in a thread, in parallel to the build's first steps."""

    def __init__(self, workers: int, gpus: list[str]) -> None:
        starter = ThreadPoolExecutor(1, thread_name_prefix="cluster")
        self._gpus = gpus
        self._cluster = starter.submit(start_cluster, workers, gpus)
        starter.shutdown(wait=False)

    @classmethod
    def of(cls, workers: int | None) -> MachineCluster:
        """A cluster of this many workers; by default one per GPU, or one, which may become more."""
        gpus = visible_gpus()
        return cls(workers or len(gpus) or 1, gpus)

    def connect(self, workers: int) -> Client:
        """Wait for the cluster, grow it to this many workers, and connect to it."""
        cluster = self._cluster.result()
        if len(cluster.worker_spec) < workers:
            cluster.scale(workers)
        with own_settings(can_fork(self._gpus)):
            return Client(cluster, set_as_default=False)

    def close(self) -> None:
        """End its processes, if it could be started."""
        if self._cluster.exception() is None:
            self._cluster.result().close()


def check_address(address: str, insecure: bool = False) -> None:
    """Raises RecipeError if an unencrypted connection would leave this machine: its port runs anyone's code."""
    parts = urlsplit(address)
    if parts.scheme not in ("tcp", "tls") or not parts.hostname or parts.port is None:
        raise RecipeError(
            f"{shown(address)} is no address of a Dask scheduler: write tcp://host:port or tls://host:port."
        )
    if parts.scheme == "tls" or insecure or os.environ.get(INSECURE) or _is_loopback(parts.hostname):
        return
    raise RecipeError(
        f"{shown(address)} is not encrypted and lies beyond this machine's loopback; anyone who reaches such a port "
        "can run code on every worker. Set up TLS (docs/operations/clusters.md) and use tls://, or, if you trust the "
        "whole network, "
        f"give --insecure (or set {INSECURE}=1)."
    )


def root_cause(error: BaseException) -> str:
    """Message of an error's first cause: Dask's own errors often say only that time ran out."""
    while cause := error.__cause__ or error.__context__:
        error = cause
    return str(error) or type(error).__name__


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
