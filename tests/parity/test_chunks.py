"""Long documents in chunks, by the embedded model; those of every layout: test_published_layouts."""

from __future__ import annotations

import pytest

from rerank.catalog.built_in import EMBEDDED
from rerank.catalog.catalog import embedded_folder
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import DEFAULT_OPTIONS, Chunking, Pair, RawScore, ScoringOptions, Span
from rerank.devices import choose_device
from rerank.gateway.chunks import chunk_pairs, chunked_scores
from rerank.gateway.ranking import rank
from rerank.scorers.base import Placement, Scorer, finish, score
from rerank.scorers.chunks import read_chunks
from rerank.scorers.load import load_scorer

FILLER = "Trains stop at the old station twice a day, and the market opens after the first of them has left. "
QUERY = "what does the giant panda eat?"
NEEDLE = "The giant panda eats bamboo for most of the day."


def chunks_of(scorer: Scorer, pairs: list[Pair], chunking: Chunking, options: ScoringOptions) -> list[list[Span]]:
    return finish(read_chunks(scorer, pairs, options, chunking))


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    placement = Placement(choose_device("cpu", "fp32", "torch"), tmp_path_factory.mktemp("openvino"))
    folder = embedded_folder()
    assert folder
    return load_scorer(read_checkpoint(folder, EMBEDDED), EMBEDDED, placement)


def raw_scores(scorer: Scorer, pairs: list[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[RawScore]:
    encoded = scorer.encode(pairs, options)
    logits = score(scorer, encoded)
    return [RawScore(logit, pair.tokens, pair.cut is not None) for logit, pair in zip(logits, encoded, strict=True)]


@pytest.mark.parametrize("place", [0.0, 0.17, 0.5, 0.83, 1.0])
def test_a_needle_ranks_first_wherever_it_stands(embedded: Scorer, place: float) -> None:
    filler = FILLER * 200
    begin = filler.rfind("Trains", 0, 1 + int(place * 12_000)) if place else 0
    haystack = f"{filler[:begin]}{NEEDLE} {filler[begin:12_000]}"
    others = ["The market is closed today.", "Ships sail at night.", filler[:12_000]]
    pairs = [Pair(QUERY, document) for document in [*others, haystack]]

    chunking = Chunking(64)
    spans = chunks_of(embedded, pairs, chunking, DEFAULT_OPTIONS)
    raw = raw_scores(embedded, chunk_pairs(pairs, spans))
    scores = chunked_scores(spans, raw, embedded.activation, chunking)
    assert rank(scores, 1)[0].index == 3
    assert not any(found.truncated for found in scores)
    best = scores[3].best_chunk
    assert best
    assert NEEDLE in haystack[best.span.start : best.span.end]

    whole = raw_scores(embedded, pairs)
    assert [found.truncated for found in whole] == [False, False, True, True]
    if place:
        logits = [found.logit for found in whole]
        assert logits.index(max(logits)) != 3


def test_scores_of_chunks_are_those_of_their_texts_as_documents(embedded: Scorer) -> None:
    pair = Pair(QUERY, f"{FILLER * 30}{NEEDLE} {FILLER * 30}")
    chunking = Chunking(64, listed=True)
    spans = chunks_of(embedded, [pair], chunking, DEFAULT_OPTIONS)
    raw = raw_scores(embedded, chunk_pairs([pair], spans))
    (found,) = chunked_scores(spans, raw, embedded.activation, chunking)
    sent = [Pair(QUERY, pair.document[chunk.span.start : chunk.span.end]) for chunk in found.chunks]
    alone = [raw_scores(embedded, [each])[0].logit for each in sent]
    assert [chunk.relevance_score for chunk in found.chunks] == pytest.approx(
        [embedded.activation(logit) for logit in alone], abs=1e-5
    )


@pytest.mark.parametrize(
    ("needle", "filler"),
    [
        ("大熊猫吃竹子。", "机器学习是人工智能的一个分支。"),
        ("👩‍👩‍👧 🐼🎋", "😀👍🏽🇩🇪 "),
        ("le\u0301opard mange\u0301", "cafe\u0301 ferme\u0301 e\u0301te\u0301 "),
        ("panda\r\nbamboo\r\n", "word\r\nword\r\n\r\n"),
    ],
    ids=["Chinese", "emoji", "combining", "lines"],
)
@pytest.mark.parametrize("place", [0, 400, 800])
def test_spans_hold_the_needle_of_the_callers_own_text(embedded: Scorer, needle: str, filler: str, place: int) -> None:
    document = filler * place + needle + filler * (800 - place)
    (spans,) = chunks_of(embedded, [Pair("panda", document)], Chunking(1000), DEFAULT_OPTIONS)
    assert len(spans) > 1
    assert any(needle in document[span.start : span.end] for span in spans)
