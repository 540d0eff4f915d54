"""Services of a cluster: `imagemill scheduler` and `imagemill worker`, which run until interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from distributed import Nanny, Security
from distributed.comm import connect, get_address_host, unparse_host_port
from distributed.utils import get_ip

from imagemill.data.errors import BuildFailed
from imagemill.tasks.runner.cluster import check_address, prepare_workers, root_cause, worker_options
from imagemill.tasks.runner.dask_servers import PlainScheduler
from imagemill.tasks.runner.dask_settings import service_settings
from imagemill.tasks.runner.gpus import visible_gpus

Emit = Callable[[str], None]

CONNECT_TIMEOUT_S = 5.0
"""Seconds within which a scheduler must answer, before a worker reports it as unreachable and tries again."""

REGISTER_DELAY_S = 1.0
"""Seconds before a worker that could not register with the scheduler tries again."""

RECONNECT_DELAY_S = 0.5
"""Seconds before a worker that has lost its scheduler looks for it."""


def serve_scheduler(host: str, port: int, insecure: bool, emit: Emit) -> None:
    """Run a scheduler until SIGINT or SIGTERM, with TLS if Dask's settings name certificates.

    Raises RecipeError if unencrypted traffic would leave this machine, BuildFailed if the port is not available.
    """
    security = Security()
    protocol = "tls" if security.tls_scheduler_cert else "tcp"
    check_address(f"{protocol}://{host}:{port}", insecure)

    async def run(stop: asyncio.Event) -> None:
        try:
            scheduler = await PlainScheduler(
                host=host, port=port, protocol=protocol, security=security, dashboard=False
            )
        except OSError as error:
            raise BuildFailed(f"cannot listen on {host}:{port}: {error.strerror or error}.") from error
        emit(f"scheduler at {scheduler.address}")
        await stop.wait()
        await scheduler.close()

    with service_settings(forks=False):
        asyncio.run(_until_signal(run))


def serve_workers(
    address: str, workers: int | None, host: str | None, insecure: bool, timeout_s: float, emit: Emit
) -> None:
    """Run this machine's workers, by default one per GPU, until SIGINT or SIGTERM.

    A worker that loses its scheduler reconnects. Raises BuildFailed after ``timeout_s`` without a scheduler, and
    RecipeError if unencrypted traffic would leave this machine.

    ``host``: where workers listen; by default the address that faces the scheduler.
    """
    check_address(address, insecure)
    if host is not None:
        check_address(f"{urlsplit(address).scheme}://{unparse_host_port(host, 0)}", insecure)
    gpus = visible_gpus()
    count = workers or len(gpus) or 1
    forks = prepare_workers(gpus)

    async def run(stop: asyncio.Event) -> None:
        supervisors = [
            asyncio.create_task(_supervise(number, address, worker_options(number, count, gpus), host, timeout_s, emit))
            for number in range(count)
        ]
        stopped = asyncio.create_task(stop.wait())
        done, _ = await asyncio.wait([stopped, *supervisors], return_when=asyncio.FIRST_COMPLETED)
        for supervisor in supervisors:
            supervisor.cancel()
        await asyncio.gather(*supervisors, return_exceptions=True)
        for ended in done - {stopped}:
            ended.result()

    with service_settings(forks):
        asyncio.run(_until_signal(run))


async def _supervise(
    number: int, address: str, options: dict[str, Any], host: str | None, timeout_s: float, emit: Emit
) -> None:
    """Run one worker, and restart it whenever it has lost its scheduler."""
    loop = asyncio.get_running_loop()
    # The scheduler takes a name once, and one machine may run this command several times, as with --gpus.
    name = "-".join([socket.gethostname(), *([host] if host else ()), str(os.getpid()), str(number)])
    last_seen, reported = loop.time(), ""
    while loop.time() - last_seen < timeout_s:
        # A Nanny would wait for it as long, without a message.
        if reason := await _connection_error(address):
            if reason != reported:
                emit(f"worker {name} looks for the scheduler at {address}: {reason}")
            reported = reason
            continue
        # Without a host, a worker would listen on all of this machine's addresses.
        facing = host or get_ip(get_address_host(address))
        nanny = Nanny(address, name=name, host=facing, security=Security(), death_timeout=timeout_s, **options)
        try:
            await nanny
        except (OSError, TimeoutError, RuntimeError):
            # The scheduler is gone, or still takes the previous worker of this name for alive.
            await nanny.close()
            await asyncio.sleep(REGISTER_DELAY_S)
            continue
        emit(f"worker {name} at {nanny.worker_address}")
        try:
            await nanny.finished()
        finally:
            await nanny.close()
        last_seen, reported = loop.time(), ""
        emit(f"worker {name} has lost its scheduler, and looks for it")
        await asyncio.sleep(RECONNECT_DELAY_S)
    raise BuildFailed(f"no scheduler at {address} for {timeout_s:g} s{reported and f' ({reported})'}.")


async def _connection_error(address: str) -> str | None:
    """Why no scheduler answers; None if one does."""
    try:
        comm = await connect(address, timeout=CONNECT_TIMEOUT_S, **Security().get_connection_args("worker"))
    except OSError as error:
        return root_cause(error)
    comm.abort()
    return None


async def _until_signal(run: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop.set)
    await run(stop)
