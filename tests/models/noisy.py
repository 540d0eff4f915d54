"""A pipeline for IMAGEMILL_PIPELINE that makes noise in every way that a library can, in each call."""

from __future__ import annotations

import ctypes
import logging
import os
import subprocess
import sys
import warnings
from types import SimpleNamespace
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.stand_in import StandIn

MARK = "NOISE-OF-A-LIBRARY"
"""In all that it prints."""

LOGGERS = ("diffusers.pipelines", "transformers", "accelerate", "huggingface_hub", "PIL.Image", "unknown.library")


class Noisy(StandIn):
    """The stand-in, noisily."""

    def __call__(
        self, prompt: list[str], generator: list[torch.Generator], width: int, height: int, output_type: str
    ) -> SimpleNamespace:
        for name in LOGGERS:
            logging.getLogger(name).warning("%s in a log", MARK)
            logging.getLogger(name).error("%s in a log", MARK)
        warnings.warn(f"{MARK} {prompt[0]}", FutureWarning, stacklevel=2)
        warnings.warn(f"{MARK} {prompt[0]}", UserWarning, stacklevel=1)
        print(f"{MARK} printed", flush=True)
        print(f"{MARK} printed", file=sys.stderr, flush=True)
        sys.__stderr__.write(f"{MARK} printed\n")
        sys.__stderr__.flush()
        for stream in (1, 2):
            os.write(stream, f"{MARK} written by C\n".encode())
        ctypes.CDLL(None).puts(f"{MARK} written by C".encode())
        ctypes.CDLL(None).fflush(None)
        for _ in tqdm(range(3), desc=MARK):
            pass
        subprocess.run(["sh", "-c", f"echo {MARK}; echo {MARK} >&2"], check=True)
        return super().__call__(prompt, generator, width, height, output_type)


def noisy(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    warnings.warn(f"{MARK} while it loads", UserWarning, stacklevel=1)
    return Noisy()


class Fatal(StandIn):
    """Writes to the standard error as a driver does, and ends its process."""

    def __call__(self, **arguments: Any) -> SimpleNamespace:
        os.write(2, f"{MARK} before the end\n".encode())
        os.abort()


def fatal(spec: Any, device: torch.device) -> StandIn:
    """For IMAGEMILL_PIPELINE."""
    return Fatal()
