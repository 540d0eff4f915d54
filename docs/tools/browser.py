"""Client of a headless Chromium over its DevTools protocol: no driver needs to be installed."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Names of the browser's command, by system."""


def find_browser() -> str | None:
    """The browser's command, or None if it is not installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab. Positions and sizes are CSS pixels."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._number = 0
        self._events: list[dict[str, Any]] = []

    def _request(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        self._connection.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._connection.recv(timeout=60))
            if "method" in answer:
                self._events.append(answer)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def watch(self) -> None:
        """Record what the page complains of and requests from now on."""
        for domain in ("Log", "Runtime", "Network"):
            self._request(f"{domain}.enable")

    def complaints(self) -> list[str]:
        """Errors and refusals since the last call: of scripts, and of what a page may not load."""
        entries = [event["params"] for event in self._taken("Log.entryAdded")]
        thrown = [event["params"]["exceptionDetails"]["text"] for event in self._taken("Runtime.exceptionThrown")]
        return [entry["entry"]["text"] for entry in entries if entry["entry"]["level"] == "error"] + thrown

    def requested(self) -> list[str]:
        """Addresses that were requested since the last call."""
        return [event["params"]["request"]["url"] for event in self._taken("Network.requestWillBeSent")]

    def _taken(self, method: str) -> list[dict[str, Any]]:
        taken = [event for event in self._events if event["method"] == method]
        self._events = [event for event in self._events if event["method"] != method]
        return taken

    def press(self, key: str) -> None:
        """Press and release a key, by its name in JavaScript: ``a``, ``Enter``, ``ArrowDown``."""
        codes = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
        text = {"text": "\r" if key == "Enter" else key} if key == "Enter" or len(key) == 1 else {}
        code = codes.get(key, ord(key[0].upper()))
        self._request("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
        self._request("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)

    def type(self, text: str) -> None:
        """Write a text into the field that has the focus."""
        self._request("Input.insertText", text=text)

    def pixels(self) -> Image.Image:
        """The visible page."""
        answer = self._request("Page.captureScreenshot", format="png")
        return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")

    def size(self, width: int, height: int) -> None:
        """Set the size of the window."""
        self._request(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )

    def open(self, address: str) -> None:
        """Go to an address."""
        self._request("Page.navigate", url=address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        result = self._request("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']['exception'].get('description')}")
        return result["result"].get("value")

    def text(self) -> str:
        """The visible text."""
        return self.run("document.body ? document.body.innerText : ''")

    def wait_for(self, words: str, seconds: float = 60) -> None:
        """Wait until the page shows these words. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while words not in self.text():
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {words!r} within {seconds} s on a page with the text: {self.text()[:2000]}")
            time.sleep(0.1)

    def wait_until_loaded(self, seconds: float = 60) -> None:
        """Wait for the page's scripts and images. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while self.run("document.readyState") != "complete":
            if time.monotonic() > deadline:
                raise TimeoutError(f"the page was not loaded within {seconds} s")
            time.sleep(0.1)

    def click(self, words: str) -> None:
        """Click the last, innermost element with exactly these words."""
        found = self.run(
            f"""(() => {{
                const all = [...document.querySelectorAll('a, button, label, [role=tab], [role=button], span, div')];
                const found = all.filter(node => node.innerText && node.innerText.trim() === {json.dumps(words)});
                const last = found.at(-1);
                if (last) last.click();
                return Boolean(last);
            }})()"""
        )
        if not found:
            raise RuntimeError(f"no element with the text {words!r} on a page with the text: {self.text()[:2000]}")

    def save_image(self, path: Path) -> None:
        """Save the visible page as a PNG."""
        time.sleep(1)  # fonts and images fade in
        # 256 colours are enough for a page, and a third of the bytes.
        self.pixels().quantize(256).save(path, optimize=True)


@contextmanager
def open_browser(width: int = 1440, height: int = 900) -> Iterator[Page]:
    """A browser with one empty tab. Raises RuntimeError if none is installed."""
    command = find_browser()
    if command is None:
        raise RuntimeError(f"no browser found: install one of {', '.join(NAMES)} (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--hide-scrollbars"]
        process = subprocess.Popen(
            [command, *options, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            port = _port(Path(profile) / "DevToolsActivePort")
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=30) as answer:
                tab = next(target for target in json.load(answer) if target["type"] == "page")
            with connect(tab["webSocketDebuggerUrl"], max_size=None) as connection:
                page = Page(connection)
                page.size(width, height)
                yield page
        finally:
            process.terminate()
            process.wait(30)


def _port(file: Path, seconds: float = 60) -> int:
    deadline = time.monotonic() + seconds
    while not (file.exists() and file.read_text().strip()):
        if time.monotonic() > deadline:
            raise TimeoutError("the browser did not start")
        time.sleep(0.1)
    return int(file.read_text().split()[0])
