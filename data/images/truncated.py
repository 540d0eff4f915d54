"""Switch for images whose file ends early: Pillow's LOAD_TRUNCATED_IMAGES, for one image instead of the process."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from PIL import ImageFile

_ALLOWED = ContextVar("truncated images are allowed", default=False)


class _Switch:
    """Stands in for Pillow's global flag: true in the threads, and while they decode an image, that ask for it."""

    def __bool__(self) -> bool:
        return _ALLOWED.get()


_SWITCH: Any = _Switch()


@contextmanager
def truncation(is_allowed: bool) -> Iterator[None]:
    """In the block, this thread decodes what a truncated file has; what it lacks is grey (JPEG) or black."""
    if not is_allowed:
        yield
        return
    ImageFile.LOAD_TRUNCATED_IMAGES = _SWITCH
    token = _ALLOWED.set(True)
    try:
        yield
    finally:
        _ALLOWED.reset(token)
