"""Threads of this worker that decode images and prepare them for models, while the device computes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch

THREADS = max(2, min(8, torch.get_num_threads() // 2))
"""Half of this worker's share of the cores."""


@cache
def threads() -> ThreadPoolExecutor:
    """The pool, made on first use: a worker may be forked after this import, and a fork does not copy threads."""
    return ThreadPoolExecutor(THREADS, thread_name_prefix="decode")
