"""Limits of an image's size in pixels, known from its header."""

from __future__ import annotations

MAX_PIXELS = 100_000_000
"""Largest image that is decoded at all, whatever the recipe allows: a small file can unpack to gigabytes."""
