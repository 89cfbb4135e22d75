from __future__ import annotations

import pytest

from rerank.core import Truncation
from rerank.errors import InvalidRequest
from rerank.scorers.base import document_limit, pair_limit, too_long


class TestPairLimit:
    @pytest.mark.parametrize(("asked", "limit"), [(None, 512), (-1, 512), (512, 512), (100, 100), (1, 1)])
    def test_is_what_was_asked_for_or_what_the_model_reads(self, asked: int | None, limit: int) -> None:
        assert pair_limit(Truncation(max_tokens=asked), max_length=512) == limit

    def test_cannot_go_past_the_model(self) -> None:
        with pytest.raises(InvalidRequest) as refusal:
            pair_limit(Truncation(max_tokens=513), max_length=512)
        assert refusal.value.param == "truncate_prompt_tokens"
        assert "max_model_len (512)" in refusal.value.message


class TestDocumentLimit:
    @pytest.mark.parametrize(("query_tokens", "room"), [(10, 90), (99, 1), (0, 100)])
    def test_is_what_the_query_leaves(self, query_tokens: int, room: int) -> None:
        assert document_limit(query_tokens, limit=100, max_length=512) == room

    @pytest.mark.parametrize("query_tokens", [100, 101])
    def test_a_query_must_leave_room_for_one_token(self, query_tokens: int) -> None:
        with pytest.raises(InvalidRequest) as refusal:
            document_limit(query_tokens, limit=100, max_length=512)
        assert refusal.value.param == "query"
        assert f"takes {query_tokens} of the 100 tokens" in refusal.value.message
        assert "at most 512 tokens" in refusal.value.message


def test_a_pair_that_is_too_long_is_told_by_its_document() -> None:
    error = too_long(7, tokens=600, limit=512)
    assert error.param == "input_tokens"
    assert "maximum context length is 512 tokens" in error.message
    assert "documents.7 with the query has 600 input tokens" in error.message
