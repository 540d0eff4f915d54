"""Members of a tar archive, read as a stream: none is written to disk, and no header takes much memory.

The standard library's reader ends silently at a damaged header, and reads headers of any length into memory.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO

from imagemill.data.messages import shown
from imagemill.data.prompts.formats.line_formats import BrokenFile

MAX_HEADER_BYTES = 2**20
"""Of the header of one member: a long name, or attributes."""

_LONG = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


class _Member(tarfile.TarInfo):
    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Any:
        try:
            return super().fromtarfile(archive)
        except (tarfile.InvalidHeaderError, tarfile.TruncatedHeaderError) as error:  # type: ignore[attr-defined]
            raise BrokenFile(f"is damaged at byte {archive.offset:,}: {error}") from error

    def _proc_member(self, archive: tarfile.TarFile) -> Any:
        if self.type in _LONG and self.size > MAX_HEADER_BYTES:
            raise BrokenFile(f"has a member whose header has over {MAX_HEADER_BYTES // 2**20} MiB")
        return super()._proc_member(archive)  # type: ignore[misc]


def tar_members(file: BinaryIO) -> Iterator[tuple[tarfile.TarInfo, Callable[[], bytes] | None]]:
    """Yield each member with a reader of its content, good until the next one; None for what is no plain file.

    Raises BrokenFile. Archives may be joined.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|", tarinfo=_Member, ignore_zeros=True) as archive:
            for member in archive:
                yield member, partial(_content, archive, member) if member.isreg() else None
                # It would keep all of them.
                archive.members = []  # type: ignore[attr-defined]
    except tarfile.TarError as error:
        raise BrokenFile(f"is no tar archive, or is damaged: {error}") from error


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member)
    try:
        return content.read() if content else b""
    except tarfile.TarError as error:
        raise BrokenFile(f"is cut short or damaged in {shown(member.name)}: {error}") from error
