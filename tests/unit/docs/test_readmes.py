"""Both READMEs are short, and say the same."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerank.settings import setting_names

ROOT = Path(__file__).parents[3]
README, CHINESE = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh-CN.md"))
MOST_WORDS = 900
CJK = r"\u3400-\u9fff"


def words(text: str) -> float:
    """Words outside blocks of code and addresses of links; two Chinese characters count as a word."""
    prose = re.sub(r"```.*?```|<!--.*?-->", "", text, flags=re.DOTALL)
    prose = re.sub(r"\]\([^)]*\)", "]", prose)
    return len(re.findall(rf"[^\W{CJK}][^\s|{CJK}]*", prose)) + len(re.findall(f"[{CJK}]", prose)) / 2


def programs(text: str) -> list[str]:
    """Blocks of code, without comments."""
    blocks = re.findall(r"```\w*\n(.*?)```", text, re.DOTALL)
    return [re.sub(r" +# .*", "", block) for block in blocks]


def targets(text: str) -> list[str]:
    """Where links and pictures lead, in any order and whatever the language."""
    found = re.findall(r"\]\(([^)]+)\)|<(http[^>]+)>", text.split("\n", 3)[3])
    return sorted("".join(target).replace(".zh-CN", "") for target in found)


def table_names(text: str) -> list[list[str]]:
    """Code in the first cell of each row of a table."""
    return [re.findall("`([^`]+)`", cell) for cell in re.findall(r"^\|([^|]+)\|", text, re.MULTILINE)]


def test_words_are_counted_without_code_and_links() -> None:
    assert words("Two words [and three](https://of.a/link).\n\n```bash\nnone of these\n```\n| a | `b c` |") == 7
    assert words("重排（rerank）模型") == 3


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_a_readme_has_at_most_900_words(text: str) -> None:
    assert words(text) <= MOST_WORDS


def levels(text: str) -> list[str]:
    """The marks of all headings."""
    return re.findall(r"^(#+) ", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)


def test_both_have_the_same_code_links_tables_and_headings() -> None:
    assert programs(README) == programs(CHINESE)
    assert targets(README) == targets(CHINESE)
    assert table_names(README) == table_names(CHINESE)
    assert levels(README) == levels(CHINESE)


@pytest.mark.parametrize("text", [README, CHINESE], ids=["en", "zh"])
def test_the_seven_settings_exist(text: str) -> None:
    table = re.split(r"^\| (?:Setting|设置) \|.*$", text, flags=re.MULTILINE)[1].split("\n\n")[0]
    names = re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)
    known = {name for several in setting_names().values() for name in several}
    assert len(names) == 7
    assert set(names) <= known


def test_every_chinese_page_has_its_english_one() -> None:
    pages = [*(ROOT / "docs").rglob("*.zh-CN.md")]
    assert pages
    assert [page for page in pages if not page.with_name(page.name.replace(".zh-CN", "")).exists()] == []
