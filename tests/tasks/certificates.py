"""Certificates for Dask, made with the commands of docs/operations/clusters.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from tests.conftest import ROOT


def make_certificates(folder: Path) -> Path:
    """Create an authority and a certificate in a new folder."""
    commands = re.search(r"```sh\n(openssl.*?)```", (ROOT / "docs/operations/clusters.md").read_text(), re.DOTALL)[1]
    folder.mkdir()
    done = subprocess.run(["bash", "-ec", commands], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def tls_settings(folder: Path) -> dict[str, str]:
    """The environment in which Dask uses TLS with the certificates in a folder."""
    settings = {"DASK_DISTRIBUTED__COMM__TLS__CA_FILE": str(folder / "ca.pem")}
    for role in ("SCHEDULER", "WORKER", "CLIENT"):
        settings[f"DASK_DISTRIBUTED__COMM__TLS__{role}__CERT"] = str(folder / "cert.pem")
        settings[f"DASK_DISTRIBUTED__COMM__TLS__{role}__KEY"] = str(folder / "key.pem")
    return settings
