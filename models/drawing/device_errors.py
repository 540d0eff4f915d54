"""Classification of device errors: out of memory, or a device that this process has lost."""

from __future__ import annotations

import faulthandler
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from imagemill.models.drawing.watchdog import watching

STICKY = (
    "illegal memory access",
    "illegal instruction",
    "device-side assert",
    "misaligned address",
    "invalid program counter",
    "unspecified launch failure",
    "hardware stack error",
    "uncorrectable ECC",
    "uncorrectable NVLink",
    "launch timed out",
    "device is lost",
    "fallen off the bus",
    "CUDA error: unknown error",
    "HIP error: unknown error",
)
"""Texts of errors after which every further call in the process fails (CUDA's runtime API, "Error types")."""

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED")
"""Texts of those that torch does not raise as OutOfMemoryError: of the CPU's allocator, Apple's, cuBLAS."""


class DeviceLost(Exception):
    """The device is lost to this process, which must be replaced: retrying in it cannot help."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a smaller batch might fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def is_sticky(error: BaseException) -> bool:
    """Whether this process has lost its device: a CUDA error that stays, or a device that is gone."""
    if isinstance(error, DeviceLost):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return any(words in str(error) for words in STICKY) or not _answers()


def _answers() -> bool:
    # Whatever the error said: a device that cannot synchronize is lost.
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError as error:
        return is_out_of_memory(error)
    return True


@contextmanager
def time_limit(seconds: float, on_lost: Callable[[str], None]) -> Iterator[None]:
    """End this process when the block takes longer, after ``on_lost(reason)``: a call that hangs cannot be stopped."""

    def end() -> None:
        on_lost(f"a batch took longer than recipe.batch_timeout, {seconds:g} s")
        os._exit(1)

    # A call that holds Python's global lock keeps the watchdog from running, but not this.
    faulthandler.dump_traceback_later(seconds + 5, exit=True, file=sys.__stderr__)
    try:
        with watching(seconds, end):
            yield
    finally:
        faulthandler.cancel_dump_traceback_later()
