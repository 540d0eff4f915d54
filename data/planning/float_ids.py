"""Finder of ids that are another as a float: pandas writes 1 as 1.0 in a column in which one value is missing.

The row is another one then, with another seed, and what the dataset has of it would be generated again unseen.
"""

from __future__ import annotations

from sqlite3 import Connection

_HAS_FLOAT_ID = """
SELECT EXISTS (SELECT 1 FROM rows WHERE id LIKE '%_.0')
    OR EXISTS (SELECT 1 FROM finished WHERE id LIKE '%_.0' AND NOT wanted)
"""

# Each looks up ids of the rows, the only ones that have an index.
_FLOAT_IDS = (
    "SELECT a.id FROM rows a JOIN rows b ON b.id = substr(a.id, 1, length(a.id) - 2) WHERE a.id LIKE '%_.0' LIMIT 1",
    "SELECT f.id FROM finished f JOIN rows r ON r.id = f.id || '.0' WHERE NOT f.wanted LIMIT 1",
    "SELECT f.id FROM finished f JOIN rows r ON r.id = substr(f.id, 1, length(f.id) - 2) "
    "WHERE f.id LIKE '%_.0' AND NOT f.wanted LIMIT 1",
)


def find_float_ids(worklist: Connection) -> tuple[str, str] | None:
    """The ids of two rows, both requested or one in the dataset: 1 and 1.0. None without such a pair."""
    if not worklist.execute(_HAS_FLOAT_ID).fetchone()[0]:
        return None
    for query in _FLOAT_IDS:
        if found := worklist.execute(query).fetchone():
            whole = found[0].removesuffix(".0")
            return whole, f"{whole}.0"
    return None
