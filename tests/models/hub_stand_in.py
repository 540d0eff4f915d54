"""Small model hub on the loopback interface: the part of the HTTP API that a download uses, with faults on demand."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "studio/painter"


@dataclass
class Hub:
    """The hub's files, the requests it got, and its faults."""

    files: dict[str, bytes]
    token: str | None = None
    """Without it, downloads are refused as from a gated repository."""
    stall_after: int | None = None
    """Bytes of a large file after which the hub stalls until ``resumed`` is set."""
    cut_after: int | None = None
    """Bytes of a large file after which the hub cuts the connection, once."""
    damage: bool = False
    """Whether the large files' first bytes are wrong."""
    resumed: Event = field(default_factory=Event)
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """(path, Range) of every file that was sent."""
    address: str = ""

    @classmethod
    def of(cls, folder: Path) -> Hub:
        """A hub with the files of a folder."""
        paths = [path for path in folder.rglob("*") if path.is_file()]
        return cls({str(path.relative_to(folder)): path.read_bytes() for path in paths})

    def is_large(self, path: str) -> bool:
        return path.endswith((".safetensors", ".bin"))

    def facts(self, path: str) -> dict[str, Any]:
        content = self.files[path]
        oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        plain = {"type": "file", "path": path, "size": len(content), "oid": oid}
        if not self.is_large(path):
            return plain
        sha256 = hashlib.sha256(content).hexdigest()
        return {**plain, "lfs": {"oid": sha256, "size": len(content), "pointerSize": 130}}

    def start(self) -> ThreadingHTTPServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return None

            def do_HEAD(self) -> None:
                self.answer(with_body=False)

            def do_GET(self) -> None:
                self.answer(with_body=True)

            def answer(self, with_body: bool) -> None:
                path = self.path.partition("?")[0]
                if path.startswith(f"/api/models/{REPOSITORY}/tree/"):
                    self.send_plain(200, json.dumps([hub.facts(name) for name in hub.files]).encode(), with_body)
                elif path.startswith(f"/api/models/{REPOSITORY}"):
                    about = {"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in hub.files]}
                    self.send_plain(200, json.dumps(about).encode(), with_body)
                elif path.startswith(f"/{REPOSITORY}/resolve/"):
                    self.send_file(path.removeprefix(f"/{REPOSITORY}/resolve/").partition("/")[2], with_body)
                else:
                    self.send_plain(404, b"{}", with_body, {"X-Error-Code": "RepoNotFound"})

            def send_file(self, name: str, with_body: bool) -> None:
                if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                    return self.send_plain(401, b"{}", with_body, {"X-Error-Code": "GatedRepo"})
                if name not in hub.files:
                    return self.send_plain(404, b"{}", with_body, {"X-Error-Code": "EntryNotFound"})
                content, facts, requested = hub.files[name], hub.facts(name), self.headers.get("Range")
                if hub.damage and hub.is_large(name):
                    content = bytes(8) + content[8:]
                start = int(requested.removeprefix("bytes=").partition("-")[0]) if requested else 0
                headers = {
                    "X-Repo-Commit": COMMIT,
                    "ETag": f'"{facts["lfs"]["oid"] if hub.is_large(name) else facts["oid"]}"',
                    "Accept-Ranges": "bytes",
                }
                if requested:
                    headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                if with_body:
                    hub.requests.append((name, requested))
                self.send_plain(206 if requested else 200, content[start:], with_body, headers, hub.is_large(name))
                return None

            def send_plain(
                self,
                status: int,
                content: bytes,
                with_body: bool,
                headers: dict[str, str] | None = None,
                may_fail: bool = False,
            ) -> None:
                self.send_response(status)
                for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if not with_body:
                    return
                is_cut = may_fail and len(content) > 15 * 2**20
                if is_cut and hub.stall_after is not None:
                    self.send(content[: hub.stall_after])
                    content = content[hub.stall_after :]
                    hub.resumed.wait(60)
                elif is_cut and hub.cut_after is not None:
                    content, hub.cut_after = content[: hub.cut_after], None
                    self.close_connection = True
                self.send(content)

            def send(self, content: bytes) -> None:
                try:
                    self.wfile.write(content)
                    self.wfile.flush()
                except OSError:
                    self.close_connection = True

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server
