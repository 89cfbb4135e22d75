"""The administration in a real browser."""

from __future__ import annotations

import pytest
import requests
from playwright.sync_api import Locator, Page, expect

from tests.pages.browser import SECONDS, Tab
from tests.pages.conftest import ADMIN_KEY, MINILM, USER_KEY

expect.set_options(timeout=SECONDS * 1000)


def row(page: Page, model: str) -> Locator:
    return page.get_by_role("row").filter(has=page.get_by_role("rowheader", name=model, exact=True))


def act(page: Page, action: str, model: str) -> None:
    page.get_by_role("button", name=f"{action}: {model}", exact=True).click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"{action} {model}?")
    dialog.get_by_role("button", name=action).click()
    expect(dialog).to_be_hidden()


def test_a_model_is_loaded_pinned_and_unloaded(operator: Tab) -> None:
    # whatever tests before this one asked for
    requests.post(
        f"{operator.url}/v1/models/{MINILM}/unload", headers={"Authorization": f"Bearer {ADMIN_KEY}"}, timeout=SECONDS
    ).raise_for_status()
    page = operator.open("/admin")
    expect(row(page, "gone")).to_contain_text("at 127.0.0.1:9")
    act(page, "Load", MINILM)
    expect(row(page, MINILM)).to_contain_text("in memory")
    act(page, "Pin", MINILM)
    expect(row(page, MINILM)).to_contain_text("in memory, pinned")
    act(page, "Unpin", MINILM)
    act(page, "Unload", MINILM)
    expect(row(page, MINILM)).to_contain_text("on disk")


def test_a_question_that_is_cancelled_changes_nothing(operator: Tab) -> None:
    page = operator.open("/admin")
    page.get_by_role("button", name=f"Pin: {MINILM}", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(row(page, MINILM)).to_contain_text("MiniLM")
    expect(row(page, MINILM)).not_to_contain_text("pinned")


def test_a_model_that_cannot_be_loaded_is_said(operator: Tab) -> None:
    page = operator.open("/admin")
    page.get_by_text("not downloaded").first.click()
    act(page, "Load", "BAAI/bge-reranker-base")
    expect(page.get_by_role("alert")).to_contain_text("BAAI/bge-reranker-base")
    operator.errors.clear()  # the console tells of the 503


def test_load_and_keys_are_shown(operator: Tab) -> None:
    page = operator.open("/admin")
    expect(page.locator("figure canvas")).to_have_count(5)
    expect(page.get_by_text("waiting pairs: 0")).to_be_visible()
    keys = page.get_by_role("region", name="Keys")
    expect(keys).to_contain_text("api-key")
    expect(keys).to_contain_text("admin-key (admin)")
    assert {USER_KEY, ADMIN_KEY}.isdisjoint(page.content().split('"'))


def test_only_an_operators_key_opens_it(stranger: Tab) -> None:
    page = stranger.open("/admin")
    for key in ("wrong", USER_KEY):
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Use this key").click()
        expect(page.get_by_role("alert").first).to_contain_text("Unauthorized")
        expect(page.get_by_role("heading", name="Models")).to_have_count(0)
    page.get_by_label("API key").fill(ADMIN_KEY)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("heading", name="Models")).to_be_visible()


def test_a_server_that_hangs_is_said(operator: Tab) -> None:
    # ten seconds otherwise
    operator.page.add_init_script(
        "const after = AbortSignal.timeout; AbortSignal.timeout = () => after.call(AbortSignal, 500);"
    )
    page = operator.open("/admin")
    expect(page.get_by_text("waiting pairs: 0")).to_be_visible()
    page.route("**/v1/keys", lambda _: None)
    expect(page.get_by_role("alert")).to_have_text("The server does not answer.")
    page.unroute_all(behavior="ignoreErrors")
    expect(page.get_by_role("alert")).to_be_hidden()


@pytest.mark.parametrize("path", ["/playground/", "/admin/"])
def test_a_page_whose_address_ends_with_a_slash_is_shown(operator: Tab, path: str) -> None:
    page = operator.open(path)
    expect(page).to_have_url(f"{operator.url}{path[:-1]}")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
