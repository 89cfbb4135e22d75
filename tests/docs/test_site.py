"""The documentation site as `make docs` builds it: both languages, whole, and without any other host."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import Browser

from rerank import errors
from rerank.catalog.built_in import BUILT_IN
from rerank.settings import setting_names
from rerank.telemetry.metrics import Metrics
from tests.docs.blocks import documents
from tests.pages.browser import Tab, browser
from tests.process.server import ROOT
from tests.support.kept import share_kept_networks
from tools.site import hooks

BUILT = pytest.mark.timeout(600)
CHINESE = "zh-CN/"
TRANSLATED = (
    "index",
    "tutorial/dify",
    "tutorial/astrbot",
    "guides/choose-a-model",
    "guides/gateway",
    "guides/long-documents",
    "guides/evaluation",
    "guides/migrate",
    "reference/clients",
)
"""What people need first."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a build without a warning, which would be an error."""
    folder = tmp_path_factory.mktemp("docs")
    share_kept_networks(folder / "models")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder / "site")],
        cwd=ROOT,
        env=os.environ | {"RERANK_MODELS_DIR": str(folder / "models"), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def text_of(site: Path, page: str) -> str:
    """What a reader sees."""
    return html.unescape(re.sub(r"<[^>]+>", "", (site / f"{page}.html").read_text(encoding="utf-8")))


@BUILT
def test_every_page_is_there_in_both_languages(site: Path) -> None:
    pages = {page.removeprefix("docs/") for page in documents() if page.startswith("docs/")}
    english = {page.removesuffix(".md") for page in pages if ".zh-CN" not in page}
    assert len({page.split("/")[0] for page in english if "/" in page}) >= 5
    for page in english:
        assert (site / f"{page}.html").exists(), page
        assert ("本页暂无中文版" in text_of(site, CHINESE + page)) == (f"{page}.zh-CN.md" not in pages), page


@pytest.mark.parametrize("page", TRANSLATED)
def test_what_people_need_first_is_translated(page: str) -> None:
    assert (ROOT / "docs" / f"{page}.zh-CN.md").exists()


def metric_names() -> set[str]:
    """Counters and histograms; gauges need a running server."""
    return set(re.findall(r"^# HELP (\S+)", Metrics().exposition().decode(), re.MULTILINE))


def error_names() -> set[str]:
    """Every class that a caller may see."""
    classes = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return {kind.__name__ for kind in classes if issubclass(kind, errors.RerankError)} - {"RerankError"}


WRITTEN: dict[str, set[str]] = {
    "reference/configuration": {names[0] for names in setting_names().values()},
    "reference/metrics": metric_names() | {"rerank_device_up", "rerank_upstream_up", "rerank_connections"},
    "reference/errors": error_names(),
    "reference/models": {card.id for card in BUILT_IN if card.about},
    "reference/api": {"POST /v1/rerank", "GET /ready", '"relevance_score": 0.928', "max_chunks_per_doc"},
}
"""Pages, and what they must name."""


@BUILT
@pytest.mark.parametrize("language", ["", CHINESE])
@pytest.mark.parametrize(("page", "named"), WRITTEN.items(), ids=WRITTEN)
def test_a_page_written_from_the_project_names_everything(
    site: Path, page: str, named: set[str], language: str
) -> None:
    text = text_of(site, language + page)
    assert len(named) > 3
    assert [name for name in named if name not in text] == []
    assert "generated:" not in text


@BUILT
def test_pages_load_nothing_from_other_hosts(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loaded = re.compile(r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"' >]+)")
    assert len(pages) > 40
    assert {found for page in pages for found in loaded.findall(page.read_text(encoding="utf-8"))} == set()
    styles = [style.read_text(encoding="utf-8") for style in site.rglob("*.css")]
    assert [found for style in styles for found in re.findall(r"(?:url\(|@import )[\"']?(?:https?:)?//", style)] == []


@BUILT
def test_files_that_pages_link_to_are_there(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#:]*/files/[^"#]+)"', page.read_text(encoding="utf-8")):
            assert (page.parent / target).is_file(), (page, target)
    assert (site / "files" / "models.example.toml").exists()


def test_links_of_the_headings_are_those_of_the_english_page() -> None:
    english = "# The title\n\n## What an answer says\n\n```\n# no heading\n```\n\n## `rerank` itself\n"
    chinese = '# 标题\n\n<a id="what-an-answer-says"></a>\n\n## 回答\n\n## 命令\n'
    assert hooks.with_ids_of(english, chinese) == (
        "# 标题 {#the-title}\n\n## 回答 {#what-an-answer-says}\n\n## 命令 {#rerank-itself}\n"
    )


def test_a_translation_that_lacks_a_section_is_refused() -> None:
    with pytest.raises(ValueError, match="headings"):
        hooks.with_ids_of("# a\n\n## b\n", "# 甲\n")


def test_a_link_to_a_file_that_is_not_there_is_refused() -> None:
    page: Any = SimpleNamespace(file=SimpleNamespace(src_uri="guides/x.md"), url="guides/x.html")
    with pytest.raises(ValueError, match=r"guides/x.md: ../../nowhere.py"):
        hooks.on_page_markdown("# x\n\n[label](../../nowhere.py)\n", page)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """No line on stderr."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running


@pytest.fixture(scope="module")
def address(chromium: Browser, site: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def tab(chromium: Browser, address: str) -> Iterator[Tab]:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    tab = Tab(context, address)
    yield tab
    context.close()
    assert tab.elsewhere == []


@BUILT
@pytest.mark.parametrize(
    ("start", "words", "found"),
    [
        ("/index.html", "circuit breaker", "/guides/gateway.html"),
        ("/zh-CN/index.html", "熔断器", "/zh-CN/guides/gateway.html"),
    ],
)
def test_the_search_finds_pages_of_the_language(tab: Tab, start: str, words: str, found: str) -> None:
    page = tab.open(start)
    page.locator("label[for=__search]").first.click()
    # what is typed before the index is read is lost
    page.locator(".md-search-result__meta").filter(has_text=re.compile("Type to start|键入")).wait_for()
    field = page.locator("[data-md-component=search-query]")
    field.fill(words)
    # the page listens to keys
    field.press("End")
    page.locator(f".md-search-result__link[href*='{found}']").first.wait_for()


@BUILT
@pytest.mark.parametrize(
    "path", ["/reference/configuration.html", "/zh-CN/reference/clients.html", "/guides/gateway.html"]
)
def test_a_phone_needs_no_scrolling_sideways(tab: Tab, path: str) -> None:
    page = tab.open(path)
    page.locator("h1").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@BUILT
def test_the_language_menu_leads_to_the_same_page(tab: Tab) -> None:
    page = tab.open("/guides/gateway.html")
    page.locator(".md-select").hover()
    page.locator(".md-select__link[hreflang='zh-CN']").click()
    page.wait_for_url("**/zh-CN/guides/gateway.html")
    assert page.locator("h1").inner_text().startswith("网关")
