"""`imagemill build` in a process that runs until it is allowed to finish, or is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import wait_until
from tests.tasks.ports import Port, listening_ports

WORKERS = 2


class RunningBuild:
    """`imagemill build` with a Prefect server and a cluster of its own, whose workers wait."""

    def __init__(self, folder: Path, fields: dict, empty_home: Path, temporary: Path | None = None) -> None:
        self._hold, self.log, self.output = folder / "hold", folder / "log", folder / "out"
        self.temporary = temporary or folder / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._hold.touch()
        (folder / "recipe.yaml").write_text(yaml.safe_dump(fields))
        environment = {
            **os.environ,
            "PREFECT_HOME": str(shutil.copytree(empty_home, folder / "home")),
            "IMAGEMILL_PIPELINE": "tests.models.held:held",
            "IMAGEMILL_HOLD": str(self._hold),
            "HF_TOKEN": "hf_secret",
            "TMPDIR": str(self.temporary),
        }
        environment.pop("PREFECT_API_URL", None)
        command = [sys.executable, "-m", "imagemill", "build", str(folder / "recipe.yaml"), "--workers", str(WORKERS)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=log, cwd=folder, start_new_session=True
            )
        try:
            wait_until(self._is_listening, "the ports of the cluster and of Prefect's server")
        except BaseException:
            self.kill()
            raise

    def _is_listening(self) -> bool:
        ports = self.ports()
        # A scheduler; a nanny and a worker for each worker process.
        return len(ports) > len([port for port in ports if not port.is_prefects]) == 1 + 2 * WORKERS

    def ports(self) -> list[Port]:
        assert self.process.poll() is None, self.log.read_text()
        return listening_ports(self.process.pid)

    def dask_ports(self) -> list[Port]:
        return [port for port in self.ports() if not port.is_prefects]

    def finish(self) -> int:
        self._hold.unlink(missing_ok=True)
        return self.process.wait(300)

    def leftovers(self) -> list[str]:
        """What lies in its temporary folder, but torch's cache, which all builds share."""
        return [path.name for path in self.temporary.iterdir() if not path.name.startswith("torchinductor")]

    def kill(self, group: bool = False) -> None:
        """Kill it, alone or with all processes that it started."""
        if self.process.poll() is None:
            (os.killpg if group else os.kill)(self.process.pid, signal.SIGKILL)
        self.process.wait()
