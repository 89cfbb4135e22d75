"""What speeds are measured on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest

from rerank.core import Pair
from rerank.evaluation import workload
from rerank.evaluation.reading.lines import DataError
from rerank.evaluation.workload import QUERY, Request, endless, mixed_documents, mixed_requests, requests_in_file


def test_documents_have_mixed_lengths_and_stay_the_same() -> None:
    lengths = [len(document.split()) for document in mixed_documents(2000)]
    assert (min(lengths), max(lengths)) == (20, 370)
    assert 130 < sum(lengths) / len(lengths) < 146
    assert mixed_documents(5, seed=1) == mixed_documents(5, seed=1)


def test_requests_have_the_documents_asked_for_and_differ() -> None:
    requests = mixed_requests(3, 4)
    assert [len(request) for request in requests] == [4, 4, 4]
    assert len({pair for request in requests for pair in request}) == 12


def test_requests_come_again_with_other_texts_of_the_same_length() -> None:
    requests = requests_of("one two", "", "一二三")
    found = [pair.document for request in islice(endless(requests), 9) for pair in request]
    assert found == ["one two", "", "一二三", "two one", "", "二三一", "one two", "", "三一二"]
    assert {pair.query for request in islice(endless(requests), 9) for pair in request} == {QUERY}


def requests_of(*documents: str) -> list[Request]:
    return [(Pair(QUERY, document),) for document in documents]


def written(folder: Path, content: str) -> Path:
    file = folder / "texts"
    file.write_text(content, encoding="utf-8")
    return file


def test_texts_of_a_file_are_grouped_into_requests(tmp_path: Path) -> None:
    requests = requests_in_file(written(tmp_path, "one\n\ntwo\r\n  \nthree"), documents=2)
    assert [[pair.document for pair in request] for request in requests] == [["one", "two"], ["three"]]
    assert {pair.query for request in requests for pair in request} == {QUERY}


def test_requests_of_a_file_stay_as_they_are(tmp_path: Path) -> None:
    file = written(tmp_path, '{"query": "q", "documents": ["a", {"text": "b"}]}\n{"text": "c"}\n{"text": "d"}\n')
    assert requests_in_file(file, 2) == [(("q", "a"), ("q", "b")), ((QUERY, "c"), (QUERY, "d"))]


def test_only_the_first_documents_of_a_long_file_are_read(tmp_path: Path) -> None:
    file = written(tmp_path, "text\n" * 6000 + "{broken")
    assert sum(map(len, requests_in_file(file, 20))) == 5000


def test_reading_ends_at_the_limit_of_characters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workload, "_MOST_CHARACTERS", 10)
    assert len(requests_in_file(written(tmp_path, "text\n" * 3 + "{broken"), 1)) == 3


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds no texts"),
        ("\n \n", "holds no texts"),
        ("a\n{", ":2: is not JSON"),
        ('{"query": "a"}', ":1: documents must be a list"),
    ],
)
def test_a_file_that_cannot_be_used_says_where(content: str, problem: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=problem):
        requests_in_file(written(tmp_path, content), 20)
