"""Commands for a cluster of several machines: `imagemill scheduler` and `imagemill worker`."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from cyclopts import App, Parameter, validators

Insecure = Annotated[
    bool,
    Parameter(
        env_var="IMAGEMILL_INSECURE",
        help="Allow unencrypted connections beyond this machine: anyone who reaches the port can run code.",
    ),
]
Gpus = Annotated[str | None, Parameter(help="Use only these GPUs: indices or UUIDs, separated by commas.")]

emit = partial(print, flush=True)


def add_commands(app: App) -> None:
    """Register both commands."""
    app.command(scheduler)
    app.command(worker)


def check_cluster(address: str | None, gpus: str | None = None) -> None:
    """Validate --cluster and --gpus before Prefect starts. Raises RecipeError."""
    if address is not None:
        from imagemill.tasks.runner.cluster import check_address

        check_address(address)
    if gpus is not None:
        from imagemill.tasks.runner.gpus import choose_gpus

        choose_gpus(gpus)


def scheduler(
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, Parameter(validator=validators.Number(gte=0, lte=65535), help="Port to listen on; 0: any free one.")
    ] = 8786,
    insecure: Insecure = False,
) -> int:
    """Run the scheduler of a cluster of several machines until interrupted.

    Workers and builds find each other through it. It uses TLS if Dask's settings name certificates; see
    docs/operations/clusters.md. Exits with 0 once it is stopped, 2 for an address that is not allowed.
    """
    from imagemill.tasks.runner.cluster_service import serve_scheduler

    serve_scheduler(host, port, insecure, emit)
    return 0


def worker(
    address: Annotated[str, Parameter(help="Address of the scheduler: tls://host:8786, or tcp://127.0.0.1:8786.")],
    /,
    *,
    gpus: Gpus = None,
    workers: Annotated[
        int | None,
        Parameter(validator=validators.Number(gte=1), help="Worker processes. By default one per GPU, or one."),
    ] = None,
    host: Annotated[
        str | None, Parameter(help="Address to listen on. By default the one facing the scheduler.")
    ] = None,
    insecure: Insecure = False,
    timeout: Annotated[
        float, Parameter(validator=validators.Number(gt=0), help="Seconds without a scheduler before giving up.")
    ] = 600.0,
) -> int:
    """Run this machine's workers for a scheduler until interrupted.

    Models stay loaded from build to build; see docs/operations/clusters.md. Exits with 0 once it is stopped, 1 if it
    finds no scheduler, 2 for an address that is not allowed.
    """
    from imagemill.tasks.runner.cluster_service import serve_workers
    from imagemill.tasks.runner.gpus import choose_gpus

    if gpus is not None:
        choose_gpus(gpus)
    serve_workers(address, workers, host, insecure, timeout, emit)
    return 0
