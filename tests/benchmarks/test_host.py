"""The host's ceiling: tokenisers of made-up vocabularies, and scorers that compute nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import host_texts
from benchmarks.host_server import PairTokens, PromptTokens
from rerank.core import Pair
from rerank.scorers.base import score


@pytest.mark.parametrize("kind", host_texts.KINDS)
def test_documents_are_read_as_words_and_scored_as_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, size in (("_UNIGRAM_PIECES", 4000), ("_BPE_PIECES", 4000), ("_COMMON_WORDS", 500), ("_RARE_WORDS", 100)):
        monkeypatch.setattr(host_texts, name, size)
    tokenizer = host_texts.tokenizer_of(kind, tmp_path)
    scorer = PairTokens(tokenizer) if kind == "xlm-roberta" else PromptTokens(tmp_path / kind, tokenizer)
    pairs = [Pair("which words", text) for text in host_texts.texts(3)]

    encoded = scorer.encode(pairs)

    assert score(scorer, encoded) == [0.0] * 3
    # a common word is one token
    assert all(115 < pair.tokens < 400 for pair in encoded)
    assert (tmp_path / kind / "tokenizer.json").is_file()
