"""`imagemill setup-prefect`: a Prefect server made ready for builds."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter, validators

from imagemill.data.errors import RecipeError


def add_commands(app: App) -> None:
    """Register the command."""
    app.command(setup_prefect, name="setup-prefect")


def setup_prefect(
    *,
    runs_at_once: Annotated[
        int, Parameter(validator=validators.Number(gte=1), help="Concurrent runs of the work pool.")
    ] = 1,
    silent_seconds: Annotated[
        int,
        Parameter(
            validator=validators.Number(gte=10),
            help="Seconds without a heartbeat after which a run counts as crashed. Heartbeats come every 30 s.",
        ),
    ] = 90,
    pool_type: Annotated[
        Literal["process", "docker", "kubernetes"],
        Parameter(help="Type of the work pool: runs are processes of the worker, or containers."),
    ] = "process",
    image: Annotated[str | None, Parameter(help="Container image; for a new pool 'imagemill:latest'.")] = None,
    gpus: Annotated[
        int | None,
        Parameter(
            validator=validators.Number(gte=0),
            help="GPUs of a run in a container; for a new pool all with Docker, one on Kubernetes.",
        ),
    ] = None,
    work: Annotated[
        str | None,
        Parameter(
            help="Storage of a container's working directory: a Docker volume or a folder, or a Kubernetes claim; for "
            "a new pool 'imagemill-work'."
        ),
    ] = None,
    models: Annotated[
        str | None, Parameter(help="Storage of downloaded models, likewise; for a new pool 'imagemill-models'.")
    ] = None,
) -> int:
    """Set up a Prefect server: work pool, deployments of prefect.yaml, and automations that restart crashed builds.

    Not interactive; can be called again at any time. The server is the one that PREFECT_API_URL names. Exits with 0
    when the server is ready, 1 when it is not, 2 for options that do not fit.
    """
    options = {"image": image, "gpus": gpus, "work": work, "models": models}
    if pool_type == "process" and (named := [f"--{name}" for name, value in options.items() if value is not None]):
        raise RecipeError(f"{named[0]} is for runs in containers: give --pool-type docker or kubernetes too.")
    from imagemill.flows.cli.build_command import quiet_prefect

    quiet_prefect()
    from imagemill.flows.prefect_server.setup import set_up
    from imagemill.flows.prefect_server.work_pool import Pool

    set_up(runs_at_once, silent_seconds, Pool(pool_type, **options))
    return 0
