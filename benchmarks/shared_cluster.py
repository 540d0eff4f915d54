"""A cluster that several processes use one after the other, as tests and benchmarks do."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dask import config
from distributed import Security, SpecCluster


@contextmanager
def shared_cluster(workers: int) -> Iterator[str]:
    """A running cluster's address. Meanwhile this process and those that it starts may connect."""
    from imagemill.tasks.runner.cluster import start_cluster

    with start_cluster(workers, []) as cluster, may_connect(cluster):
        yield cluster.scheduler_address


@contextmanager
def may_connect(cluster: SpecCluster) -> Iterator[dict[str, str]]:
    """Dask's settings name the cluster's certificate meanwhile, here and in the environment of child processes.

    Yields what was added to the environment.
    """
    with tempfile.TemporaryDirectory(prefix="imagemill-certificate-") as folder:
        settings = _write_certificate(cluster.security, Path(folder))
        environment = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": settings[key] for key in settings}
        before = {name: os.environ.get(name) for name in environment}
        os.environ |= environment
        try:
            with config.set(settings):
                yield environment
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _write_certificate(security: Security, folder: Path) -> dict[str, str]:
    files = {"ca-file": "tls_ca_file", "client.cert": "tls_client_cert", "client.key": "tls_client_key"}
    settings = {}
    for key, attribute in files.items():
        path = folder / f"{attribute}.pem"
        path.touch(mode=0o600)
        path.write_text(getattr(security, attribute))
        settings[f"distributed.comm.tls.{key}"] = str(path)
    return settings
