"""The Dockerfile and compose.yaml agree with the package and with the work pools of setup-prefect."""

from __future__ import annotations

import re
import tomllib

import yaml

from imagemill.flows.prefect_server.work_pool import (
    ENVIRONMENT,
    IMAGE,
    MODELS_FOLDER,
    USER_ID,
    WORK_FOLDER,
)
from tests.conftest import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_the_image_has_the_user_folders_and_caches_that_work_pools_rely_on():
    assert re.search(rf"useradd --uid {USER_ID} ", DOCKERFILE)
    assert re.search(rf"^USER {USER_ID}\nWORKDIR {WORK_FOLDER}$", DOCKERFILE, re.MULTILINE)
    assert re.search(rf"install -d .* {WORK_FOLDER} {MODELS_FOLDER} ", DOCKERFILE)
    for name in ("HF_HOME", "XDG_CACHE_HOME"):
        assert f"{name}={ENVIRONMENT[name]}" in DOCKERFILE


def test_the_image_copies_every_folder_of_the_package_and_nothing_that_is_not_there():
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    folders = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-dir"].values()
    assert set(folders) <= set(copied)
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_compose_takes_every_password_and_token_from_the_environment():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    secrets = {
        name: value
        for service in services.values()
        for name, value in service["environment"].items()
        if re.search("PASSWORD|AUTH|TOKEN|CONNECTION_URL", name)
    }
    assert len(secrets) == 5
    assert [name for name, value in secrets.items() if "${" not in value] == []
    assert {services[name]["image"] for name in ("server", "worker")} == {IMAGE}
