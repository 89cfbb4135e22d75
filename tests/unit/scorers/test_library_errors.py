"""Errors of libraries, as clients see them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank.scorers.library_errors import shown_error

FOLDER = Path("/home/someone/models/mine")


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("one line", "one line"),
        ("", "ValueError"),
        ("a sentence. Another one.\n\nTraceback of a thing", "a sentence. Another one"),
        ("One sentence over\ntwo lines, e.g. this. Next.", "One sentence over two lines, e.g. this. Next"),
        ("It failed. Set a template, e.g.:\n    {{ query }}", "It failed"),
        ("It failed. So it is (and why).\nInstall it with pip:\n  pip install x", "It failed. So it is (and why)."),
        ("Error(s) in loading Model:\n\tsize mismatch.\n\tanother", "Error(s) in loading Model: size mismatch"),
        ("For details look at the report!", "For details look at the report"),
        (f"{FOLDER}/config.json is wrong", "mine/config.json is wrong"),
        ("A sentence. " * 100, ("A sentence. " * 33).strip(". ")),
        ("x" * 10_000, "x" * 800),
    ],
    ids=["line", "empty", "paragraphs", "lines", "example", "commands", "list", "shout", "path", "many", "endless"],
)
def test_whole_sentences_are_shown_and_no_path(said: str, shown: str) -> None:
    assert shown_error(ValueError(said), FOLDER).rstrip(".") == shown.rstrip(".")


def test_a_name_that_is_not_known_is_a_sentence() -> None:
    assert shown_error(KeyError("brand_new"), FOLDER) == "nothing is known under the name 'brand_new'"
