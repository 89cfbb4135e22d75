"""The origin of a fetched model, stored next to its weights."""

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
        """True if the model is the revision, as far as the manifest shows."""
        if _COMMIT.fullmatch(revision):
            return self.commit.startswith(revision.lower())
        return revision == (self.revision or "main")


def read_manifest(folder: Path) -> Manifest | None:
    """The origin of the model in a folder; None unless this server fetched it."""
    try:
        content = read_json(folder / MANIFEST, _BYTES)
        return Manifest(str(content["repo"]), str(content["commit"]), content.get("revision"))
    except (OSError, UnfitFile, KeyError, TypeError, AttributeError):
        # a file that the fetcher did not write says nothing about the origin
        return None
