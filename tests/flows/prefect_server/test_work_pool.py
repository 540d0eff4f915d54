"""Work pools of `imagemill setup-prefect` for runs in containers, on a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from prefect.workers.base import BaseJobConfiguration
from pydantic import ConfigDict

from tests.commands import Ask, Run

DEPLOYED = {"from-prompts", "text-to-image", "image-edit", "generate-and-edit", "nightly", "verify-weekly"}


class Job(BaseJobConfiguration):
    """What a worker of any type makes of a pool's template for one run."""

    model_config = ConfigDict(extra="allow")


def job_of(pool: dict[str, Any], **variables: Any) -> dict[str, Any]:
    return asyncio.run(Job.from_template_and_values(pool["base_job_template"], variables)).model_dump()


@pytest.fixture(autouse=True)
def no_pool(server: str) -> Iterator[None]:
    """No work pool is there before and after a test: others want one of type process."""
    _delete_pool()
    yield
    _delete_pool()


def _delete_pool() -> None:
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client, suppress(ObjectNotFound):
        client.delete_work_pool("gpu")


def make(**options: Any) -> None:
    from prefect.client.orchestration import get_client

    from imagemill.flows.prefect_server.work_pool import Pool, make_pool

    with get_client(sync_client=True) as client:
        make_pool(client, Pool(**options), runs_at_once=1)


def test_setup_prefect_for_docker_deploys_runs_in_containers_with_all_gpus_and_lasting_folders(
    imagemill: Run, ask: Ask
):
    code, text = imagemill("setup-prefect", "--pool-type", "docker", "--image", "registry.internal/imagemill:1")
    assert code == 0, text
    pool = ask("/work_pools/gpu")
    deployments = ask("/deployments/filter", {})
    assert (pool["type"], {deployment["name"] for deployment in deployments}) == ("docker", DEPLOYED)
    for deployment in deployments:
        assert deployment["entrypoint"].startswith("imagemill.flows.")
        assert deployment["pull_steps"] == [{"prefect.deployments.steps.set_working_directory": {"directory": "/work"}}]
        job = job_of(pool, **deployment["job_variables"])
        assert job["image"] == "registry.internal/imagemill:1"
        assert job["volumes"] == ["imagemill-work:/work", "imagemill-models:/models"]
        assert job["env"]["HF_HOME"] == "/models/huggingface"
        assert job["env"]["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
        assert job["container_create_kwargs"]["device_requests"] == [{"count": -1, "capabilities": [["gpu"]]}]


def test_a_docker_run_without_gpus_requests_no_device(ask: Ask):
    make(type="docker", gpus=0)
    assert job_of(ask("/work_pools/gpu"))["container_create_kwargs"] == {"init": True}


def test_a_kubernetes_job_has_its_gpus_claims_secret_and_environment(ask: Ask):
    make(type="kubernetes", image="registry.internal/imagemill:1", gpus=2, work="team-work")
    pool = ask("/work_pools/gpu")
    job = job_of(pool)
    pod = job["job_manifest"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    assert container["image"] == "registry.internal/imagemill:1"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    claims = {volume["name"]: volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"]}
    mounted = {mount["mountPath"]: claims[mount["name"]] for mount in container["volumeMounts"]}
    assert mounted == {"/work": "team-work", "/models": "imagemill-models"}
    assert container["envFrom"] == [{"secretRef": {"name": "imagemill", "optional": True}}]
    assert job["env"]["HF_HOME"] == "/models/huggingface"
    larger = job_of(pool, gpus=8)["job_manifest"]["spec"]["template"]["spec"]["containers"][0]
    assert larger["resources"]["limits"]["nvidia.com/gpu"] == 8


@pytest.mark.parametrize("kind", ["docker", "kubernetes"])
def test_what_was_changed_on_the_server_stays_when_setup_prefect_is_called_again(kind: str, ask: Ask):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolUpdate

    make(type=kind, image="registry.internal/imagemill:1", gpus=2, work="team-work")
    template = ask("/work_pools/gpu")["base_job_template"]
    template["variables"]["properties"]["env"]["default"] |= {"HF_HOME": "/models/hub", "TEAM": "images"}
    with get_client(sync_client=True) as client:
        client.update_work_pool("gpu", WorkPoolUpdate(base_job_template=template))
    make(type=kind)
    assert ask("/work_pools/gpu")["base_job_template"] == template
    make(type=kind, models="team-models")
    assert "team-models" in str(job_of(ask("/work_pools/gpu")))


@pytest.mark.parametrize(
    ("there", "wanted", "remedy"),
    [("process", "docker", "give --pool-type process"), ("ecs", "process", "deploy to another pool")],
)
def test_a_pool_of_another_type_is_refused_in_one_sentence(
    there: str, wanted: str, remedy: str, imagemill: Run, server: str
):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="gpu", type=there))
    code, text = imagemill("setup-prefect", "--pool-type", wanted)
    assert code == 1
    assert text == (
        f"imagemill: the work pool 'gpu' exists and is of type '{there}', not '{wanted}': {remedy}, or delete it "
        "(`prefect work-pool delete gpu`) and call this again.\n"
    )


def test_settings_of_containers_are_refused_for_processes(imagemill: Run):
    code, text = imagemill("setup-prefect", "--image", "imagemill:1")
    assert code == 2
    assert text == "imagemill: --image is for runs in containers: give --pool-type docker or kubernetes too.\n"
