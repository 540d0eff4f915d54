"""Scorers in the manifest's entry for the ledger: name -> ids of the scorers whose scores it has under that name.

The ledger itself has ids alone, since a scorer is the same under any name. The list grows with every build, so that a
scorer can be named that has left the recipe; ``imagemill scores --forget`` makes it shorter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagemill.data.dataset.manifest import write_manifest
from imagemill.data.dataset.reader import find_finished
from imagemill.data.errors import RecipeError
from imagemill.data.messages import shown
from imagemill.data.scores.journal import ScoreJournal
from imagemill.data.scores.ledger import Ledger
from imagemill.data.scores.records import ScorerFacts
from imagemill.data.storage.disk_errors import explain_disk_errors

Ids = dict[str, list[str]]


def listed_scorers(manifest: Mapping[str, Any] | None) -> Ids:
    """Name of a scorer -> its ids in the ledger, several for one whose model or settings have changed."""
    entry = (manifest or {}).get("scores") or {}
    return {name: list(ids) for name, ids in entry.get("scorers", {}).items()}


def with_scorers(
    manifest: Mapping[str, Any], scorers: Iterable[ScorerFacts], before: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The manifest with these scorers listed, beside those of ``before``; unchanged if it lists no scores."""
    if not manifest.get("scores"):
        return dict(manifest)
    ids = listed_scorers(before)
    for facts in scorers:
        known = ids.setdefault(facts.name, [])
        if facts.id not in known:
            known.append(facts.id)
    return {**manifest, "scores": {**manifest["scores"], "scorers": dict(sorted(ids.items()))}}


def forget_scorer(output: str | Path, name: str) -> int:
    """Remove a scorer's scores from a finished dataset's ledger, and its name from the manifest; returns how many.

    The columns of data/ and rejected/ stay as they are. Scores that another name has too stay. Raises RecipeError for a
    name that is not listed, NotAnImagemillDataset, OutputError, and FolderInUse while a build runs.
    """
    folder, manifest = find_finished(output)
    _check_listed(manifest, name)
    with explain_disk_errors(folder.disk), folder.lock(manifest["name"]):
        manifest = folder.read_manifest() or manifest
        _check_listed(manifest, name)
        ids = listed_scorers(manifest)
        shared = {scorer for other, its in ids.items() if other != name for scorer in its}
        ledger = Ledger(folder)
        # What an interrupted build has computed goes into the ledger first, and so is forgotten too.
        ledger.absorb(ScoreJournal(folder.score_journal))
        removed = ledger.forget(set(ids.pop(name)) - shared)
        others = {field: value for field, value in manifest.items() if field != "scores"}
        write_manifest(folder, {**others, **scores_entry(ledger, ids)})
    return removed


def scores_entry(ledger: Ledger, ids: Ids) -> dict[str, Any]:
    """{"scores": the manifest's entry for the ledger as it is now}; empty for a ledger without scores."""
    files = ledger.files()
    if not files:
        return {}
    rows, size = sum(file.rows for file in files), sum(file.bytes for file in files)
    return {"scores": {"rows": rows, "bytes": size, "files": [asdict(file) for file in files], "scorers": ids}}


def _check_listed(manifest: Mapping[str, Any], name: str) -> None:
    known = listed_scorers(manifest)
    if name not in known:
        there = f"it has scores by {', '.join(known)}" if known else "it has none"
        raise RecipeError(f"--forget: the ledger has no scores by {shown(name)}: {there}. Nothing was touched.")
