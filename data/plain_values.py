"""Plain values: what Parquet has beside JSON's values, as JSON values, and the way back without loss.

Dates and times are ISO 8601, decimals, durations and UUIDs their usual text, bytes base64.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

NANOS = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
"""Unit of time -> its nanoseconds."""

NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""Text that stands for a float that JSON does not have."""

_SIMPLE = frozenset([str, int, bool, type(None)])
_DAY = 86_400 * 10**9
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([+-]\d\d:\d\d(?::\d\d)?|Z)?")
_TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?")
# As timedelta and pandas write it: "-1 day, 23:59:59.5" and "-1 days +23:59:59.5".
_DURATION = re.compile(r"(?:(-?\d+) days?,? )?\+?(\d{1,2}):(\d\d):(\d\d)(?:\.(\d{1,9}))?")


def is_plain(value: Any) -> bool:
    """True if ``plain`` would return the value unchanged."""
    kind = type(value)
    if kind in _SIMPLE:
        return True
    if kind is float:
        return math.isfinite(value)
    if kind is list:
        kinds = set(map(type, value))
        # Long lists are of one kind: embeddings, tokens, tags.
        if kinds <= _SIMPLE:
            return True
        return all(map(math.isfinite if kinds == {float} else is_plain, value))
    return kind is dict and all(map(is_plain, value.values()))


def name_of(value: float) -> str:
    """The name of a float that is not finite."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def plain(value: Any, non_finite: Callable[[float], Any] = name_of) -> Any:
    """The value as JSON values. ``non_finite``: what becomes of a float that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else non_finite(value)
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, dict):
        return {str(name): plain(inner, non_finite) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner, non_finite) for inner in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.isoformat() if isinstance(value, (date, time)) else str(value)


def json_text(value: Any) -> str:
    """The JSON text of a plain value."""
    return json.dumps(value, ensure_ascii=False, default=str)


def time_text(nanos: int) -> str:
    """Nanoseconds since midnight as ISO 8601, as ``plain`` writes a time, which has no finer unit than microseconds."""
    text = (datetime.min + timedelta(microseconds=nanos // 1000)).time().isoformat()
    rest = nanos % 1000
    return f"{text if '.' in text else f'{text}.000000'}{rest:03d}" if rest else text


def timestamp_from(text: str, unit: str, has_zone: bool) -> int:
    """Units since 1970 of an ISO 8601 time with or without an offset. Raises ValueError if that is not exact."""
    whole, fraction, zone = _match(_TIMESTAMP, text)
    if has_zone != bool(zone):
        raise ValueError("an offset from UTC is missing, or is one too many")
    moment = datetime.fromisoformat(whole + (zone or "+00:00"))
    return _units((moment - _EPOCH) // timedelta(seconds=1) * 10**9 + _nanos(fraction), unit)


def date_from(text: str) -> int:
    """Days since 1970. Raises ValueError."""
    return (date.fromisoformat(text) - _EPOCH.date()).days


def time_from(text: str, unit: str) -> int:
    """Units since midnight. Raises ValueError if that is not exact."""
    hours, minutes, seconds, fraction = _match(_TIME, text)
    return _units(_clock(hours, minutes, seconds) + _nanos(fraction), unit)


def duration_from(text: str, unit: str) -> int:
    """Units of a duration. Raises ValueError if that is not exact."""
    days, hours, minutes, seconds, fraction = _match(_DURATION, text)
    return _units(int(days or 0) * _DAY + _clock(hours, minutes, seconds) + _nanos(fraction), unit)


def decimal_from(value: Any, scale: int, precision: int) -> int:
    """The digits of a decimal with ``scale`` places, as one integer. Raises ValueError if it does not fit."""
    sign, digits, exponent = Decimal(value).as_tuple()
    if not isinstance(exponent, int) or len(digits) > precision:
        raise ValueError("no number, or too many digits")
    whole, shift = int("".join(map(str, digits))), exponent + scale
    if shift > precision or (shift < 0 and whole % 10**-shift):
        raise ValueError("too many digits")
    whole = whole * 10**shift if shift >= 0 else whole // 10**-shift
    if len(str(whole)) > precision:
        raise ValueError("too many digits")
    return -whole if sign else whole


def _match(form: re.Pattern[str], text: str) -> tuple[str | Any, ...]:
    match = form.fullmatch(text)
    if match is None:
        raise ValueError("another form")
    return match.groups()


def _clock(hours: str, minutes: str, seconds: str) -> int:
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 10**9


def _nanos(fraction: str | None) -> int:
    return int((fraction or "").ljust(9, "0"))


def _units(nanos: int, unit: str) -> int:
    units, rest = divmod(nanos, NANOS[unit])
    if rest:
        raise ValueError(f"finer than {unit}")
    return units
