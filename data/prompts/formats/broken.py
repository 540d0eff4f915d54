"""Error of the readers of prompts files about a file as a whole."""

from __future__ import annotations


class BrokenFile(Exception):
    """The file cannot be read, or not be taken apart into rows; the message says what it has, without its name."""
