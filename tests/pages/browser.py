"""A real browser for tests: the distribution's Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

from tests.support.installed import wait_for

SECONDS = 60
"""A busy machine takes its time."""


@contextmanager
def browser() -> Iterator[Browser]:
    """Chromium without a window; skips where it is not installed."""
    wait_for("browser")
    if (program := chromium()) is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    with launched(program) as running:
        yield running


def chromium() -> str | None:
    """The distribution's Chromium; None where it is not installed."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def launched(program: str) -> Iterator[Browser]:
    """The browser without a window."""
    # its sandbox does not work for root, as whom containers run
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=[*flags, "--disable-dev-shm-usage"])
        try:
            yield running
        finally:
            running.close()


class Tab:
    """A page of a server, and everything that went wrong on it."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url = url
        self.page: Page = context.new_page()
        self.page.set_default_timeout(SECONDS * 1000)
        self.requested: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", self._note)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda line: self.errors.append(line.text) if line.type == "error" else None)

    def _note(self, request: Request) -> None:
        self.requested.append(request.url)

    def open(self, path: str) -> Page:
        """Go to a path of the server."""
        self.page.goto(f"{self.url}{path}")
        return self.page

    @property
    def elsewhere(self) -> list[str]:
        """Requests to anything but the server."""
        return [url for url in self.requested if not url.startswith((f"{self.url}/", "data:", "blob:"))]
