from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rerank.backends.warming import import_libraries, warm_up
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import DEFAULT_OPTIONS, Pair, PendingLogits, ScoringOptions
from rerank.errors import InvalidRequest
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from tests.support.tiny_checkpoints import make_xlm_roberta


class NotingScorer(WordOverlapScorer):
    """Notes the lengths it scored; its own prompt takes ``prompt`` tokens."""

    def __init__(self, max_length: int, prompt: int = 0) -> None:
        super().__init__(max_length)
        self.lengths: list[int] = []
        self._prompt = prompt

    def encode(self, pairs: Sequence[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[EncodedWords]:
        if (options.truncation.max_tokens or 0) < self._prompt:
            raise InvalidRequest("no room")
        return super().encode(pairs, options)

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        self.lengths += [pair.tokens for pair in batch]
        return super().start(batch)


@pytest.mark.parametrize(
    ("max_length", "prompt", "lengths"),
    [(8192, 0, [16, 64, 256, 512]), (512, 0, [16, 64, 256, 512]), (300, 0, [16, 64, 256, 300]), (512, 80, [256, 512])],
)
def test_pairs_of_every_length_the_model_reads_are_scored(max_length: int, prompt: int, lengths: list[int]) -> None:
    scorer = NotingScorer(max_length, prompt)
    warm_up(scorer)
    assert scorer.lengths == lengths


def test_a_model_that_cannot_score_is_not_warm() -> None:
    class Broken(WordOverlapScorer):
        def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
            raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        warm_up(Broken())


def test_the_libraries_of_a_model_are_imported_and_left_out_of_garbage_collections(tmp_path: Path) -> None:
    make_xlm_roberta(tmp_path)

    import_libraries(read_checkpoint(tmp_path), ModelCard(id="tiny"), [])

    assert "rerank.scorers.bert_cross_encoder.family" in sys.modules
    assert gc.get_freeze_count()
