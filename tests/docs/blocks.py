"""Blocks of code in the documents, and how each is tested.

Every block of ```bash or ```python is run by test_commands.py, unless a line right before it says why not:

    <!-- not run: needs Docker -->

Blocks all of whose commands are listed in ``ELSEWHERE`` need no such line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from tests.process.server import ROOT

ELSEWHERE = {
    "rerank pull": "downloads weights",
    "rerank cluster": "needs Ray; tests/cluster runs it",
    "rerank serve": "stays in the foreground; tests/process starts servers",
    "make": "make installs packages; tests/process runs what it starts",
    "docker": "needs Docker",
    "helm": "needs a cluster",
    "kubectl": "needs a cluster",
    "kind": "needs Docker",
    "ray": "needs a cluster",
}
"""Commands that are never run here, and why."""
_BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?"
    r"^ *```(?P<language>bash|sh|shell|console|python)\b[^\n]*\n(?P<text>.*?)^ *```",
    re.MULTILINE | re.DOTALL,
)
_NOT_RUN = re.compile(r"not run: (.+)")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of code."""

    page: str
    language: str
    text: str
    mark: str

    @property
    def reason(self) -> str:
        """Why it is not run; empty if it is."""
        if found := _NOT_RUN.fullmatch(self.mark):
            return found[1]
        reasons = [ELSEWHERE.get(words[0]) or ELSEWHERE.get(" ".join(words[:2])) for words in self.commands()]
        return "; ".join(reason for reason in reasons if reason) if all(reasons) else ""

    def commands(self) -> Iterator[list[str]]:
        """The words of each of its lines that is a command of its own, without settings before it."""
        if self.language == "python":
            return
        whole = re.sub(r"\\\n *", "", self.text)
        for line in whole.splitlines():
            try:
                words = shlex.split(line, comments=True)
            except ValueError:
                # a line within quotation marks that span several
                continue
            while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                words.pop(0)
            if words:
                yield [words[0].removeprefix(".venv/bin/"), *words[1:]]


def documents() -> list[str]:
    """Every document that people read, relative to the project."""
    pages = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))
    return ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "examples/README.md", "examples/README.zh-CN.md", *pages]


def blocks() -> Iterator[Block]:
    """Every block of every document."""
    for page in documents():
        for found in _BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
            yield Block(page, found["language"], found["text"], found["mark"] or "")
