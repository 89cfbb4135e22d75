"""Where a fetched model came from, written beside its weights."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

MANIFEST = ".rerank-manifest.json"
_COMMIT = re.compile("[0-9a-fA-F]{7,40}")


@dataclass(frozen=True, slots=True)
class Manifest:
    """Repository and commit of a fetched model."""

    repo: str
    commit: str
    revision: str | None = None
    """The branch, tag or commit that was asked for; None means the default branch."""

    def is_of(self, revision: str) -> bool:
        """True if the model is the revision, as far as can be told without asking the Hub."""
        if _COMMIT.fullmatch(revision):
            return self.commit.startswith(revision.lower())
        return revision == (self.revision or "main")


def read_manifest(folder: Path) -> Manifest | None:
    """Where the model in a folder came from; None if it was not fetched by this server. Raises OSError."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Manifest(str(content["repo"]), str(content["commit"]), content.get("revision"))
    except (ValueError, KeyError, TypeError, AttributeError):
        # only the fetcher writes it; whatever else is there says nothing of where the model came from
        return None
