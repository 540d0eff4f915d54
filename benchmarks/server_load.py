"""Load of builds on a Prefect server with SQLite: python benchmarks/server_load.py [BUILDS [ROWS]]

Starts a server with an empty home in this project's folder (so with its prefect.toml), and builds BUILDS datasets (20
by default) of ROWS rows (256) in shards of 64 with the bundled model, one after the other, with heartbeats as a
deployed build has them. Prints how much prefect.db has grown, by table, the events by type, and the requests that were
sent, all per build. Writes server_load.json.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TABLES = ("events", "event_resources", "task_run", "task_run_state", "log", "artifact", "artifact_collection")
REQUEST = re.compile(r'"(GET|POST|PUT|PATCH|DELETE) /api(/[^ ?]*)\S* HTTP/1.1" (\d+)')
ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
LAST_EVENTS_S = 8
"""Seconds after which the server has stored the events of the last build: it writes them every 5 s."""


@contextmanager
def server(home: Path, environment: dict[str, str]) -> Iterator[None]:
    """A running server, whose log has a line for each request."""
    command = [sys.executable, "-m", "prefect", "server", "start", "--port", environment["PORT"]]
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        while True:
            try:
                urllib.request.urlopen(f"{environment['PREFECT_API_URL']}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError((home / "server.log").read_text()) from None
                time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def size(home: Path) -> int:
    """Bytes of the database, with all that was written moved into its file."""
    with closing(sqlite3.connect(home / "prefect.db", timeout=60)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return (home / "prefect.db").stat().st_size


def contents(home: Path) -> list[Counter[str]]:
    """Rows by table, events by type, and bytes by table, each with its indexes."""
    with closing(sqlite3.connect(home / "prefect.db", timeout=60)) as database:
        rows = {table: database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in TABLES}
        events = database.execute("SELECT event, COUNT(*) FROM events GROUP BY event")
        pages = "SELECT tbl_name, SUM(pgsize) FROM dbstat JOIN sqlite_schema USING (name) GROUP BY tbl_name"
        return [Counter(rows), Counter(dict(events)), Counter(dict(database.execute(pages)))]


def requests(home: Path) -> Counter[str]:
    """Requests so far by method and route, and those that were refused as the database was locked."""
    counted: Counter[str] = Counter()
    for method, route, status in REQUEST.findall((home / "server.log").read_text()):
        if route not in ("/health", "/admin/version"):
            counted[f"{method} {ID.sub('ID', route)}"] += 1
        counted["503"] += status == "503"
    return counted


def build(folder: Path, number: int, rows: int, environment: dict[str, str]) -> float:
    """Build one dataset; returns its seconds."""
    prompts, recipe = folder / f"prompts-{number}.jsonl", folder / f"recipe-{number}.yaml"
    lines = (json.dumps({"prompt": f"a red circle, number {row} of {number}"}) + "\n" for row in range(rows))
    prompts.write_text("".join(lines))
    fields = {"name": f"set-{number}", "prompts": str(prompts), "output": str(folder / f"set-{number}")}
    recipe.write_text(json.dumps({**fields, "generate": {"model": "bundled", "batch_size": 16}, "shard_size": 64}))
    started = time.monotonic()
    command = [sys.executable, "-m", "imagemill", "build", str(recipe)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    return time.monotonic() - started


def measure(builds: int, rows: int) -> dict[str, Any]:
    """Figures of all builds together."""
    with tempfile.TemporaryDirectory() as temporary, socket.create_server(("127.0.0.1", 0)) as free:
        folder, port = Path(temporary), free.getsockname()[1]
        free.close()
        environment = os.environ | {
            "PORT": str(port),
            "PREFECT_HOME": temporary,
            "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
            "PREFECT_SERVER_LOGGING_LEVEL": "INFO",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        with server(folder, environment):
            # The first build of a server registers the flow and more.
            build(folder, 0, 1, environment)
            time.sleep(LAST_EVENTS_S)
            before, contained, sent = size(folder), contents(folder), requests(folder)
            seconds = [build(folder, number, rows, environment) for number in range(1, builds + 1)]
            time.sleep(LAST_EVENTS_S)
            sent, grown = requests(folder) - sent, size(folder) - before
            more = [after - before for after, before in zip(contents(folder), contained, strict=True)]

    def per_build(counted: Counter[str], unit: int = 1) -> dict[str, float]:
        return {name: round(count / unit / builds, 1) for name, count in counted.most_common()}

    return {
        "builds": builds,
        "rows": rows,
        "seconds": round(sum(seconds) / builds, 1),
        "bytes": grown // builds,
        "rows by table": per_build(more[0]),
        "events": per_build(more[1]),
        "KiB by table": per_build(more[2], 1024),
        "requests": per_build(sent),
    }


def main() -> None:
    """Measure, print and write."""
    builds, rows = [*map(int, sys.argv[1:]), *(20, 256)[len(sys.argv) - 1 :]]
    figures = measure(builds, rows)
    print(f"per build of {rows} rows ({figures['seconds']} s): prefect.db + {figures['bytes'] / 1024:,.0f} KiB")
    for kind in ("rows by table", "KiB by table", "events", "requests"):
        print(f"\n{kind}")
        for name, count in figures[kind].items():
            print(f"{count:10} {name}")
    Path("server_load.json").write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
