"""Work pool of setup-prefect: processes on the worker's machine, Docker containers, or Kubernetes jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound
from prefect.workers.utilities import get_default_base_job_template_for_infrastructure_type

from imagemill.data.errors import ImagemillError
from imagemill.data.messages import shown

POOL = "gpu"
"""Name of the work pool."""

PoolType = Literal["process", "docker", "kubernetes"]

WORK_FOLDER, MODELS_FOLDER = "/work", "/models"
"""Working directory of a run in a container, and the folder of its models, which outlive the container."""

IMAGE, WORK_VOLUME, MODELS_VOLUME = "imagemill:latest", "imagemill-work", "imagemill-models"
"""Defaults of a new pool: the container image and the two volumes (on Kubernetes: claims)."""

SECRET = "imagemill"
"""Name of a Kubernetes secret, which may be absent, whose entries become a run's environment."""

USER_ID = 1000
"""User that runs in the image of the project's Dockerfile, and on Kubernetes the group that owns the volumes."""

ENVIRONMENT = {
    "HF_HOME": f"{MODELS_FOLDER}/huggingface",
    "XDG_CACHE_HOME": f"{MODELS_FOLDER}/cache",
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
}
"""Environment of a run in a container, unless the pool already says otherwise."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Type of the pool and, for containers, their settings. None: as the pool has it, or the default of a new one.

    ``gpus``: GPUs of one run; by default all on Docker, one on Kubernetes. ``work``, ``models``: Docker volumes or
    folders of the host, or Kubernetes claims.
    """

    type: PoolType = "process"
    image: str | None = None
    gpus: int | None = None
    work: str | None = None
    models: str | None = None

    @property
    def has_containers(self) -> bool:
        """True if runs have a separate file system."""
        return self.type != "process"


PROCESSES = Pool()
"""Runs are processes of the worker, on its machine."""


def make_pool(client: SyncPrefectClient, pool: Pool, runs_at_once: int) -> None:
    """Create the pool, or bring it up to date: changes made on the server stay, unless ``pool`` names it.

    Raises ImagemillError if the pool has another type, or if the server does not know the type.
    """
    try:
        there = client.read_work_pool(POOL)
    except ObjectNotFound:
        template = _with_settings(_default_template(pool.type), pool) if pool.has_containers else {}
        client.create_work_pool(
            WorkPoolCreate(name=POOL, type=pool.type, concurrency_limit=runs_at_once, base_job_template=template)
        )
        return
    if there.type != pool.type:
        keep = f"give --pool-type {there.type}" if there.type in get_args(PoolType) else "deploy to another pool"
        raise ImagemillError(
            f"the work pool {POOL!r} exists and is of type {shown(there.type)}, not {pool.type!r}: {keep}, or "
            f"delete it (`prefect work-pool delete {POOL}`) and call this again."
        )
    update = WorkPoolUpdate(concurrency_limit=runs_at_once)
    if pool.has_containers:
        update.base_job_template = _with_settings(there.base_job_template, pool)
    client.update_work_pool(POOL, update)


def _default_template(kind: PoolType) -> dict[str, Any]:
    template = asyncio.run(get_default_base_job_template_for_infrastructure_type(kind))
    if template is None:
        raise ImagemillError(
            f"the Prefect server knows no work pools of type {kind!r}: install Prefect's package for it here "
            f"(`pip install 'prefect[{kind}]'`), and call this again."
        )
    return template


def _with_settings(template: dict[str, Any], pool: Pool) -> dict[str, Any]:
    variables = template["variables"]["properties"]
    _set_default(variables, "image", pool.image, IMAGE)
    # Prefect would pull an image with the tag `latest` before every run, also one that was built here.
    _set_default(variables, "image_pull_policy", None, "IfNotPresent")
    variables["env"]["default"] = ENVIRONMENT | (variables["env"].get("default") or {})
    _ADJUST[pool.type](template, variables, pool)
    return template


def _adjust_docker(template: dict[str, Any], variables: dict[str, Any], pool: Pool) -> None:
    options = "container_create_kwargs"
    # The server's template may be older than the worker, which passes these to Docker.
    template["job_configuration"].setdefault(options, f"{{{{ {options} }}}}")
    variable = variables.setdefault(options, {"title": "Container Configuration", "type": "object"})
    chosen = variable.get("default") or {}
    if pool.gpus is not None or not chosen:
        count = -1 if pool.gpus is None else pool.gpus
        chosen = {name: value for name, value in chosen.items() if name != "device_requests"}
        if count:
            # Docker refuses a request for no GPU on a machine without any.
            chosen["device_requests"] = [{"count": count, "capabilities": [["gpu"]]}]
    # The first process of a container reaps what a killed worker leaves.
    variable["default"] = {"init": True, **chosen}

    volumes = variables["volumes"].get("default") or []
    volumes = _with_volume(volumes, WORK_FOLDER, pool.work, WORK_VOLUME)
    variables["volumes"]["default"] = _with_volume(volumes, MODELS_FOLDER, pool.models, MODELS_VOLUME)


def _with_volume(volumes: list[str], target: str, chosen: str | None, otherwise: str) -> list[str]:
    there = [volume for volume in volumes if volume.split(":")[1:2] == [target]]
    if there and chosen is None:
        return volumes
    return [*(volume for volume in volumes if volume not in there), f"{chosen or otherwise}:{target}"]


def _adjust_kubernetes(template: dict[str, Any], variables: dict[str, Any], pool: Pool) -> None:
    pod = template["job_configuration"]["job_manifest"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    for name, kind, title, chosen, otherwise in (
        ("gpus", "integer", "GPUs of one run", pool.gpus, 1),
        ("work", "string", f"Claim of the volume at {WORK_FOLDER}", pool.work, WORK_VOLUME),
        ("models", "string", f"Claim of the volume at {MODELS_FOLDER}", pool.models, MODELS_VOLUME),
    ):
        variables.setdefault(name, {"title": title, "type": kind})
        _set_default(variables, name, chosen, otherwise)
    container.setdefault("resources", {}).setdefault("limits", {})["nvidia.com/gpu"] = "{{ gpus }}"
    container.setdefault("envFrom", [{"secretRef": {"name": SECRET, "optional": True}}])
    container.setdefault(
        "volumeMounts",
        [{"name": "work", "mountPath": WORK_FOLDER}, {"name": "models", "mountPath": MODELS_FOLDER}],
    )
    pod.setdefault(
        "volumes",
        [{"name": name, "persistentVolumeClaim": {"claimName": f"{{{{ {name} }}}}"}} for name in ("work", "models")],
    )
    pod.setdefault("securityContext", {"runAsNonRoot": True, "fsGroup": USER_ID})


_ADJUST: dict[str, Callable[[dict[str, Any], dict[str, Any], Pool], None]] = {
    "docker": _adjust_docker,
    "kubernetes": _adjust_kubernetes,
}


def _set_default(variables: dict[str, Any], name: str, chosen: Any, otherwise: Any) -> None:
    there = variables[name].get("default")
    variables[name]["default"] = chosen if chosen is not None else otherwise if there is None else there
