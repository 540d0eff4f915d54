"""Parser for a row's texts: plain fields and the user messages of a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from imagemill.data.errors import BadRow
from imagemill.data.messages import shown


def has_conversation(values: Mapping[str, Any]) -> bool:
    """Whether the row has a conversation. An empty one does not count, so that the row's prompt is read."""
    return values.get("conversations") not in (None, "", [])


def user_messages(conversations: Any, name: str) -> list[str]:
    """The texts of the user messages, in order. ``name``: the field, for the error. Raises BadRow."""
    if isinstance(conversations, str):
        try:
            conversations = json.loads(conversations)
        except (ValueError, RecursionError) as error:
            raise BadRow(f"{name} is not a list of messages: {error}") from error
    if not isinstance(conversations, list) or not all(isinstance(message, dict) for message in conversations):
        raise BadRow(f'{name} must be a list such as [{{"role": "user", "content": "..."}}]')
    messages = [text_of(message.get("content"), f"{name}: content") for message in conversations if _is_user(message)]
    if not messages:
        raise BadRow(f"{name} has no message whose role is 'user'")
    if not all(messages):
        raise BadRow(f"{name} has a user message without text")
    return messages


def _is_user(message: Mapping[str, Any]) -> bool:
    return message.get("role") == "user"


def text_of(value: Any, name: str) -> str:
    """The field's text, stripped; empty if the field is null. Raises BadRow."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRow(f"{name} is {shown(value)}: expected a text")
    return value.strip()
