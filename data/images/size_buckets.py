"""Aspect-ratio size buckets: widths and heights near the area a model was trained on, where it generates best."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from typing import Annotated, Any

from pydantic import BeforeValidator

from imagemill.data.messages import shown

Size = tuple[int, int]
"""Width and height in pixels."""

MAX_RATIO = 4.0
"""Longest side of a bucket divided by the shortest, as in SDXL (arXiv 2307.01952, appendix I)."""

_RATIO = re.compile(r"(\d+(?:\.\d+)?)(?:\s*[:x/]\s*(\d+(?:\.\d+)?))?")


def parse_ratio(shape: Any) -> float:
    """Parse ``3:2``, ``3/2``, ``3x2`` or ``1.5`` into width divided by height. Raises ValueError."""
    match = _RATIO.fullmatch(str(shape).strip())
    ratio = float(match[1]) / float(match[2] or 1) if match and float(match[2] or 1) else 0.0
    if not 1 / MAX_RATIO <= ratio <= MAX_RATIO:
        raise ValueError(
            f"{shown(shape)} is not an aspect ratio: give width:height, such as 3:2 or 9:16, from 1:4 to 4:1"
        )
    return ratio


def _checked(value: Any) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    # YAML 1.1 reads an unquoted 16:9 as the sexagesimal number 16 * 60 + 9.
    shape = "{}:{}".format(*divmod(value, 60)) if isinstance(value, int) and value > 60 else str(value)
    parse_ratio(shape)
    return shape


Shape = Annotated[str | None, BeforeValidator(_checked)]
"""An aspect ratio as written in the recipe; ``parse_ratio`` reads it."""


def buckets_around(width: int, height: int, multiple: int) -> tuple[Size, ...]:
    """Sizes near a model's native area, in steps of a sixteenth of its side; for 1024 x 1024 those of SDXL."""
    side = math.sqrt(width * height)
    step = max(1, round(side / 16 / multiple)) * multiple
    across = set(_sizes(width * height, step))
    return ((width, height), *sorted((across | {size[::-1] for size in across}) - {(width, height)}))


def _sizes(area: int, step: int) -> Iterator[Size]:
    for width in range(step, math.isqrt(int(area * MAX_RATIO)) + 1, step):
        height = area // width // step * step
        if height and 1 / MAX_RATIO <= width / height <= MAX_RATIO:
            yield width, height


def nearest(buckets: Iterable[Size], ratio: float) -> Size:
    """The bucket closest in aspect ratio (width divided by height); the first of equals."""
    return min(buckets, key=lambda size: abs(math.log(size[0] / size[1] / ratio)))
