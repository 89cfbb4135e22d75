"""Where a fetched model came from, written beside its weights."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from rerank.text_file import UnfitFile, read_json

MANIFEST = ".rerank-manifest.json"
_BYTES = 1_000_000
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
    """Where the model in a folder came from; None if nothing says that this server fetched it."""
    try:
        content = read_json(folder / MANIFEST, _BYTES)
        return Manifest(str(content["repo"]), str(content["commit"]), content.get("revision"))
    except (OSError, UnfitFile, KeyError, TypeError, AttributeError):
        # only the fetcher writes it; whatever else is there says nothing of where the model came from
        return None
