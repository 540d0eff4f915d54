"""Identity of rows and images: ids, seeds and image keys, over one canonical JSON form.

These functions decide what is generated again. A change to any of them regenerates every dataset: raise
DRAWING_VERSION when, and only when, that is the intention.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import orjson

DRAWING_VERSION = 1
"""Version of imagemill's code between a drawing's parameters and its pixels; part of every image key."""


def digest(value: Any) -> str:
    """32 hexadecimal digits (128 bits of BLAKE2b) over the JSON form of ``value``, keys sorted."""
    return hashlib.blake2b(_bytes(value), digest_size=16).hexdigest()


def _bytes(value: Any) -> bytes:
    text = dump(value)
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")


def content_id(fields: Mapping[str, Any]) -> str:
    """The id of a row that names none: a hash of its fields, without those that are None."""
    return digest({key: value for key, value in fields.items() if value is not None})[:16]


def numbered(content: str, occurrence: int) -> str:
    """The id of one of several equal rows: ``occurrence`` counts from 1 and marks the second and later ones."""
    return content if occurrence == 1 else f"{content}-{occurrence}"


def image_seed(base: int, row_id: str, variant: int, instruction: str | None = None, candidate: int = 0) -> int:
    """The seed of one image, 0 to 2**32 - 1, from the recipe's seed, the row and the variant.

    ``instruction`` is an edit's text: an edit keeps its seed when others are added before it. ``candidate`` separates
    several edits of one image by one instruction apart; the first has the seed of a single one.
    """
    text = _bytes([base, row_id, variant, instruction, *([candidate] if candidate else [])])
    return int.from_bytes(hashlib.blake2b(text, digest_size=4).digest(), "big")


def given_seed(seed: int, variant: int) -> int:
    """The seed of a row's ``variant``-th image (from 0) when the row names a seed: counts up from that."""
    # A seed of 32 bits stays one: these were the only ones once, and the images' keys contain them.
    return (seed + variant) % (2**32 if seed < 2**32 else MAX_SEED + 1)


def image_key(task: str, model: Mapping[str, Any], decides: Mapping[str, Any]) -> str:
    """The key of an image: equal keys, equal pixels (on equal hardware and library versions).

    ``model`` is the model's identity (models.catalog), ``decides`` everything else that decides pixels.
    Fields that are None do not count, so that a field added later leaves older keys unchanged.
    """
    fields = {key: value for key, value in decides.items() if value is not None}
    return digest({"version": DRAWING_VERSION, "task": task, "model": model, **fields})


MAX_SEED = 2**64 - 1
"""Largest seed: 64 bits, the range of ComfyUI's seeds and of torch.Generator."""


def dump(value: Any) -> bytes | str:
    """Compact JSON, dictionary keys sorted: bytes from orjson, text from the standard library."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    except TypeError:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)


def load(stored: bytes | str) -> Any:
    """The inverse of ``dump``."""
    return orjson.loads(stored) if isinstance(stored, bytes) else json.loads(stored)
