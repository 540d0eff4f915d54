"""Manifest and card of a copy that has data/ and only some of the dataset's other folders."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any

from imagemill.data.dataset.card import card_of_part
from imagemill.data.dataset.files.area import EXTRAS, REJECTED
from imagemill.data.dataset.folder import Folder


def manifest_of_part(manifest: Mapping[str, Any], folders: Collection[str]) -> dict[str, Any]:
    """The manifest without the folders beside data/ that are not among ``folders``."""
    left_out = {name for name in EXTRAS if manifest.get(name) and name not in folders}
    if REJECTED in left_out:
        left_out.add("candidates_fingerprint")
    return {name: value for name, value in manifest.items() if name not in left_out}


def pages_of_part(folder: Folder, manifest: Mapping[str, Any], folders: Collection[str]) -> dict[str, bytes]:
    """Name -> content of the copy's card, contact sheet and manifest, of those that there are.

    The same bytes as the dataset's where the copy lacks nothing. ``manifest``: the dataset's.
    """
    pages = {
        path.name: path.read_bytes() for path in (folder.card, folder.contact_sheet, folder.manifest) if path.exists()
    }
    part = manifest_of_part(manifest, folders)
    if part.keys() != manifest.keys():
        listed = json.loads(pages[folder.manifest.name])
        pages[folder.manifest.name] = _json(manifest_of_part(listed, folders))
        if folder.card.name in pages:
            pages[folder.card.name] = card_of_part(pages[folder.card.name].decode(), part).encode()
    return pages


def _json(manifest: Mapping[str, Any]) -> bytes:
    return (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode()
