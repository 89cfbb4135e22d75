from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.backends.remote.answers import Nonsense, Reason, read_answer, read_reason

ONE = {"index": 0, "relevance_score": 0.5}


@given(st.permutations(range(5)))
def test_scores_are_in_the_order_of_the_documents(order: list[int]) -> None:
    results = [{"index": index, "relevance_score": index / 10} for index in order]
    answer = read_answer(json.dumps({"results": results}).encode(), 5)
    assert [scored.score for scored in answer.scores] == [0.0, 0.1, 0.2, 0.3, 0.4]


@pytest.mark.parametrize(("said", "truncated"), [(True, True), (False, False), ("yes", None), (1, None)])
def test_a_gateway_says_which_documents_were_cut(said: object, truncated: bool | None) -> None:
    content = json.dumps({"results": [ONE | {"truncated": said}]}).encode()
    assert read_answer(content, 1).scores == [(0.5, truncated)]


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"results": [ONE], "usage": {"total_tokens": 7, "prompt_tokens": 6}}, 7),
        ({"data": [ONE], "usage": {"total_tokens": 7}}, 7),
        ({"output": {"results": [ONE]}, "usage": {"total_tokens": 7}}, 7),
        ({"results": [ONE], "meta": {"tokens": {"input_tokens": 7}}}, 7),
        ({"rankings": [{"index": 0, "logit": 0.5}]}, None),
        ([{"index": 0, "score": 0.5, "text": "a"}], None),
        ({"results": [ONE], "usage": {"total_tokens": -7}}, None),
        ({"results": [ONE], "usage": {"total_tokens": 0}}, None),
        ({"results": [ONE], "usage": {"total_tokens": 2**32 - 1}}, 2**32 - 1),
        ({"results": [ONE], "usage": {"total_tokens": 2**32}}, None),
        ({"results": [ONE], "usage": {"total_tokens": True}}, None),
        ({"results": [ONE], "usage": "none"}, None),
    ],
)
def test_every_shape_of_answer_is_read(body: Any, tokens: int | None) -> None:
    assert read_answer(json.dumps(body).encode(), 1) == ([(0.5, None)], tokens)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>welcome</html>", "something that is not JSON"),
        (b"", "something that is not JSON"),
        (b"[" * 100_000, "something that is not JSON"),
        (b'{"code": "InvalidParameter", "message": "no"}', "no list of results"),
        (b"null", "no list of results"),
        (b'{"results": {"index": 0}}', "no list of results"),
        (b'{"results": []}', "0 scores for 2 documents"),
        (b'{"results": [{"index": 0, "relevance_score": 1}]}', "1 scores for 2 documents"),
        (b'[{"index": 0, "score": 1}, {"index": 0, "score": 1}]', "two scores for document 0"),
        (b'[{"index": 0, "score": 1}, {"index": 2, "score": 1}]', "an index that no document has"),
        (b'[{"index": 0, "score": 1}, {"index": -1, "score": 1}]', "an index that no document has"),
        (b'[{"index": true, "score": 1}, {"index": 0, "score": 1}]', "an index that no document has"),
        (b'[{"index": 0, "score": 1}, 7]', "an index that no document has"),
        (b'[{"index": 0, "score": NaN}, {"index": 1, "score": 1}]', "a score that is not finite"),
        (b'[{"index": 0, "score": 1e999}, {"index": 1, "score": 1}]', "a score that is not finite"),
        (b'[{"index": 0, "score": 1' + b"0" * 400 + b'}, {"index": 1, "score": 1}]', "a score that is not finite"),
        (b'[{"index": 0, "score": "1"}, {"index": 1, "score": 1}]', "a score that is not a number"),
        (b'[{"index": 0, "score": true}, {"index": 1, "score": 1}]', "a score that is not a number"),
        (b'[{"index": 0}, {"index": 1, "score": 1}]', "a score that is not a number"),
    ],
)
def test_nonsense_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(Nonsense) as refused:
        read_answer(content, 2)
    assert str(refused.value) == said


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"error": {"message": "too long", "param": "documents.3"}}, Reason("too long", 3)),
        ({"error": {"message": "documents.3 is too long", "param": None}}, Reason("the document is too long", 3)),
        ({"error": "texts[2] is empty", "error_type": "Validation"}, Reason("the document is empty", 2)),
        ({"error": {"message": "texts[0] is empty", "param": "texts.4"}}, Reason("the document is empty", 0)),
        ({"error": {"message": "documents.4 and documents.1"}}, Reason("documents.4 and the document", 1)),
        ({"message": "at most documents 1000"}, Reason("at most documents 1000")),
        ({"message": "no documents"}, Reason("no documents")),
        ({"detail": "bad\x1b[31m\nbody"}, Reason("bad [31m body")),
        ({"detail": [{"msg": "x"}], "code": "Throttling"}, Reason("Throttling")),
        ({"error": {"message": "x" * 1000}}, Reason("x" * 300)),
        (["what"], Reason("")),
    ],
)
def test_every_shape_of_error_is_read(body: Any, reason: Reason) -> None:
    assert read_reason(json.dumps(body).encode(), 4) == reason


def test_an_error_that_is_not_json_says_nothing() -> None:
    assert read_reason(b"<html>502</html>", 1) == Reason("")


def test_what_is_masked_is_masked_before_it_is_cut() -> None:
    content = json.dumps({"message": "x" * 297 + "secret"}).encode()
    assert read_reason(content, 1, lambda text: text.replace("secret", "***")) == Reason("x" * 297 + "***")
