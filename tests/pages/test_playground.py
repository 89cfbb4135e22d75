"""The playground in a real browser."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.pages.browser import SECONDS, Tab
from tests.pages.conftest import MINILM, USER_KEY
from tests.process.server import ServerProcess

expect.set_options(timeout=SECONDS * 1000)

QUERY = "What do giant pandas eat?"
DOCUMENTS = ["Polar bears hunt seals.", "The giant panda eats bamboo.", "Pandas is a Python library."]


def fill(page: Page, query: str = QUERY, documents: str = "\n".join(DOCUMENTS), *models: str) -> None:
    page.get_by_label("Query").fill(query)
    page.get_by_label("Documents", exact=False).first.fill(documents)
    for number, model in enumerate(models, start=1):
        page.get_by_label(f"Model {number}").select_option(model)


def read_file(page: Page, name: str, content: str | bytes) -> None:
    buffer = content if isinstance(content, bytes) else content.encode()
    page.get_by_label("From a file").set_input_files({"name": name, "mimeType": "text/plain", "buffer": buffer})


def rank(page: Page) -> None:
    page.get_by_role("button", name="Rank", exact=True).click()


def rows(page: Page, model: str) -> Locator:
    return page.get_by_role("region", name=f"Ranking by {model}").locator("ol > li")


def texts(page: Page, model: str) -> list[str]:
    return rows(page, model).locator(".text").all_inner_texts()


def test_two_models_rank_side_by_side_and_every_move_is_told(tab: Tab) -> None:
    page = tab.open("/")
    expect(page).to_have_url(f"{tab.url}/playground")
    fill(page, QUERY, "\n".join(DOCUMENTS), MINILM, "lexical")
    rank(page)

    expect(rows(page, MINILM)).to_have_count(3)
    expect(rows(page, "lexical")).to_have_count(3)
    assert texts(page, MINILM)[0] == DOCUMENTS[1]
    expect(rows(page, MINILM).first).to_contain_text("1 up, against the input")
    expect(rows(page, "lexical").first).to_contain_text("against the first model")
    expect(rows(page, MINILM).first).to_contain_text("tokens")


def test_a_fallback_says_who_answered_and_why_and_a_cascade_which_stage(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, QUERY, "\n".join(DOCUMENTS), "always", "quick")
    rank(page)

    expect(page.get_by_role("note")).to_have_text(f"Answered by {MINILM}, because the first choice was not available.")
    expect(rows(page, "quick")).to_have_count(3)
    assert "stage 2" in rows(page, "quick").first.inner_text()
    assert "stage 1" in rows(page, "quick").last.inner_text()


def test_options_and_raw_logits_are_asked_for(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, QUERY, "\n".join(DOCUMENTS), MINILM)
    page.get_by_text("Options").click()
    page.get_by_label("Best ones only").fill("2")
    page.get_by_label("Show raw logits").check()
    rank(page)

    expect(rows(page, MINILM)).to_have_count(2)
    expect(rows(page, MINILM).first.locator(".score")).to_have_text(re.compile(r"^0\.\d{4} \(-?\d+\.\d{3}\)$"))


def test_the_best_chunk_is_marked_in_a_text_with_characters_of_every_width(tab: Tab) -> None:
    page = tab.open("/playground")
    needle = "The giant panda eats bamboo 🎋 each day."
    long = f"{'🐼 Nothing is said here of food. ' * 150}{needle}{' 天气很好。' * 300}"
    fill(page, QUERY, long, MINILM)
    page.get_by_text("Options").click()
    page.get_by_label("Chunks per document").fill("20")
    rank(page)

    assert needle in rows(page, MINILM).locator("mark").inner_text()


def test_a_document_is_text_and_no_markup(tab: Tab) -> None:
    page = tab.open("/playground")
    hostile = "<script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
    fill(page, QUERY, hostile, MINILM)
    rank(page)

    expect(rows(page, MINILM).locator(".text")).to_have_text(hostile)
    expect(page).to_have_title("Rerank playground")


def test_a_thousand_documents_are_ranked_and_a_hundred_drawn_until_all_are_wanted(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, QUERY, "\n".join(f"document {number}" for number in range(1000)), "lexical")
    expect(page.get_by_text("1000 documents")).to_be_visible()
    rank(page)

    expect(rows(page, "lexical")).to_have_count(100)
    page.get_by_role("button", name="Show all 1000").click()
    expect(rows(page, "lexical")).to_have_count(1000)


def test_the_page_speaks_chinese_and_ranks_it(tab: Tab) -> None:
    page = tab.open("/playground")
    page.get_by_role("button", name="中文").click()
    page.get_by_role("button", name="退货").click()
    page.get_by_label("模型 1").select_option("lexical")
    page.get_by_role("button", name="排序", exact=True).click()

    ranking = page.get_by_role("region", name="lexical 的排序")
    expect(ranking.locator("ol > li")).to_have_count(5)
    expect(ranking.locator("ol > li").first).to_contain_text("七天内")
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    page.reload()
    expect(page.get_by_role("heading", name="重排序试验台")).to_be_visible()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("some.txt", "one\ntwo\nthree"),
        ("paragraphs.txt", "one\n\ntwo\nof two lines\n\nthree"),
        ("some.jsonl", '"one"\n{"text": "two"}\n\n{"id": 3, "content": "three"}\n'),
        ("GBK.csv", "标题,内容\r\n一,two 熊猫\r\n二,竹子\r\n三,米饭\r\n".encode("gb18030")),
        ("some.csv", 'id,text\r\n1,one\r\n2,"two, with ""quotes"""\r\n3,"three\nof two lines"\r\n'),
    ],
    ids=["lines", "paragraphs", "JSONL", "CSV in Chinese", "CSV"],
)
def test_a_file_of_documents_is_read(tab: Tab, name: str, content: str | bytes) -> None:
    page = tab.open("/playground")
    read_file(page, name, content)
    expect(page.get_by_text("3 documents")).to_be_visible()
    texts = page.locator("#documents").input_value()
    assert "two" in texts
    assert ("熊猫\n竹子" in texts) == (name == "GBK.csv")


