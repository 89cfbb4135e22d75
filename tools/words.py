"""Words that code, documents and help do without, and what to write instead.

    python tools/words.py

Prints each place with a better word, and ends with status 1 if there is any. Tests are not looked at.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BETTER = {
    "anew": "again, or reload, retry, restart",
    "as it comes": "unchanged",
    "beside": "next to, or in addition to",
    "comes along": "is bundled",
    "everybody": "all clients, or a passive verb",
    "in the way of": "like",
    "in work": "in flight",
    "lest": "so that ... not",
    "mend": "repair",
    "nobody": "no client, no caller, or a passive verb",
    "of no account": "ignored",
    "somebody": "a client, a caller, or a passive verb",
    "till": "until",
    "to the letter": "exactly",
    "whence": "from which",
    "whoever": "the client, the caller",
}
LOOKED_AT = ("*.py", "*.md", "*.toml", "*.yml", "*.yaml", "*.json", "Makefile", "Dockerfile", ".env.example")
LEFT_OUT = (":!tests", ":!tools/words.py", ":!*.zh-CN.md")
_WORDS = re.compile(rf"(?<![\w/-])(?:{'|'.join(BETTER)})(?![\w/-])", re.IGNORECASE)


def found_in(text: str) -> Iterator[tuple[int, str]]:
    """Line number and word of each place."""
    for number, line in enumerate(text.splitlines(), start=1):
        for match in _WORDS.finditer(line):
            yield number, match[0].lower()


def main() -> int:
    """Look through the files that git knows; the exit status."""
    command = ["git", "ls-files", "--", *LOOKED_AT, *LEFT_OUT]
    files = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    lines = [
        f"{file}:{number}: {word!r}: better {BETTER[word]}"
        for file in files
        for number, word in found_in(Path(file).read_text(encoding="utf-8"))
    ]
    print("\n".join(lines) or "no word to replace")
    return int(bool(lines))


if __name__ == "__main__":
    sys.exit(main())
