"""Both pages by axe-core's rules."""

from __future__ import annotations

from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect

from tests.pages.browser import SECONDS, Tab
from tests.pages.conftest import ADMIN_KEY
from tests.process.server import ServerProcess

expect.set_options(timeout=SECONDS * 1000)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", ["/playground", "/admin"])
def test_axe_finds_no_serious_violation_on_a_page(
    chromium: Browser, server: ServerProcess, path: str, theme: Literal["light", "dark"]
) -> None:
    # axe-core is put into the page, which the policy of the page forbids
    context = chromium.new_context(locale="en-US", color_scheme=theme, bypass_csp=True)
    context.add_init_script(f"sessionStorage.setItem('rerank-key', '{ADMIN_KEY}')")
    page = Tab(context, server.url).open(path)
    if path == "/playground":
        page.get_by_role("button", name="Pandas").click()
        page.get_by_label("Model 1").select_option("lexical")
        page.get_by_role("button", name="Rank", exact=True).click()
        expect(page.locator("section ol > li")).to_have_count(5)
    else:
        expect(page.get_by_role("rowheader", name="api-key", exact=True)).to_be_visible()
    found = Axe().run(page).response["violations"]
    context.close()

    serious = [violation for violation in found if violation["impact"] in ("serious", "critical")]
    assert [(each["help"], [node["html"] for node in each["nodes"]]) for each in serious] == []
