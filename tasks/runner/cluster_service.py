"""A scheduler, and a machine's workers, that run until told to stop: `imagemill scheduler`, `imagemill worker`."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

from distributed import Nanny, Scheduler, Security
from distributed.comm import connect

from imagemill.data.errors import BuildFailed
from imagemill.tasks.runner.cluster import check_address, prepare_workers, quiet_workers, root_cause, worker_options
from imagemill.tasks.runner.gpus import visible_gpus

Emit = Callable[[str], None]

REACH_SECONDS = 5
"""Seconds in which a scheduler must answer, before the worker says that none does and tries again."""


def serve_scheduler(host: str, port: int, insecure: bool, say: Emit) -> None:
    """Run a scheduler until SIGINT or SIGTERM. Speaks TLS where Dask's settings have certificates.

    Raises RecipeError where clear text would leave this machine, BuildFailed where the port cannot be had.
    """
    security = Security()
    protocol = "tls" if security.tls_scheduler_cert else "tcp"
    check_address(f"{protocol}://{host}:{port}", insecure)

    async def run(stop: asyncio.Event) -> None:
        try:
            scheduler = await Scheduler(
                host=host, port=port, protocol=protocol, security=security, dashboard_address=f"{host}:0"
            )
        except OSError as error:
            raise BuildFailed(f"cannot listen on {host}:{port}: {error.strerror or error}.") from error
        say(f"scheduler at {scheduler.address}")
        await stop.wait()
        await scheduler.close()

    asyncio.run(_until_told(run))


def serve_workers(
    address: str, workers: int | None, host: str | None, insecure: bool, timeout_s: float, say: Emit
) -> None:
    """Run this machine's workers, by default one per GPU, until SIGINT or SIGTERM.

    A worker that loses its scheduler comes back to it; after ``patience`` seconds without one this raises BuildFailed.
    Raises RecipeError where clear text would leave this machine.
    """
    check_address(address, insecure)
    gpus = visible_gpus()
    count = workers or len(gpus) or 1
    prepare_workers(gpus)

    async def run(stop: asyncio.Event) -> None:
        keepers = [
            asyncio.create_task(_keep(number, address, worker_options(number, count, gpus, host), timeout_s, say))
            for number in range(count)
        ]
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *keepers], return_when=asyncio.FIRST_COMPLETED)
        for keeper in keepers:
            keeper.cancel()
        await asyncio.gather(*keepers, return_exceptions=True)
        for ended in done - {stopped}:
            ended.result()

    with quiet_workers():
        asyncio.run(_until_told(run))


async def _keep(number: int, address: str, options: dict[str, Any], timeout_s: float, say: Emit) -> None:
    """One worker, started again whenever it has lost its scheduler."""
    loop = asyncio.get_running_loop()
    name = f"{socket.gethostname()}-{options['host'] or ''}-{number}".replace("--", "-")
    last_seen, told = loop.time(), ""
    while loop.time() - last_seen < timeout_s:
        # A Nanny would look for it for as long, and say nothing.
        if why := await _out_of_reach(address):
            if why != told:
                say(f"worker {name} looks for the scheduler at {address}: {why}")
            told = why
            continue
        nanny = Nanny(address, name=name, security=Security(), death_timeout=timeout_s, **options)
        try:
            await nanny
        except (OSError, TimeoutError, RuntimeError):
            # No scheduler there any more; or it still believes the last worker of this name alive.
            await nanny.close()
            await asyncio.sleep(1)
            continue
        say(f"worker {name} at {nanny.worker_address}")
        try:
            await nanny.finished()
        finally:
            await nanny.close()
        last_seen, told = loop.time(), ""
        say(f"worker {name} has lost its scheduler, and looks for it")
        await asyncio.sleep(0.5)
    raise BuildFailed(f"no scheduler at {address} for {timeout_s:g} s{told and f' ({told})'}.")


async def _out_of_reach(address: str) -> str | None:
    """Why no scheduler answers, or None where one does."""
    try:
        comm = await connect(address, timeout=REACH_SECONDS, **Security().get_connection_args("worker"))
    except OSError as error:
        return root_cause(error)
    comm.abort()
    return None


async def _until_told(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    await run(stop)