def test_one_document_of_several_lines_stays_one(tab: Tab) -> None:
    page = tab.open("/playground")
    read_file(page, "some.jsonl", json.dumps({"text": "one\n\nof two lines"}))
    expect(page.get_by_text("1 document:")).to_be_visible()
    expect(page.locator("#documents")).to_have_value("one of two lines")


def test_a_broken_line_of_a_file_is_named(tab: Tab) -> None:
    page = tab.open("/playground")
    read_file(page, "some.jsonl", '"one"\n{"text": 2}')
    expect(page.get_by_role("alert")).to_have_text("some.jsonl, line 2: no JSON with a text")


def test_what_is_missing_is_named(tab: Tab) -> None:
    page = tab.open("/playground")
    rank(page)
    expect(page.get_by_role("status")).to_have_text("Enter a query.")
    fill(page, QUERY, "  ")
    rank(page)
    expect(page.get_by_role("status")).to_have_text("Enter documents.")


def test_a_ranking_is_shared_by_its_address_which_no_server_sees(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, "熊猫 🐼?", "\n".join(DOCUMENTS), "lexical")
    page.get_by_role("button", name="Link to this ranking").click()
    expect(page.get_by_text("which no browser sends to a server")).to_be_visible()
    address = page.url
    tab.requested.clear()
    page.reload()

    expect(page.get_by_label("Query")).to_have_value("熊猫 🐼?")
    assert page.locator("#documents").input_value() == "\n".join(DOCUMENTS)
    assert address.split("#")[1] not in "".join(url.split("#")[0] for url in tab.requested)


def link(page: Page, state: Any) -> str:
    """The address of a ranking, as the page writes it."""
    write = "async (state) => (await import('./pages/texts.js')).toFragment(state)"
    return f"#{page.evaluate(write, state)}"


def test_a_second_link_in_the_same_tab_is_read(tab: Tab) -> None:
    page = tab.open("/playground")
    for query in ("first", "second"):
        page.evaluate("(hash) => { location.hash = hash; }", link(page, {"query": query, "text": "a\nb"}))
        expect(page.get_by_label("Query")).to_have_value(query)


