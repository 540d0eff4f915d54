"""Sizes by shape: a model generates best at about the area it was trained on, at a few widths and heights of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator

Size = tuple[int, int]
"""Width and height in pixels."""

WIDEST = 4.0
"""The longest side of a bucket is at most this many times the shortest, as in SDXL's (arXiv 2307.01952, appendix I)."""

_RATIO = re.compile(r"(\d+(?:\.\d+)?)(?:\s*[:x/]\s*(\d+(?:\.\d+)?))?")


def parse_ratio(shape: Any) -> float:
    """Width divided by height, from ``3:2``, ``3/2``, ``3x2`` or ``1.5``. Raises ValueError."""
    match = _RATIO.fullmatch(str(shape).strip())
    ratio = float(match[1]) / float(match[2] or 1) if match and float(match[2] or 1) else 0.0
    if not 1 / WIDEST <= ratio <= WIDEST:
        raise ValueError(f"{shape!r} is no shape: give width:height, such as 3:2 or 9:16, from 1:4 to 4:1")
    return ratio


def _checked(value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    # YAML 1.1 reads 16:9 without quotation marks as the number 16 * 60 + 9.
    shape = "{}:{}".format(*divmod(value, 60)) if isinstance(value, int) and value > 60 else str(value)
    parse_ratio(shape)
    return shape


Shape = Annotated[str | None, BeforeValidator(_checked)]
"""A recipe's shape of an image, as it was given; ``parse_ratio`` reads it."""


def buckets_around(width: int, height: int, multiple: int) -> tuple[Size, ...]:
    """The sizes of about a model's own area, in steps of a sixteenth of its side: for 1024 x 1024 those of SDXL."""
    side = math.sqrt(width * height)
    step = max(1, round(side / 16 / multiple)) * multiple
    across = set(_sizes(width * height, step))
    return ((width, height), *sorted((across | {size[::-1] for size in across}) - {(width, height)}))


def _sizes(area: int, step: int) -> Iterator[Size]:
    for width in range(step, math.isqrt(int(area * WIDEST)) + 1, step):
        height = area // width // step * step
        if height and 1 / WIDEST <= width / height <= WIDEST:
            yield width, height


def nearest(buckets: Iterable[Size], ratio: float) -> Size:
    """The bucket whose shape is nearest to a width divided by a height; of two, the first."""
    return min(buckets, key=lambda size: abs(math.log(size[0] / size[1] / ratio)))
