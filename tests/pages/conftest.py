"""One server and one browser for all tests of the pages.

They end with the package: while the browser runs, its event loop is the only one that its thread can have.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.pages.browser import Tab, browser
from tests.process.server import ServerProcess

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
USER_KEY, ADMIN_KEY = "user-key-of-the-test", "admin-key-of-the-test"
CARDS = f"""
[[model]]
id = "gone"
upstream = {{ api = "cohere", url = "http://127.0.0.1:9", model = "x" }}

[[model]]
id = "always"
fallback = ["gone", "{MINILM}"]

[[model]]
id = "quick"
cascade = [{{ model = "lexical", keep = 2 }}, {{ model = "{MINILM}" }}]
"""


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="package")
def server(chromium: Browser, converted: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Asks for keys. ``chromium`` first: without it nothing has to start or be converted."""
    folder: Path = tmp_path_factory.mktemp("pages")
    (folder / "models.toml").write_text(CARDS)
    with ServerProcess(folder, {"RERANK_API_KEY": USER_KEY, "RERANK_ADMIN_KEY": ADMIN_KEY}) as running:
        yield running


@pytest.fixture
def stranger(chromium: Browser, server: ServerProcess) -> Iterator[Tab]:
    """Someone without a key. No test asks another host, or leaves an error in the console."""
    context = chromium.new_context(locale="en-US", bypass_csp=False)
    tab = Tab(context, server.url)
    yield tab
    context.close()
    assert tab.elsewhere == []


@pytest.fixture
def tab(stranger: Tab) -> Iterator[Tab]:
    """Someone with the key of a user."""
    stranger.page.add_init_script(f"sessionStorage.setItem('rerank-key', '{USER_KEY}')")
    yield stranger
    assert stranger.errors == []


@pytest.fixture
def operator(stranger: Tab) -> Iterator[Tab]:
    """Someone with the key of an operator."""
    stranger.page.add_init_script(f"sessionStorage.setItem('rerank-key', '{ADMIN_KEY}')")
    yield stranger
    assert stranger.errors == []
