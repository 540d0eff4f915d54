"""A server that is not ours: `transformers serve`, which has OpenAI's chat completions, on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import free_port

needs_serving = pytest.mark.skipif(
    find_spec("openai") is None, reason="transformers serve needs the package openai: pip install '.[serving]'"
)


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The address of a server of the model in a folder; it ends with the block."""
    port = free_port()
    command = [Path(sys.executable).parent / "transformers", "serve", model, "--device", "cpu"]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if "Uvicorn running" in line:
                break
        else:
            pytest.fail(f"transformers serve ended: {''.join(said)[-2000:]}")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        process.communicate(timeout=30)
