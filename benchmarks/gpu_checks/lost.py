"""A device that hangs or breaks: does the process end in time, with the reason left behind?"""

from __future__ import annotations

import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_checks.check import Answer, Setup, child, draw_images, needs_gpu, spec_of, yes_or_no
from benchmarks.stand_in import StandIn

LIMIT_S = 5.0
EXIT = 7


class Hanging(StandIn):
    """Fails while a kernel runs that does not end."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> Any:
        """Raises RuntimeError."""
        torch.cuda._sleep(10**15)
        raise RuntimeError("an error that names no lost device")


class Broken(StandIn):
    """Has an assertion fail in a kernel, after which every call in the process fails."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> Any:
        """Raises RuntimeError."""
        torch._assert_async(torch.zeros((), device="cuda"))
        torch.cuda.synchronize()


def make_hanging(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Hanging()


def make_broken(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Broken()


def run(setup: Setup) -> Iterator[Answer]:
    """Each in a process that is expected to end by itself."""
    question = "A device that hangs after an error ends the process within the time of a batch?"
    if answer := needs_gpu(setup, question):
        yield answer
        return
    for kind, asked, expected in (
        ("hanging", question, 1),
        ("broken", "A failed assertion in a kernel ends the process as a lost device?", EXIT),
    ):
        started = time.monotonic()
        pipeline = f"benchmarks.gpu_checks.lost:make_{kind}"
        code, said = child(setup, "lost", str(setup.models[0]), timeout=LIMIT_S + 30, IMAGEMILL_PIPELINE=pipeline)
        yield yes_or_no(asked, code == expected, exit_code=code, process_s=time.monotonic() - started, said=said)


def main() -> None:
    """Generate one image; exit with EXIT if the device is lost."""
    from imagemill.models.loading.load_errors import DeviceLost

    torch.zeros(1, device="cuda")
    with tempfile.TemporaryDirectory() as folder:
        setup = Setup((Path(sys.argv[1]),), Path(folder), tiny=True)
        try:
            draw_images(setup, spec_of(setup.models[0]), 1, batch_timeout=LIMIT_S)
        except DeviceLost:
            sys.exit(EXIT)
        except Exception:  # noqa: BLE001 - whatever it is, the parent reports it
            # Not 1, with which the watchdog ends a process.
            traceback.print_exc()
            sys.exit(9)


if __name__ == "__main__":
    main()
