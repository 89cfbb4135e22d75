"""Collections with normalised texts."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rerank.evaluation.reading.lines import DataError
from rerank.evaluation.unified import unified
from tests.unit.evaluation.test_collection import COLLECTION


def test_only_queries_that_read_differently_are_left() -> None:
    changed = replace(
        COLLECTION,
        queries={**COLLECTION.queries, "q3": "\uff51uestion 3"},
        documents={**COLLECTION.documents, "d": "\u201cdate\u201d"},
        candidates={**COLLECTION.candidates, "q7": ("d", "a")},
    )
    read = unified(changed)
    assert read.candidates == {"q3": ("a", "b", "c"), "q7": ("d", "a")}
    assert (read.queries["q3"], read.documents["d"]) == ("question 3", '"date"')
    assert unified(COLLECTION).candidates == {}


def test_a_text_that_cannot_be_normalised_is_named() -> None:
    wrong = replace(COLLECTION, documents={**COLLECTION.documents, "d": "e" + "\u0301" * 100})
    with pytest.raises(DataError, match="document 'd' cannot be normalised: it has more than 64 combining marks"):
        unified(wrong)


def test_a_query_that_cannot_be_normalised_is_named() -> None:
    wrong = replace(COLLECTION, queries={**COLLECTION.queries, "q3": "e" + "\u0301" * 100})
    with pytest.raises(DataError, match=r"^query 'q3' cannot be normalised: it has more than 64 combining marks"):
        unified(wrong)
