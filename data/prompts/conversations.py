"""Parser for a row's texts: plain fields, and the user messages of a conversation with their images.

Three forms of a message are read: ``role`` and ``content`` (OpenAI, DataFlow), ``from`` and ``value`` (ShareGPT,
LLaVA), and a ``content`` in parts, texts and images (OpenAI, Qwen-VL).
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from imagemill.data.errors import BadRow
from imagemill.data.messages import shown

MAX_LITERAL = 100_000
"""Characters of a Python list that is read from a text: parsing takes a hundred times as much memory."""

_USERS = ("user", "human")
_IMAGE_PARTS = ("image", "image_url", "input_image")
_PLACEHOLDER = re.compile(r"\s*<image>\s*")


class Conversation(NamedTuple):
    """The user's side of a conversation."""

    texts: list[str]
    images: list[Any]
    """Images in the messages' parts, in the forms that `row_images` reads."""


NO_CONVERSATION = Conversation([], [])


def has_conversation(values: Mapping[str, Any]) -> bool:
    """True if the row has a conversation. An empty one does not count, so that the row's prompt is read."""
    return values.get("conversations") not in (None, "", [])


def read_conversation(value: Any, name: str, keep_placeholders: bool = False) -> Conversation:
    """The user messages, in order. ``name``: the field, for the error. Raises BadRow.

    ``keep_placeholders``: LLaVA's ``<image>`` stays in a text that has no parts.
    """
    messages = _messages(value, name)
    texts, images = [], []
    for message in _of_user(messages):
        text, in_parts = _content(message, name)
        if not (keep_placeholders and message.get("role") == "user" and isinstance(message.get("content"), str)):
            text = _PLACEHOLDER.sub(" ", text).strip() if "<image>" in text else text
        if text:
            texts.append(text)
        # A message may be no more than an image, and one without a role is read if it has a text, as DataFlow does.
        elif not in_parts and _role(message):
            raise BadRow(f"{name} has a user message without text")
        images += in_parts
    if not texts:
        raise BadRow(
            f"{name} has no user message with text" if images else f"{name} has no message whose role is 'user'"
        )
    return Conversation(texts, images)


def _messages(value: Any, name: str) -> list[Mapping[str, Any]]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            value = python_list(value)
            if value is None:
                raise BadRow(f"{name} is not a list of messages: {error}") from error
    if isinstance(value, dict) and {"content", "value"} & value.keys():
        value = [value]
    if not isinstance(value, list) or not all(isinstance(message, dict) for message in value):
        raise BadRow(f'{name} must be a list such as [{{"role": "user", "content": "..."}}]')
    return value


def python_list(text: str) -> list[Any] | None:
    """The list that a text is as Python writes it, such as pandas' to_csv of a column of lists; None if it is none."""
    text = text.strip()
    if not text.startswith("[") or not text.endswith("]") or len(text) > MAX_LITERAL:
        return None
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    return value if isinstance(value, list) else None


def _of_user(messages: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The user's messages: those with the role 'user', with a name that others give it, or with none."""
    own = [message for message in messages if message.get("role") == "user"]
    named = own or [message for message in messages if _role(message) in _USERS]
    return named or [message for message in messages if not _role(message)]


def _role(message: Mapping[str, Any]) -> str:
    role = message.get("role") or message.get("from") or ""
    return role.strip().lower() if isinstance(role, str) else "?"


def _content(message: Mapping[str, Any], name: str) -> tuple[str, list[Any]]:
    """Text and images of a message."""
    key = "value" if message.get("content") is None and "value" in message else "content"
    content = message.get(key)
    if not isinstance(content, list) or not content or not all(isinstance(part, str | dict) for part in content):
        return text_of(content, f"{name}: {key}"), []
    texts, images = [], []
    for part in content:
        if isinstance(part, str):
            texts.append(part.strip())
        elif isinstance(part.get("text"), str):
            texts.append(part["text"].strip())
        elif part.get("type") in (None, *_IMAGE_PARTS) and (image := _image(part)):
            images.append(image)
        elif part.get("type") not in _IMAGE_PARTS:
            raise BadRow(f"{name}: {key} has a part that is neither text nor image: {shown(part)}")
    return "\n".join(text for text in texts if text), images


def _image(part: Mapping[str, Any]) -> Any:
    """The image of a part; None for a part that only says where the image of another column belongs."""
    # Anthropic's form has one more level.
    source = part.get("source")
    inner = source if isinstance(source, dict) else part
    names = ("image_url", "image", "url", "path", "base64", "data")
    return next((inner[name] for name in names if inner.get(name)), None)


def text_of(value: Any, name: str) -> str:
    """The field's text, stripped; empty if the field is null. Raises BadRow."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{name} is {shown(value)}: expected a text")
    return value.strip()
