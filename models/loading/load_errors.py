"""Classification of errors: out of memory, a device that this process has lost, or a model that cannot be loaded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from httpx2 import TransportError

from imagemill.data.errors import ImagemillError, RecipeError, one_line
from imagemill.data.messages import shown, shown_path
from imagemill.models.catalog.spec import ModelSpec

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

ANSWER_TIMEOUT_S = 300.0
"""Wait for a device after an error; one that has not finished its queued work within the limit hangs."""


class DeviceLost(Exception):
    """The device is lost to this process, which must be replaced: retrying in it cannot help."""


def is_out_of_memory(error: BaseException) -> bool:
    """True if a smaller batch might fit."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in OUT_OF_MEMORY)


def is_sticky(error: BaseException) -> bool:
    """True if this process has lost its device: a CUDA error that stays, or a device that is gone, or hangs.

    Waits for the device, at most ANSWER_TIMEOUT_S: in a batch, ask within the batch's time limit.
    """
    if isinstance(error, DeviceLost):
        return True
    if not isinstance(error, RuntimeError):
        return False
    return any(words in str(error) for words in STICKY) or not _answers()


def _answers() -> bool:
    # Whatever the error said: a device that cannot synchronize is lost.
    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return True
    found: list[bool] = []

    def ask() -> None:
        try:
            torch.cuda.synchronize()
        except RuntimeError as error:
            found.append(is_out_of_memory(error))
        else:
            found.append(True)

    # In a thread: behind a kernel that hangs the call never returns, and cannot be stopped.
    asking = threading.Thread(target=ask, daemon=True, name="synchronize")
    asking.start()
    asking.join(ANSWER_TIMEOUT_S)
    return found == [True]


@contextmanager
def load_errors(spec: ModelSpec, location: str | None = None) -> Iterator[None]:
    """Raise RecipeError, in one sentence, for whatever fails in the block, which loads the model or a part of it.

    ``location``: of the files that are loaded; by default the model's own. A device that is full or lost, and a network
    that breaks off, are no fault of the model or the recipe: those errors are raised as they are.
    """
    try:
        yield
    except (ImagemillError, DeviceLost, TransportError):
        raise
    except Exception as error:
        if is_out_of_memory(error) or is_sticky(error):
            raise
        raise RecipeError(_sentence(spec, location or spec.source.location, error)) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message, cut; its class where the line is empty, or only a name."""
    lines = str(error).strip().splitlines()
    # A line that ends with a colon only announces the next one.
    line = one_line(" ".join(lines[:2] if lines and lines[0].rstrip().endswith(":") else lines[:1])).rstrip(" .:")
    kind = type(error).__name__
    return f"{kind}: {line}" if isinstance(error, LookupError | AttributeError | TypeError) else line or kind


def _sentence(spec: ModelSpec, location: str, error: Exception) -> str:
    if "trust_remote_code" in str(error):
        return (
            f"the model {shown(spec.name)} cannot be loaded from {shown_path(location)}: it comes with code, which "
            "asks for trust_remote_code, and imagemill never gives that. Take a model whose parts are classes of "
            "diffusers and transformers."
        )
    if isinstance(error, ImportError):
        return f"the model {shown(spec.name)} needs a package that is not installed: {one_line(error)}"
    return f"the model {shown(spec.name)} cannot be loaded from {shown_path(location)}: {first_line(error)}."
