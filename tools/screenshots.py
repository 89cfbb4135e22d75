"""The screenshots of the documents, taken again: `make screenshots`, or

    .venv/bin/python -m tools.screenshots

Starts a server with a folder of models of its own, and drives Chromium through Playwright. Needs no network.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from PIL import Image
from playwright.sync_api import Browser, Page

from rerank.catalog.catalog import embedded_folder
from tests.pages.browser import chromium, launched
from tests.process.server import ServerProcess
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "images"
MINILM = "sentence-transformers/all-MiniLM-L6-v2"
CARDS = f"""
[[model]]
id = "gte"
upstream = {{ api = "cohere", url = "http://127.0.0.1:9", model = "gte-rerank" }}

[[model]]
id = "always"
fallback = ["gte", "{MINILM}", "lexical"]

[[model]]
id = "quick"
cascade = [{{ model = "lexical", keep = 3 }}, {{ model = "{MINILM}" }}]
"""
LANGUAGES = {"en-US": "", "zh-CN": ".zh-CN"}
_SECONDS = 120
_COLOURS = 64
_EXAMPLE = {"en-US": "Pandas", "zh-CN": "退货"}
_RANK = {"en-US": "Rank", "zh-CN": "排序"}
_MODEL = {"en-US": "Model", "zh-CN": "模型"}
_QUERY = {"en-US": "Query", "zh-CN": "查询"}

_REQUESTS = """async ([model, number]) => {
  const headers = {"Content-Type": "application/json"};
  const documents = Array.from({length: 8}, (_, at) => `panda ${number} ${at % 5}`);
  for (let each = 0; each < 12; each++)
    await fetch("v1/rerank", {method: "POST", headers,
      body: JSON.stringify({model, query: `pandas ${each % 4}`, documents})});
}"""


@contextmanager
def serving() -> Iterator[str]:
    """A server with the bundled model and routes; its address."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        (folder / "models.toml").write_text(CARDS, encoding="utf-8")
        bundled = embedded_folder()
        assert bundled, "the bundled model is missing"
        shutil.copytree(bundled, folder / "models" / "our-search")
        with ServerProcess(folder, {"RERANK_PRELOAD": MINILM}) as server:
            wait_until(lambda: requests.get(f"{server.url}/ready", timeout=_SECONDS).ok, _SECONDS)
            yield server.url


def keep(page: Page, name: str, **options: Any) -> None:
    """The page as docs/images/NAME.png, in few colours."""
    picture = Image.open(io.BytesIO(page.screenshot(**{"full_page": True, **options})))
    few = picture.convert("RGB").quantize(_COLOURS, dither=Image.Dither.NONE)
    few.save(FOLDER / f"{name}.png", optimize=True)
    print(f"{name}.png: {(FOLDER / f'{name}.png').stat().st_size / 1000:.0f} kB", flush=True)


def opened(browser: Browser, locale: str, **options: Any) -> Page:
    """A light page of its own."""
    size = {"width": 1100, "height": 700}
    page = browser.new_page(**{"locale": locale, "color_scheme": "light", "viewport": size, **options})
    page.set_default_timeout(_SECONDS * 1000)
    return page


def steps(browser: Browser, url: str, locale: str) -> None:
    """From the empty playground to a comparison: the tutorial's pictures, and the READMEs'."""
    end, page = LANGUAGES[locale], opened(browser, locale)
    page.goto(url)
    page.get_by_label(f"{_MODEL[locale]} 1").locator("option").nth(1).wait_for(state="attached")
    keep(page, f"step-1{end}")
    page.get_by_role("button", name=_EXAMPLE[locale], exact=True).click()
    page.get_by_label(f"{_MODEL[locale]} 1").select_option(MINILM)
    page.get_by_label(f"{_MODEL[locale]} 2").select_option("lexical")
    keep(page, f"step-2{end}")
    page.get_by_role("button", name=_RANK[locale], exact=True).click()
    page.locator("ol > li").nth(9).wait_for()
    keep(page, f"step-3{end}")
    # places on the page are told from where it is scrolled to
    page.evaluate("scrollTo(0, 0)")
    top, rankings = (
        page.get_by_text(_QUERY[locale], exact=True).bounding_box(),
        page.locator(".rankings").bounding_box(),
    )
    if top and rankings:
        clip = {"x": 0, "y": top["y"] - 4, "width": 1100, "height": rankings["y"] + rankings["height"] - top["y"] - 40}
        keep(page, f"playground{end}", clip=clip)


def administration(browser: Browser, url: str, locale: str) -> None:
    """Models in several states, and the load of a few requests."""
    page = opened(browser, locale, viewport={"width": 1280, "height": 700})
    requests.post(f"{url}/v1/models/{MINILM}/pin", timeout=_SECONDS).raise_for_status()
    page.goto(f"{url}/admin")
    for number in range(4):
        page.evaluate(_REQUESTS, ["always" if number % 2 else MINILM, number])
        page.wait_for_timeout(2500)
    keep(page, f"admin{LANGUAGES[locale]}")


def main() -> int:
    """Take all of them; the exit status."""
    program = chromium()
    if program is None:
        print("no Chromium is installed: apt-get install chromium", file=sys.stderr)
        return 1
    FOLDER.mkdir(exist_ok=True)
    with serving() as url, launched(program) as browser:
        for locale in LANGUAGES:
            steps(browser, url, locale)
            administration(browser, url, locale)
    return 0


if __name__ == "__main__":
    sys.exit(main())
