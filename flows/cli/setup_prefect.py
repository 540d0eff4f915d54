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
        int, Parameter(validator=validators.Number(gte=1), help="Concurrent runs in the work pool.")
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
        Parameter(help="Where runs work: processes of the worker, or containers of an image with imagemill."),
    ] = "process",
    image: Annotated[str | None, Parameter(help="Container image; at first 'imagemill:latest'.")] = None,
    gpus: Annotated[
        int | None,
        Parameter(
            validator=validators.Number(gte=0),
            help="GPUs of a run in a container; at first all with Docker, one on Kubernetes.",
        ),
    ] = None,
    work: Annotated[
        str | None,
        Parameter(
            help="Where a container's working directory is kept: a Docker volume or a folder, or a Kubernetes claim; "
            "at first 'imagemill-work'."
        ),
    ] = None,
    models: Annotated[
        str | None, Parameter(help="The same for the models that it downloads; at first 'imagemill-models'.")
    ] = None,
) -> int:
    """Set up a Prefect server: work pool, deployments of prefect.yaml, and automations that restart crashed builds.

    Not interactive; can be called again at any time. The server is the one that PREFECT_API_URL names.
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
