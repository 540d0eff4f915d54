"""Locations of the images that rows name, and which of them a prompts file may name at all.

A prompts file of this machine may name any path, store and host of the local network. One from elsewhere may name what
is relative to it, its own bucket or repository, and what is public: a stranger's rows must not read this machine's
files, or what only this machine can reach.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from unicodedata import normalize
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from huggingface_hub import constants

from imagemill.data.errors import BadRow
from imagemill.data.messages import shown_path
from imagemill.data.prompts.hub import is_on_hub, parse_hub_prompts
from imagemill.data.prompts.local_files import base_folder
from imagemill.data.prompts.reader import split_prompts
from imagemill.data.storage.addresses import Reach, local_origin
from imagemill.data.storage.locations import is_remote, redact
from imagemill.data.storage.protocols import IMAGES, WEB, ForbiddenProtocol, split_protocol

_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class ImageLocations:
    """Resolves the names of images in the rows of one prompts file.

    ``allow_hosts``: as in the recipe's images.allow_hosts.
    """

    def __init__(self, prompts: str, allow_hosts: Iterable[str] = ()) -> None:
        self._on_hub = is_on_hub(prompts)
        self._protocol, self._prompts = split_prompts(prompts)
        self._folder = Path() if self._protocol else base_folder(self._prompts)
        hosts = [host.lower() for host in allow_hosts]
        if self._protocol:
            # Its user named the prompts' own host and the Hub's, wherever these are. Local prompts reach both anyway,
            # and ask no name server: without a network each question takes seconds.
            named = [prompts] if self._protocol in WEB else []
            hosts += [host for url in (*named, constants.ENDPOINT) for host in local_origin(url)]
        self.reach = Reach(local=not self._protocol, hosts=tuple(hosts))

    def resolve(self, name: str) -> str:
        """URL or absolute path of a row's image. Raises BadRow for one that these prompts may not name."""
        if "://" in name:
            name = name.strip()
        try:
            protocol, location = split_protocol(name, IMAGES)
        except ForbiddenProtocol as error:
            raise BadRow(f"the image {shown_location(name)} is not read: {error}") from error
        if not protocol:
            is_local = is_remote(name) or Path(location).is_absolute()
            return self._local(name, location) if not self._protocol or is_local else self._relative(name)
        if protocol == "hf" and ".." in location.split("/"):
            raise BadRow(f"the image {shown_location(name)} is not read: '..' is not allowed in a hf:// URL")
        if self._protocol and protocol not in (*WEB, "hf") and self._root(location) != self._root(self._prompts):
            raise BadRow(
                f"the image {shown_location(name)} is not read: prompts in {shown_location(self._root(self._prompts))} "
                "may name images in their own bucket, on the Hub and on the web. Download the prompts to name others."
            )
        return location

    def may_use_token(self, location: str) -> bool:
        """True if the user's token is sent for a hf:// URL: prompts from elsewhere get their own repository only."""
        return not self._protocol or (self._on_hub and _repository(location) == _repository(self._hub_base()))

    def _local(self, name: str, location: str) -> str:
        if self._protocol:
            raise BadRow(
                f"the image {shown_location(name)} is not read: it is a path on this machine, which prompts from "
                f"elsewhere may not name. Name it relative to {shown_location(self._prompts)}, or download the prompts."
            )
        for spelling in _spellings(location):
            # Path.exists raises an error for a name that is too long.
            if os.path.exists(self._folder / spelling):  # noqa: PTH110
                return str(self._folder / spelling)
        hint = _hint(location)
        if hint:
            raise BadRow(f"missing image: {shown_location(str(self._folder / location))} does not exist; {hint}")
        return str(self._folder / location)

    def _relative(self, name: str) -> str:
        if self._protocol in WEB:
            # Without the prompts' query: a signature is valid for a single URL.
            return urljoin(urlunsplit((*urlsplit(self._prompts)[:3], "", "")), quote(name))
        if ".." in name.split("/") or name.startswith("~"):
            raise BadRow(f"the image {shown_location(name)} is not read: it is not below the prompts' own folder")
        return f"{self._hub_base() if self._on_hub else self._prompts.rpartition('/')[0]}/{name}"

    def _hub_base(self) -> str:
        where = parse_hub_prompts(self._prompts)
        at = f"@{quote(where.revision, safe='')}" if where.revision else ""
        return self._prompts.rpartition("/")[0] if where.path else f"hf://datasets/{where.repository}{at}"

    @staticmethod
    def _root(url: str) -> str:
        """A URL's protocol and bucket."""
        return "/".join(url.split("/")[:3])


def _spellings(path: str) -> Iterator[str]:
    """A path as it is written, and as its writer may have meant it."""
    yield path
    plain = path.strip()
    # Path.expanduser raises an error for a home that does not exist.
    at_home = os.path.expanduser(plain)  # noqa: PTH111
    for text in (plain, at_home, plain.replace("\\", "/")):
        # macOS gives names back in another form of Unicode than they are written in.
        yield from (text, normalize("NFC", text), normalize("NFD", text))


def _hint(path: str) -> str | None:
    """Likely fault of a path that does not exist."""
    plain = path.strip()
    if _WINDOWS.match(plain):
        return "it is a path on Windows: copy the image, and name it relative to the prompts file"
    if plain.startswith("["):
        return 'for several images write a list in JSON, such as ["a.png", "b.png"]'
    return None


def _repository(url: str) -> str:
    """``hf://datasets/org/name@revision/path`` -> ``datasets/org/name``."""
    return "/".join(url.removeprefix("hf://").split("/")[:3]).partition("@")[0]


def shown_location(location: str) -> str:
    """A location as messages repeat it."""
    return shown_path(redact(location))
