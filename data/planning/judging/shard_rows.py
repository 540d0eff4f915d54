"""Rows of a judged shard to write: where each goes, and its outcomes beside its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from imagemill.data.dataset.files.area import AreaName
from imagemill.data.records import RowPlan


@dataclass(frozen=True, slots=True)
class ShardRow:
    """One row to write."""

    plan: RowPlan
    area: AreaName
    split: str
    outcomes: Mapping[str, Any]
    is_partial: bool = False
    """True if its image is the input of edits, of which none was made."""
