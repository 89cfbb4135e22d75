from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.backends.lexical import LexicalBackend, terms
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.built_in import BUILT_IN, LEXICAL_MODEL_ID
from rerank.core import DEFAULT_OPTIONS, Chunking, EmbeddingOptions, Pair, RawScore, Span
from rerank.errors import InvalidRequest, WrongTask
from rerank.scorers.base import TURN_CHARACTERS

CARD = next(card for card in BUILT_IN if card.id == LEXICAL_MODEL_ID)
DATA = Path(__file__).parents[4] / "shared" / "data"
TEXT = st.text("ab c中文", max_size=20)


@pytest.fixture
async def lexical() -> AsyncIterator[LexicalBackend]:
    tokenisers = Tokenisers(1)
    yield LexicalBackend(CARD, tokenisers)
    tokenisers.close()


async def scored(lexical: LexicalBackend, query: str, documents: Sequence[str]) -> list[RawScore]:
    return await lexical.score([Pair(query, document) for document in documents], DEFAULT_OPTIONS)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The CAT's tail_2", ["the", "cat", "s", "tail", "2"]),
        ("\u732b", ["\u732b"]),
        ("\u9ed1\u8c79\u961f", ["\u9ed1", "\u8c79", "\u961f", "\u9ed1\u8c79", "\u8c79\u961f"]),
        ("NFL\u8054\u76df308\u5206", ["nfl", "\u8054", "\u76df", "\u8054\u76df", "308", "\u5206"]),
        ("\uff21\uff22\u3000caf\u00e9 cafe\u0301", ["ab", "caf\u00e9", "caf\u00e9"]),
        ("?! \u3002\uff0c", []),
    ],
)
def test_terms_are_words_and_neighbouring_ideographs(text: str, found: list[str]) -> None:
    assert list(terms(text)) == found


async def test_documents_with_rarer_words_of_the_query_are_first(lexical: LexicalBackend) -> None:
    documents = ["the capital", "the capital of France", "cheese", "the of"]
    scores = [score.logit for score in await scored(lexical, "the capital of France", documents)]
    assert sorted(range(4), key=lambda place: -scores[place]) == [1, 0, 3, 2]
    assert scores[2] == 0


async def test_scores_are_those_of_bm25_by_hand(lexical: LexicalBackend) -> None:
    # rarity: red ln(1 + 2.5 / 1.5), fox ln(1 + 1.5 / 2.5), asked for twice; the mean length is 8 / 3
    documents = ["red red fox", "fox", "blue sky and sea"]
    found = await scored(lexical, "red fox fox", documents)
    assert [score.logit for score in found] == pytest.approx([0.519923, 0.298854, 0], abs=1e-6)
    assert [score.tokens for score in found] == [3, 1, 4]


@pytest.mark.parametrize("query", ["", "?"])
async def test_without_words_nothing_is_relevant(lexical: LexicalBackend, query: str) -> None:
    for documents in (["red", "fox"], ["", "!"]):
        assert [score.logit for score in await scored(lexical, query, documents)] == [0, 0]


async def test_one_ideograph_is_found_within_others(lexical: LexicalBackend) -> None:
    documents = ["\u6709\u4e00\u53ea\u732b\u5728\u5bb6", "\u6709\u4e00\u53ea\u72d7\u5728\u5bb6"]
    with_it, without = await scored(lexical, "\u732b", documents)
    assert with_it.logit > without.logit == 0


@given(query=TEXT, documents=st.lists(TEXT, max_size=6))
async def test_scores_are_relevance_and_equal_for_equal_documents(query: str, documents: list[str]) -> None:
    with Tokenisers(1) as tokenisers:
        scores = await scored(LexicalBackend(CARD, tokenisers), query, [*documents, *documents])
    assert all(0 <= score.logit <= 1 for score in scores)
    assert scores[: len(documents)] == scores[len(documents) :]


async def test_each_query_is_compared_with_its_own_documents(lexical: LexicalBackend) -> None:
    pairs = [Pair("a", "a"), Pair("b", "a"), Pair("a", "b"), Pair("b", "b")]
    first, second, third, fourth = await lexical.score(pairs, DEFAULT_OPTIONS)
    assert first.logit == fourth.logit > second.logit == third.logit == 0


async def test_a_long_document_is_read_to_its_end(lexical: LexicalBackend) -> None:
    (score,) = await scored(lexical, "needle", ["hay " * TURN_CHARACTERS + "needle"])
    assert score == RawScore(score.logit, TURN_CHARACTERS + 1)
    assert score.logit > 0


async def test_it_reads_documents_whole_and_does_nothing_else(lexical: LexicalBackend) -> None:
    assert await lexical.chunks([Pair("a", "bb")], DEFAULT_OPTIONS, Chunking(most=3)) == [[Span(0, 2)]]
    assert not lexical.cacheable
    with pytest.raises(WrongTask, match=r"^Unsupported task: 'embed'\. `lexical` is keyword search"):
        await lexical.embed(["a"], EmbeddingOptions())
    with pytest.raises(WrongTask, match=r"^Unsupported task: 'tokenize'\. `lexical` is keyword search"):
        await lexical.use_tokenizer(repr)


async def test_a_query_that_is_longer_than_any_model_reads_is_refused(lexical: LexicalBackend) -> None:
    with pytest.raises(InvalidRequest, match="too long for lexical, which takes 65536 characters"):
        await lexical.score([Pair("a" * 65_537, "b")], DEFAULT_OPTIONS)
    (score,) = await lexical.score([Pair("a" * 65_536, "b")], DEFAULT_OPTIONS)
    assert score.logit == 0


async def test_a_row_of_marks_takes_no_more_time_than_other_texts(lexical: LexicalBackend) -> None:
    # in full each of the 64 pieces would take seconds, in which nothing else runs
    (score,) = await scored(lexical, "cat", ["a" + "\u0315\u0300" * (32 * TURN_CHARACTERS) + " cat"])
    assert score.logit > 0


@pytest.mark.parametrize("language", ["en", "zh"])
async def test_it_ranks_as_well_as_the_given_run(language: str, lexical: LexicalBackend) -> None:
    folder = DATA / f"xquad-{language}"
    if not folder.exists():
        pytest.skip(f"{folder} is not there")
    corpus = texts_of(folder / "corpus.jsonl")
    queries = texts_of(folder / "queries.jsonl")
    lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]
    relevant = dict(line.split("\t")[:2] for line in lines)
    run: dict[str, list[str]] = json.loads((folder / "run.bm25.json").read_text(encoding="utf-8"))
    ours = given_run = 0.0
    for name, candidates in run.items():
        scores = await scored(lexical, queries[name], [corpus[candidate] for candidate in candidates])
        order = sorted(range(len(candidates)), key=lambda place: -scores[place].logit)
        ours += gain([candidates[place] for place in order], relevant[name])
        given_run += gain(candidates, relevant[name])
    assert ours >= 0.95 * given_run


def texts_of(file: Path) -> dict[str, str]:
    entries = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return {entry["_id"]: entry["text"] for entry in entries}


def gain(ranked: list[str], relevant: str) -> float:
    """NDCG@10 of a ranking with one relevant document."""
    place = ranked.index(relevant) if relevant in ranked else 10
    return 1 / math.log2(place + 2) if place < 10 else 0.0