@pytest.mark.parametrize(
    "state",
    [
        None,
        ["query"],
        {"query": 5, "text": ["a"], "models": "lexical", "options": 7, "raw": "yes"},
        {"query": None, "models": [None, 1, {}], "options": {"instruction": 5, "top_n": {"a": 1}}},
    ],
    ids=str,
)
def test_a_link_that_holds_something_else_leaves_the_page_usable(tab: Tab, state: Any) -> None:
    page = tab.open("/playground")
    page.evaluate("(hash) => { location.hash = hash; }", link(page, state))
    page.reload()
    expect(page.get_by_label("Model 1").locator("option").first).to_be_attached()
    fill(page, QUERY, "\n".join(DOCUMENTS), "lexical")
    rank(page)
    expect(rows(page, "lexical")).to_have_count(3)


def test_an_invalid_number_among_closed_options_is_shown(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, QUERY, "\n".join(DOCUMENTS), "lexical")
    page.get_by_text("Options").click()
    page.get_by_label("Best ones only").fill("0")
    page.get_by_text("Options").click()
    expect(page.get_by_label("Best ones only")).to_be_hidden()
    rank(page)
    expect(page.get_by_label("Best ones only")).to_be_focused()


def test_a_long_text_is_opened_with_the_keyboard(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, QUERY, f"short\n{'long ' * 200}", "lexical")
    rank(page)
    expect(rows(page, "lexical")).to_have_count(2)
    (text,) = page.locator(".text[role=button]").all()
    expect(text).to_have_attribute("aria-expanded", "false")
    text.focus()
    page.keyboard.press("Enter")
    expect(text).to_have_attribute("aria-expanded", "true")


@pytest.mark.parametrize("dialect", ["sglang", "strict-vllm"])
def test_a_ranking_with_options_is_given_in_every_dialect(
    stranger: Tab, tmp_path: Path, converted: None, dialect: str
) -> None:
    with ServerProcess(tmp_path, {"RERANK_DIALECT": dialect}) as other:
        page = stranger.page
        stranger.url = other.url
        stranger.open("/playground")
        fill(page, QUERY, "\n".join(DOCUMENTS), "lexical")
        page.get_by_text("Options").click()
        page.get_by_label("Minimum relevance").fill("0.01")
        rank(page)
        expect(rows(page, "lexical")).to_have_count(2)
    assert stranger.errors == []


def test_the_curl_command_of_the_page_gives_the_ranking_of_the_page(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, 'it\'s "odd"?', "\n".join(DOCUMENTS), "lexical")
    page.get_by_text("Copy as curl").click()
    expect(page.locator("pre")).to_contain_text("v1/rerank")
    command = page.locator("pre").inner_text()
    done = subprocess.run(
        ["bash", "-c", command],
        env={"PATH": "/usr/bin:/bin", "RERANK_API_KEY": USER_KEY},
        capture_output=True,
        check=True,
    )
    assert len(json.loads(done.stdout)["results"]) == 3


def test_a_wrong_key_is_said_and_the_right_one_is_taken_for_the_tab(stranger: Tab) -> None:
    page = stranger.open("/playground")
    expect(page.get_by_text("The server asks for a key.")).to_be_visible()
    fill(page, QUERY, "\n".join(DOCUMENTS))
    rank(page)
    expect(page.get_by_role("status")).to_have_text("The server has named no model yet.")
    for wrong in ("wrong", "密钥 🔑"):
        page.get_by_label("API key").fill(wrong)
        page.get_by_role("button", name="Use this key").click()
        expect(page.get_by_role("alert")).to_have_text("Unauthorized: the API key is wrong.")
    page.get_by_label("API key").fill(USER_KEY)
    page.get_by_role("button", name="Use this key").click()
    expect(page.get_by_role("alert")).to_be_hidden()
    fill(page, QUERY, "\n".join(DOCUMENTS), "lexical")
    rank(page)
    expect(rows(page, "lexical")).to_have_count(3)
    assert page.evaluate("() => [localStorage.getItem('rerank-key'), document.cookie]") == [None, ""]


def test_a_server_that_is_gone_is_said(tab: Tab) -> None:
    page = tab.open("/playground")
    fill(page, QUERY, "\n".join(DOCUMENTS), "lexical")
    page.context.set_offline(True)
    rank(page)
    expect(page.get_by_role("alert")).to_have_text("The server does not answer.")
    tab.errors.clear()  # the console tells of it, too
