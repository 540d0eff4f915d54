"""Values in messages: cut, escaped and without credentials, so that no message repeats a file or moves a terminal."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

MAX_SHOWN = 80
"""Characters of a value that a message repeats."""

MAX_REASON = 400
"""Characters of the reason why a row is set aside: a dataset may have millions of such rows."""

MAX_MESSAGE = 4000
"""Characters of any message."""

_MAX_DEPTH = 3
_MAX_ITEMS = 8

TOKENS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a Google key": r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": r"://[^/\s@]*:[^/\s@]+@",
    "a signed URL": r"[?&](X-Amz-Signature|X-Goog-Signature|Signature|sig|token|access_token)=",
}
"""Kind of a credential -> its pattern."""

_TOKEN = re.compile("|".join(f"(?:{pattern})" for kind, pattern in TOKENS.items() if "URL" not in kind))
_KEY_BODY = re.compile(TOKENS["a private key"] + r".*", re.DOTALL)
_USER = re.compile(r"(?<=://)[^/\s?#]*@")
# A query may hold a signature or a token under any name.
_QUERY = re.compile(r"(://[^\s?#]*)\?[^\s#]*")


def shown(value: Any, limit: int = MAX_SHOWN) -> str:
    """A value as a message repeats it: as Python writes it, in at most ``limit`` characters and the quotes.

    Bytes are counted, not repeated. Control characters, direction overrides and surrogates are escaped. Credentials,
    and the user and the query of a URL, are left out.
    """
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str):
        return _quoted(value, limit)
    return cut(_written(value, 0), limit)


def shown_path(path: Any, limit: int = 2 * MAX_SHOWN) -> str:
    """A path or URL as a message repeats it: of a longer one the middle is left out, since its end names the file."""
    text = str(path)
    if "://" in text[:MAX_MESSAGE]:
        return shown(text, limit)
    text = _without_credentials(text if len(text) <= MAX_MESSAGE else text[:limit] + text[-limit:])
    half = limit // 2 - 2
    return repr(text if len(text) <= limit else f"{text[:half]}...{text[-half:]}")


def cut(text: str, limit: int = MAX_SHOWN) -> str:
    """The text, escaped and without credentials, in at most ``limit`` characters."""
    # Cut before anything else looks at it: a value may have hundreds of megabytes.
    text = escaped(_without_credentials(text[: 4 * limit + 1]))
    return text if len(text) <= limit else text[: limit - 3] + "..."


def escaped(text: str) -> str:
    """The text with everything but printable characters and line ends written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)


def message(text: Any, limit: int = MAX_MESSAGE) -> str:
    """A whole message: escaped, and cut where it is longer than any that a user reads."""
    return cut(str(text), limit)


def code_span(text: str, limit: int = 2 * MAX_SHOWN) -> str:
    """A text as code in Markdown, which nothing in it can end."""
    line = cut(" ".join(text.split()), limit)
    fence = "`" * (max(map(len, re.findall("`+", line)), default=0) + 1)
    space = " " if "`" in line or not line else ""
    return f"{fence}{space}{line}{space}{fence}"


def markdown_text(text: str, limit: int = 2 * MAX_SHOWN) -> str:
    """A text in Markdown, in which nothing counts as markup, HTML or a table's border."""
    line = cut(" ".join(text.split()), limit).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", line)


def field_path(parts: Iterable[Any]) -> str:
    """The dotted name of a field: ``recipe.generate.seed``.

    A name that is no plain word is not repeated: ``root:$6$...:::`` is a mapping to YAML.
    """
    return ".".join(_name(part) for part in parts)


def _name(part: Any) -> str:
    text = str(part)
    is_word = re.fullmatch(r"[\w.-]{1,80}", text[: MAX_SHOWN + 1]) and not _TOKEN.search(text)
    return text if is_word else f"<a name of {len(text):,} characters>"


def _quoted(text: str, limit: int) -> str:
    text = _without_credentials(text[: 4 * limit + 1])
    if len(text) <= limit and len(written := repr(text)) <= 2 * limit:
        return written
    start = text[: limit - 3]
    while len(repr(start)) > limit and len(start) > 1:
        start = start[: len(start) * 3 // 4]
    return repr(start + "...")


def _without_credentials(text: str) -> str:
    if "://" in text:
        text = _QUERY.sub(r"\1?...", _USER.sub("...@", text))
    return _TOKEN.sub("...", _KEY_BODY.sub("...", text))


def _written(value: Any, depth: int) -> str:
    """As repr, but bounded in time and length for any size, depth and cycle."""
    if isinstance(value, str):
        return _quoted(value, MAX_SHOWN // 2)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value):,} bytes>"
    # Python refuses to write an integer of over 4,300 digits.
    if isinstance(value, int) and value.bit_length() > 512:
        return f"<a number of about {int(value.bit_length() * 0.30103) + 1:,} digits>"
    kind = type(value)
    if kind not in (dict, list, tuple) and not isinstance(value, Mapping):
        return repr(value)
    opening, closing = "{}" if isinstance(value, Mapping) else "()" if kind is tuple else "[]"
    if depth == _MAX_DEPTH:
        return f"{opening}...{closing}"
    items = [
        f"{_written(item, depth + 1)}: {_written(value[item], depth + 1)}"
        if isinstance(value, Mapping)
        else _written(item, depth + 1)
        for item, _ in zip(value, range(_MAX_ITEMS))
    ]
    more = ["..."] if len(value) > _MAX_ITEMS else []
    comma = "," if kind is tuple and len(value) == 1 else ""
    return f"{opening}{', '.join([*items, *more])}{comma}{closing}"
