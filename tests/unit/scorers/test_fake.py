from __future__ import annotations

import pytest

from rerank.activations import SIGMOID
from rerank.core import Pair, ScoringOptions, Truncation
from rerank.errors import InvalidRequest
from rerank.scorers.fake import EncodedWords, WordOverlapScorer


@pytest.fixture
def scorer() -> WordOverlapScorer:
    return WordOverlapScorer(max_length=10)


def encode(
    scorer: WordOverlapScorer, *pairs: tuple[str, str], truncation: Truncation | None = None
) -> list[EncodedWords]:
    return scorer.encode([Pair(*pair) for pair in pairs], ScoringOptions(truncation or Truncation()))


class TestEncoding:
    def test_a_word_is_a_token_and_three_more_are_special(self, scorer: WordOverlapScorer) -> None:
        (pair,) = encode(scorer, ("Two Words", "and three MORE"))
        assert pair == EncodedWords(("two", "words"), ("and", "three", "more"))
        assert pair.tokens == 8

    def test_the_documents_tail_is_cut_to_what_the_model_reads(self, scorer: WordOverlapScorer) -> None:
        (pair,) = encode(scorer, ("q q", "a b c d e f g"))
        assert pair == EncodedWords(("q", "q"), ("a", "b", "c", "d", "e"))
        assert pair.tokens == scorer.max_length

    def test_to_the_length_that_was_asked_for(self, scorer: WordOverlapScorer) -> None:
        (pair,) = encode(scorer, ("q", "a b c d"), truncation=Truncation(max_tokens=6))
        assert pair.document == ("a", "b")

    def test_and_to_the_documents_own_limit(self, scorer: WordOverlapScorer) -> None:
        (pair,) = encode(scorer, ("q", "a b c d"), truncation=Truncation(max_tokens_per_document=1))
        assert pair.document == ("a",)

    def test_a_query_that_fills_the_pair_is_refused(self, scorer: WordOverlapScorer) -> None:
        with pytest.raises(InvalidRequest, match="no room for a document"):
            encode(scorer, ("one two three four five six seven", "a"))

    def test_more_tokens_than_the_model_reads_are_refused(self, scorer: WordOverlapScorer) -> None:
        with pytest.raises(InvalidRequest, match="max_model_len"):
            encode(scorer, ("q", "a"), truncation=Truncation(max_tokens=11))


class TestWithoutTruncation:
    FORBIDDEN = Truncation(allowed=False)

    def test_a_pair_that_fits_exactly_passes(self, scorer: WordOverlapScorer) -> None:
        (pair,) = encode(scorer, ("q", "a b c d e f"), truncation=self.FORBIDDEN)
        assert pair.tokens == 10

    def test_a_pair_that_does_not_fit_is_refused_by_its_place(self, scorer: WordOverlapScorer) -> None:
        with pytest.raises(InvalidRequest, match=r"documents\.1 with the query has 11 input tokens"):
            encode(scorer, ("q", "a"), ("q", "a b c d e f g"), truncation=self.FORBIDDEN)


class TestScoring:
    def test_a_logit_is_the_share_of_the_querys_words(self, scorer: WordOverlapScorer) -> None:
        pairs = encode(scorer, ("red fox", "a red fox"), ("red fox", "a red hen"), ("red fox", "blue"), ("", "x"))
        assert scorer.start(pairs).result() == [2.0, 0.0, -2.0, -2.0]

    def test_every_batch_is_noted(self, scorer: WordOverlapScorer) -> None:
        pairs = encode(scorer, ("q", "a"), ("q", "b"), ("q", "c"))
        scorer.start(pairs).result()
        scorer.start(pairs[:1]).result()
        assert scorer.batches == [3, 1]

    def test_relevance_is_its_sigmoid(self, scorer: WordOverlapScorer) -> None:
        assert scorer.activation is SIGMOID
