"""Credential check for recipes, which are stored, displayed and published with the dataset."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from imagemill.data.errors import RecipeError

_KINDS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "an AWS access key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    "a Google key": r"\bAIza[\w-]{35}|\bya29\.[\w-]{20,}",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{30,}|\bgithub_pat_\w{30,}",
    "an API key": r"\bsk-[A-Za-z0-9_-]{20,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": r"://[^/\s@]*:[^/\s@]+@",
    "a signed URL": r"[?&](X-Amz-Signature|X-Goog-Signature|Signature|sig|token|access_token)=",
}
_PATTERNS = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}


def refuse_tokens(fields: Mapping[str, Any]) -> None:
    """Raise RecipeError if any text in the recipe looks like a credential. The message does not repeat it."""
    for field, text in _texts(fields, "recipe"):
        for kind, pattern in _PATTERNS.items():
            if pattern.search(text):
                raise RecipeError(
                    f"{field} contains {kind}, and a recipe is stored by Prefect and published in manifest.json. "
                    "Remove it, revoke it, and supply a new one through the environment of the build process "
                    "(HF_TOKEN, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, ...) or a Prefect Secret block."
                )


def _texts(value: Any, field: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield field, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(name, f"a field's name in {field}")
            yield from _texts(inner, f"{field}.{name}")
    elif isinstance(value, list | tuple):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{field}.{number}")
