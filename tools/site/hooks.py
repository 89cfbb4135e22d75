"""Events of MkDocs: parts that are written from the project, the Chinese pages, links to files outside of docs/.

Where a page has a line ``<!-- generated: settings -->``, the site has the table of settings; GitHub shows the line as
nothing. The ids of a Chinese page's headings are those of the English page, so that one link leads to both. For GitHub
a line ``<a id="..."></a>`` before the heading says the id; the site leaves that line out.
"""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tools.site import conversation, openapi, tables

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED: dict[str, Callable[[], str]] = {
    "addresses": openapi.addresses,
    "commands": tables.commands,
    "errors": tables.error_classes,
    "examples": conversation.examples,
    "fields": openapi.fields,
    "metrics": tables.metrics,
    "models": tables.models,
    "settings": tables.settings,
}
"""Writers of the generated parts, by the name in a page."""
_UNTRANSLATED = '!!! note "本页暂无中文版"\n    以下为英文原文。\n\n'
_OTHER_LANGUAGE = re.compile(r"^\[(?:中文|English)\]\(.+\).*\n\n?", re.MULTILINE)
"""The line for GitHub; the site has a menu."""
_CHINESE_BREAK = re.compile(r"(?<=[\u3001-\u9fff\uff01-\uffee])\n *(?=[\u3001-\u9fff\uff01-\uffee])")
"""A line's end within Chinese, which browsers would show as a space."""
_MARKER = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)
_INCLUDED = re.compile(r"^<!-- file: (\S+) -->$", re.MULTILINE)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|mailto:|#)([^)#\s]+)(#[^)\s]*)?\)")
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_HEADING = re.compile(r"^(#{1,6}) (.+?)$", re.MULTILINE)
_ID_FOR_GITHUB = re.compile(r'^<a id="[\w-]+"></a>\n\n?', re.MULTILINE)
_SHOWN_FILES = "files"
"""Folder of the site for files outside of docs/ that pages link to."""

_linked: set[Path] = set()


def on_config(config: Any) -> Any:
    """Add pages that the navigation does not name to the section of their folder; quiet the Chinese dictionary."""
    for section in config.nav:
        for pages in section.values():
            if isinstance(pages, list):
                pages += sorted(_english_pages(Path(pages[0]).parent) - {*pages})
    logging.getLogger("jieba").setLevel(logging.WARNING)
    return config


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """The page with its generated parts."""
    markdown = _OTHER_LANGUAGE.sub("", markdown)
    translated = page.file.src_uri.endswith(".zh-CN.md")
    if translated:
        markdown = _outside_code(markdown, lambda text: _CHINESE_BREAK.sub("", text))
        markdown = with_ids_of(english_of(page.file.src_uri), markdown)
    elif page.url.startswith("zh-CN/"):
        markdown = _after_title(markdown, _UNTRANSLATED)
    markdown = _outside_code(markdown, lambda text: _LINK.sub(lambda link: _link(link, page), text))
    return _INCLUDED.sub(_included, _MARKER.sub(lambda marker: GENERATED[marker[1]](), markdown))


def on_post_build(config: Any) -> None:
    """Copy the linked files that are not in docs/."""
    for path in _linked:
        copy = Path(config.site_dir) / _SHOWN_FILES / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def with_ids_of(english: str, translation: str) -> str:
    """A translation whose headings have the ids of the English ones. Raises ValueError if they do not match."""
    ids = iter(_ids(english))
    levels = [heading[0] for heading in _headings(english)], [heading[0] for heading in _headings(translation)]
    if levels[0] != levels[1]:
        raise ValueError(f"headings {levels[1]} of a translation, {levels[0]} of the English page")
    return _outside_code(translation, lambda text: _with_ids(text, ids))


@cache
def english_of(translation: str) -> str:
    """The text of the English page."""
    return (DOCS / translation.replace(".zh-CN.md", ".md")).read_text(encoding="utf-8")


def _with_ids(text: str, ids: Iterator[str]) -> str:
    return _HEADING.sub(lambda found: f"{found[0]} {{#{next(ids)}}}", _ID_FOR_GITHUB.sub("", text))


def _english_pages(folder: Path) -> set[str]:
    pages = (path.relative_to(DOCS).as_posix() for path in (DOCS / folder).glob("*.md"))
    return {page for page in pages if not page.endswith(".zh-CN.md")}


def _headings(markdown: str) -> list[tuple[str, str]]:
    return _HEADING.findall(_FENCE.sub("", markdown))


def _ids(markdown: str) -> list[str]:
    from markdown.extensions.toc import slugify, unique

    used: set[str] = set()
    plain = (re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", text) for _, text in _headings(markdown))
    return [unique(slugify(text, "-"), used) for text in plain]


def _outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """The text with all but its blocks of code changed."""
    parts, end = [], 0
    for block in _FENCE.finditer(markdown):
        parts += [change(markdown[end : block.start()]), block[0]]
        end = block.end()
    return "".join([*parts, change(markdown[end:])])


def _after_title(markdown: str, text: str) -> str:
    return re.sub(r"^(# .+\n)", rf"\1\n{text}", markdown, count=1, flags=re.MULTILINE)


def _link(link: re.Match[str], page: Any) -> str:
    """The link; to another language's page it is the page's name, to a file outside of docs/ the copy's address."""
    label, target, anchor = link[1], link[2], link[3] or ""
    path = (DOCS / page.file.src_uri).parent.joinpath(target).resolve()
    if path.is_relative_to(DOCS):
        return f"[{label}]({target.replace('.zh-CN.md', '.md')}{anchor})"
    if not path.is_file() or not path.is_relative_to(ROOT):
        raise ValueError(f"{page.file.src_uri}: {target} is no file of the project")
    _linked.add(path)
    up = "../" * page.url.count("/")
    return f'<a href="{up}{_SHOWN_FILES}/{path.relative_to(ROOT).as_posix()}">{label}</a>'


def _included(marker: re.Match[str]) -> str:
    text = (ROOT / marker[1]).read_text(encoding="utf-8")
    return f"```{Path(marker[1]).suffix[1:]}\n{text.rstrip()}\n```"
