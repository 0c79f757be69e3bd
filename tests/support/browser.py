"""A browser without a window, spoken to over a pipe by Chromium's DevTools protocol.

Knows where Chromium may be, and the commands of the protocol that are used here. Needs no other package.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
)

# The browser reads from descriptor 3 and writes to 4, which may be those of the pipes' other ends here.
_START = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(end), fcntl.F_DUPFD, 10) for end in sys.argv[1:3]]
for number, end in enumerate(ends, start=3):
    os.dup2(end, number)
    os.close(end)
os.execv(sys.argv[3], sys.argv[3:])
"""

_WAIT = """
new Promise(done => {
  const look = () => {
    const found = (%s)
    if (found) { observer.disconnect(); done(found) }
  }
  const observer = new MutationObserver(look)
  observer.observe(document, {subtree: true, childList: true, attributes: true, characterData: true})
  look()
})
"""


def find_browser() -> str | None:
    """Return the path of a browser, None if there is none."""
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class BrowserError(Exception):
    """The browser refuses a command, a script in a page failed, or it is gone."""


class Browser:
    """A browser with a profile of its own and one page at a time; it ends with the block.

    :param profile: an empty folder.
    """

    def __init__(self, program: str, profile: Path) -> None:
        self.requests: list[str] = []
        """The addresses that pages have asked for."""
        self.complaints: list[str] = []
        """What scripts have failed with, what could not be loaded."""
        self._number = 0
        self._received = b""
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        command = [sys.executable, "-c", _START, str(to_read), str(to_write), program, *_OPTIONS]
        if hasattr(os, "getuid") and os.getuid() == 0:
            command.append("--no-sandbox")  # which does not work for root
        try:
            self._process = subprocess.Popen(
                [*command, f"--user-data-dir={profile}", "about:blank"],
                pass_fds=(to_read, to_write),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "HOME": str(profile)},
            )
        finally:
            os.close(to_read)
            os.close(to_write)
        self._loaded: list[str] = []
        """The documents that have been loaded, by the ids of what loaded them."""
        self._context: str | None = None
        self._session: str | None = None

    def __enter__(self) -> Browser:
        try:
            self.begin_anew()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Have the browser end, and wait for it."""
        os.close(self._write)  # which is what tells it
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)

    # -- pages

    def begin_anew(self) -> None:
        """Take another page in the place of this one, with nothing stored, and forget what this one did."""
        self._session = None
        if self._context is not None:
            self._call("Target.disposeBrowserContext", browserContextId=self._context)
        self._context = self._call("Target.createBrowserContext")["browserContextId"]
        page = self._call("Target.createTarget", url="about:blank", browserContextId=self._context)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)
        self.open("about:blank")
        self.requests.clear()
        self.complaints.clear()

    def open(self, url: str) -> None:
        """Show a page, and wait until it is loaded."""
        answer = self._call("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        if "loaderId" in answer:  # as it is not if only the anchor is another one
            while answer["loaderId"] not in self._loaded:
                self._note(self._next())

    def follow(self, link: str) -> None:
        """Click on what an expression in the page is, a link to another page, and wait until that is loaded."""
        before = len(self._loaded)
        self.run(f"{link}.click()")
        while len(self._loaded) == before:
            self._note(self._next())

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page; one that is a promise is waited for."""
        answer = self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """Wait until an expression in the page is true, looking again at each change of the page; return its value."""
        return self.run(_WAIT % condition)

    def type(self, text: str) -> None:
        """Type a text where the focus is."""
        self._call("Input.insertText", text=text)

    def prefer(self, scheme: str) -> None:
        """Prefer a colour scheme from now on, "light" or "dark"."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def resize(self, width: int, height: int) -> None:
        """Give the page a size in pixels."""
        self._call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)

    def screenshot(self, file: Path) -> None:
        """Write what is seen, as PNG."""
        file.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    # -- the protocol: JSON, with a null byte behind each message

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error']['message']}")
        result: dict[str, Any] = answer["result"]
        return result

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            data = os.read(self._read, 65536)
            if not data:
                raise BrowserError(f"the browser has ended, with status {self._process.wait()}")
            self._received += data
        line, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        if event.get("method") == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif event.get("method") == "Page.lifecycleEvent":
            if params["name"] == "load" and params["loaderId"] not in self._loaded:
                self._loaded.append(params["loaderId"])
        elif event.get("method") == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
