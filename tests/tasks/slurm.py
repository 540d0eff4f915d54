"""Temporary SLURM cluster of one node, this machine, with GPUs that SLURM only counts."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import free_port, wait_until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "sinfo")

SETTINGS = """
ClusterName=imagemill
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
GresTypes=gpu
# More CPUs than the machine may have, so that several jobs find a place.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=8 RealMemory={memory} Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@contextmanager
def running_slurm() -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands reach the cluster. Skips the test if SLURM is not installed."""
    if missing := [name for name in PROGRAMS if _program(name) is None]:
        pytest.skip(f"needs {', '.join(missing)} (Debian: apt-get install slurm-wlm munge)")
    # A short path: the name of a socket may have 107 characters.
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    # Munge wants its socket within the reach of every user.
    folder.chmod(0o711)
    names = {
        "folder": folder,
        "user": getpass.getuser(),
        "host": socket.gethostname().partition(".")[0],
        "controller_port": free_port(),
        "node_port": free_port(),
        "memory": psutil.virtual_memory().total >> 20,
    }
    (folder / "slurm.conf").write_text(SETTINGS.format(**names))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/null\nName=gpu File=/dev/zero\n")
    (folder / "munge.key").write_bytes(os.urandom(128))
    (folder / "munge.key").chmod(0o600)
    for name in ("state", "spool"):
        (folder / name).mkdir()
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "seed", "log")]
    try:
        with ExitStack() as daemons:
            running = [
                daemons.enter_context(_running(command, folder, environment))
                for command in (
                    ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *munge],
                    ["slurmctld", "-D", "-f", str(folder / "slurm.conf")],
                    ["slurmd", "-D", "-f", str(folder / "slurm.conf")],
                )
            ]

            def is_ready() -> bool:
                for process in running:
                    assert process.poll() is None, _log(process, folder)
                idle = [_program("sinfo"), "--noheader", "--states=idle", "--format=%D"]
                return subprocess.run(idle, env=environment, capture_output=True, check=False).stdout.strip() == b"1"

            wait_until(is_ready, "SLURM's node")
            try:
                yield environment
            finally:
                subprocess.run([_program("scancel"), f"--user={names['user']}"], env=environment, check=True)
                wait_until(lambda: not _job_processes(folder), "the end of all jobs' processes")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _running(command: list[str], folder: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen]:
    with (folder / f"{command[0]}.out").open("wb") as log:
        process = subprocess.Popen(
            [_program(command[0]), *command[1:]], stdout=log, stderr=log, cwd=folder, env=environment
        )
    try:
        yield process
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(30)
        process.kill()
        process.wait()


def _job_processes(folder: Path) -> list[psutil.Process]:
    """The processes of this cluster's jobs: SLURM counts a job as ended before its processes are."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            variables = process.environ()
            if "SLURM_JOB_ID" in variables and variables.get("SLURM_CONF") == str(folder / "slurm.conf"):
                found.append(process)
    return found


def _log(process: subprocess.Popen, folder: Path) -> str:
    return (folder / f"{Path(process.args[0]).name}.out").read_text()


def _program(name: str) -> str | None:
    """Path of a program, which Debian may keep off a user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin")
