"""A headless Chromium, driven by ChromeDriver's protocol (W3C WebDriver)."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

needs_chromium = pytest.mark.skipif(
    not (shutil.which("chromium") and shutil.which("chromedriver")),
    reason="there is no browser: install Debian's packages chromium and chromium-driver",
)


class Browser:
    """One page in a browser."""

    def __init__(self, session: str):
        self.session = session

    def call(self, path: str, body: dict | None = None) -> Any:
        """Send a command; a `GET` without a body."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.session}/{path}", data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, page: Path) -> None:
        """Open a file."""
        self.call("url", {"url": page.resolve().as_uri()})

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        return self.call("execute/sync", {"script": f"return {script}", "args": []})

    def find(self, selector: str) -> list[str]:
        """The elements that a CSS selector finds."""
        elements = self.call("elements", {"using": "css selector", "value": selector})
        return [next(iter(element.values())) for element in elements]

    def click(self, selector: str, number: int = 0) -> None:
        """Click an element that a CSS selector finds, as a user does."""
        self.call(f"element/{self.find(selector)[number]}/click", {})

    def spoken(self, selector: str) -> list[tuple[str, str]]:
        """Role and name of elements, as a screen reader gets them."""
        places = [f"element/{element}" for element in self.find(selector)]
        return [(self.call(f"{place}/computedrole"), self.call(f"{place}/computedlabel").strip()) for place in places]

    def emulate(self, what: str, **options: Any) -> None:
        """Emulate a device or a medium (`Emulation` of the DevTools protocol), and draw the page anew."""
        self.call("goog/cdp/execute", {"cmd": f"Emulation.{what}", "params": options})
        twice = "requestAnimationFrame(() => requestAnimationFrame(arguments[0]))"
        self.call("execute/async", {"script": twice, "args": []})

    def errors(self) -> list[str]:
        """Messages in the console since the last call."""
        return [entry["message"] for entry in self.call("se/log", {"type": "browser"})]


@contextmanager
def browser(width: int = 1000, height: int = 900) -> Iterator[Browser]:
    """A browser whose window has a size."""
    driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = next(match[1] for line in driver.stdout if (match := re.search(r"started .* on port (\d+)", line)))
        begin = Browser(f"http://127.0.0.1:{port}")
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},{height}"]
        chromium = {"binary": shutil.which("chromium"), "args": arguments}
        wanted = {"browserName": "chrome", "goog:chromeOptions": chromium, "goog:loggingPrefs": {"browser": "ALL"}}
        session = begin.call("session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        yield Browser(f"{begin.session}/session/{session}")
        urllib.request.urlopen(urllib.request.Request(f"{begin.session}/session/{session}", method="DELETE"))
    finally:
        driver.kill()
        driver.wait()
