"""Fake Hub for datasets on the loopback interface: the HTTP API that a push and a reader need, with faults."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yaml

TOKEN = "hf_mine"
Answer = tuple[int, Any]


def git_name(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """A dataset repository: its commits, each with all its files."""

    private: bool = True
    commits: list[dict[str, bytes]] = field(default_factory=lambda: [{".gitattributes": b"*.parquet lfs\n"}])
    messages: list[str] = field(default_factory=lambda: ["initial commit"])
    converted: int | None = None
    """Number of the commit with the Hub's Parquet conversion."""

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1]

    @property
    def head(self) -> str:
        return self.name_of(len(self.commits) - 1)

    def name_of(self, number: int) -> str:
        return hashlib.sha1(f"commit {number}".encode()).hexdigest()

    def at(self, revision: str) -> dict[str, bytes] | None:
        if revision == "refs/convert/parquet" and self.converted is not None:
            return self.commits[self.converted]
        if revision in ("main", "HEAD"):
            return self.files
        return next((files for number, files in enumerate(self.commits) if self.name_of(number) == revision), None)

    def commit(self, files: dict[str, bytes], message: str = "by hand") -> None:
        self.commits.append(files)
        self.messages.append(message)


@dataclass
class DatasetHub:
    """State of the hub: its repositories, the uploads it received, and the faults to simulate."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    """Large files by sha256, committed or not."""
    sent: list[str] = field(default_factory=list)
    """sha256 of every uploaded large file, in order."""
    refuse: int | None = None
    """HTTP status for refused writes; None accepts them."""
    uploads_left: int | None = None
    """Number of large files accepted before the hub refuses the next; None accepts all."""
    address: str = ""

    def facts(self, path: str, content: bytes) -> dict[str, Any]:
        plain = {"type": "file", "path": path, "size": len(content), "oid": git_name(content)}
        if not path.endswith((".parquet", ".jpg")):
            return plain
        return {**plain, "lfs": {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}

    def answer(self, method: str, path: str, token: str | None, body: bytes) -> Answer:
        if path.startswith("/objects/") and method == "PUT":
            return self.take(path.removeprefix("/objects/"), body)
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if self.is_closed(method, path) and token != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid username or password."}
        if self.is_closed(method, path) and self.refuse:
            return self.refuse, {"error": "You may not write here."}
        if path == "/api/repos/create":
            return self.create(json.loads(body))
        if found := re.fullmatch(r"/datasets/(\w+/\w+)\.git/info/lfs/objects/batch", path):
            return self.batch(json.loads(body))
        if found := re.fullmatch(r"/api/datasets/(\w+/\w+)(?:/([\w-]+)/([^/]+)(?:/(.*))?)?", path):
            name, what, revision, rest = found.groups()
            if name not in self.repositories:
                return 404, {"error": "Repository not found", "code": "RepoNotFound"}
            revision, rest = (unquote(part) if part else None for part in (revision, rest))
            return self.of_repository(self.repositories[name], name, what, revision, rest or "", body)
        return 404, {"error": f"no such address: {path}"}

    def is_closed(self, method: str, path: str) -> bool:
        return method == "POST" and "paths-info" not in path

    def of_repository(
        self,
        repository: Repository,
        name: str,
        what: str | None,
        revision: str | None,
        rest: str,
        body: bytes,
    ) -> Answer:
        if what is None or what == "revision":
            files = repository.at(revision or "main")
            if files is None:
                return 404, {"error": "Revision not found", "code": "RevisionNotFound"}
            sha = next(
                repository.name_of(number) for number, commit in enumerate(repository.commits) if commit is files
            )
            card = yaml.safe_load(files.get("README.md", b"---\n{}\n---\n").split(b"---")[1])
            return 200, {"id": name, "sha": sha, "cardData": card, "siblings": [{"rfilename": path} for path in files]}
        files = repository.at(revision) or {}
        if what == "tree":
            inside = {path: content for path, content in files.items() if path.startswith(f"{rest}/" if rest else "")}
            if rest and not inside:
                return 404, {"error": "no such folder", "code": "EntryNotFound"}
            folders = {path.rpartition("/")[0] for path in inside} - {"", rest}
            directories = [
                {"type": "directory", "path": folder, "size": 0, "oid": git_name(folder.encode())} for folder in folders
            ]
            return 200, [*directories, *(self.facts(path, content) for path, content in inside.items())]
        if what == "paths-info":
            paths = parse_qs(body.decode()).get("paths", [])
            return 200, [self.facts(path, files[path]) for path in paths if path in files]
        if what == "preupload":
            return 200, {"files": [self.preupload(file) for file in json.loads(body)["files"]]}
        if what == "commit":
            return self.commit(repository, name, body)
        return 404, {"error": f"unknown endpoint: {what}"}

    def create(self, request: dict[str, Any]) -> Answer:
        name = f"{request['organization']}/{request['name']}"
        if name in self.repositories:
            return 409, {"error": "You already created this dataset repo", "url": f"{self.address}/datasets/{name}"}
        private = request.get("private") is True or request.get("visibility") == "private"
        self.repositories[name] = Repository(private=private)
        return 200, {"url": f"{self.address}/datasets/{name}", "name": name}

    def preupload(self, file: dict[str, Any]) -> dict[str, Any]:
        mode = "lfs" if file["path"].endswith((".parquet", ".jpg")) else "regular"
        return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": None}

    def batch(self, request: dict[str, Any]) -> Answer:
        objects = []
        for file in request["objects"]:
            known = file["oid"] in self.objects
            actions = {"upload": {"href": f"{self.address}/objects/{file['oid']}"}}
            objects.append({**file} if known else {**file, "actions": actions})
        return 200, {"transfer": "basic", "objects": objects}

    def take(self, oid: str, content: bytes) -> Answer:
        if self.uploads_left == 0:
            return 400, {"error": "no more today"}
        if self.uploads_left is not None:
            self.uploads_left -= 1
        assert hashlib.sha256(content).hexdigest() == oid
        self.objects[oid] = content
        self.sent.append(oid)
        return 200, {}

    def commit(self, repository: Repository, name: str, body: bytes) -> Answer:
        header, *changes = [json.loads(line) for line in body.splitlines()]
        if header["value"].get("parentCommit", repository.head) != repository.head:
            return 412, {"error": "A commit has happened since."}
        files = dict(repository.files)
        for change in changes:
            value, kind = change["value"], change["key"]
            if kind == "deletedFile":
                del files[value["path"]]
            else:
                large = kind == "lfsFile"
                files[value["path"]] = self.objects[value["oid"]] if large else base64.b64decode(value["content"])
        repository.commit(files, header["value"]["summary"])
        url = f"{self.address}/datasets/{name}/commit/{repository.head}"
        return 200, {"commitUrl": url, "commitOid": repository.head}

    def start(self) -> ThreadingHTTPServer:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                return None

            def do_GET(self) -> None:
                self.reply()

            def do_POST(self) -> None:
                self.reply()

            def do_PUT(self) -> None:
                self.reply()

            def do_HEAD(self) -> None:
                self.reply()

            def reply(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                url = urlsplit(self.path)
                path = url.path
                if found := re.fullmatch(r"/datasets/(\w+/\w+)/resolve/([^/]+)/(.+)", path):
                    self.file(*map(unquote, found.groups()))
                    return
                status, answer = hub.answer(self.command, path, self.headers.get("Authorization"), body)
                headers = {"X-Error-Code": answer["code"]} if "code" in answer else {}
                if status >= 400:
                    headers["X-Error-Message"] = answer["error"]
                self.send(status, json.dumps(answer).encode(), headers)

            def file(self, name: str, revision: str, path: str) -> None:
                repository = hub.repositories.get(name)
                content = (repository.at(revision) or {}).get(path) if repository else None
                if content is None:
                    self.send(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                    return
                facts = hub.facts(path, content)
                etag = facts["lfs"]["oid"] if "lfs" in facts else facts["oid"]
                commit = revision if revision != "main" else repository.head
                headers = {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "Accept-Ranges": "bytes"}
                requested = self.headers.get("Range")
                if not requested:
                    self.send(200, content, headers)
                    return
                first, _, last = requested.removeprefix("bytes=").partition("-")
                part = content[int(first) : int(last) + 1 if last else None]
                headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
                self.send(206, part, headers)

            def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{server.server_port}"
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return server
