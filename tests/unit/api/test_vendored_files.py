"""Other people's files for the pages: those that were fetched, of the versions that `make vendor` names."""

from __future__ import annotations

import hashlib
import json

from tools.vendor import FOLDER, LICENCES, PACKAGES

ENTRIES = json.loads((FOLDER / "vendored.json").read_text(encoding="utf-8"))


def test_each_file_is_the_one_that_was_fetched() -> None:
    files = {entry["file"] for entry in ENTRIES}
    assert {path.name for path in FOLDER.iterdir()} == files | {"vendored.json", LICENCES}
    for entry in ENTRIES:
        assert hashlib.sha256((FOLDER / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]


def test_versions_are_those_that_would_be_fetched() -> None:
    assert {(entry["package"], entry["file"]) for entry in ENTRIES} == {
        (package, name) for package, files in PACKAGES.items() for name in files.values()
    }


def test_every_licence_is_kept() -> None:
    text = (FOLDER / LICENCES).read_text(encoding="utf-8")
    assert all(f"{package}\n" in text for package in PACKAGES)
    assert "Apache License" in text


def test_no_file_names_another_host_to_fetch_from() -> None:
    for path in FOLDER.parent.rglob("*"):
        if path.suffix in (".js", ".css", ".html"):
            text = path.read_text(encoding="utf-8")
            assert "@import" not in text, path
            assert "url(http" not in text.replace(" ", ""), path
