"""A text that is read again is looked up, and gives the tokens and characters that the tokenizer itself gives."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, pre_tokenizers

from rerank.scorers import text_reader
from rerank.scorers.base import Part, finish
from rerank.scorers.excerpts import read_texts
from rerank.scorers.kept_tokens import KeptTokens
from rerank.scorers.text_reader import TextReader
from rerank.scorers.word_reader import ReadText
from tests.unit.scorers.tokenizers import ALONE, KINDS, Counting, opened

_CHINESE = "机器学习是人工智能的一个分支。"
words = st.one_of(st.sampled_from(["the", "panda", "bear,", _CHINESE, "😀", "", "\n", "e\u0301"]), st.text(max_size=5))
texts = st.lists(words, max_size=20).map(" ".join)


def read_by(reader: TextReader, texts: Sequence[str]) -> list[ReadText]:
    return reader.read(reader.look_up(texts))


@cache
def _reader(kind: str) -> TextReader:
    """One that keeps the texts of one example for the next."""
    return opened((KINDS | ALONE)[kind]())


@pytest.mark.parametrize("kind", KINDS | ALONE)
@given(texts=st.lists(texts, min_size=1, max_size=4))
@settings(max_examples=16, deadline=None, derandomize=True)
def test_tokens_are_the_tokenizers_own(kind: str, texts: list[str]) -> None:
    readable = [text.encode("utf-8", "replace").decode() for text in texts]
    reader = _reader(kind)
    for _ in range(2):
        for text, read, whole in zip(readable, read_by(reader, readable), reader.read_whole(readable), strict=True):
            assert [*read.ids] == whole.ids, text
            assert len(read) == len(whole)
            places = range(len(whole))
            assert [read.token_to_chars(place) for place in places] == [whole.token_to_chars(place) for place in places]


def _counting(cores: int = 1) -> tuple[Counting, TextReader]:
    tokenizer: Any = Counting(ALONE["unigram_alone"]())
    return tokenizer, TextReader(tokenizer, cores)


@pytest.mark.parametrize("cores", [1, 16])
@pytest.mark.parametrize("text", ["the panda is a bear", _CHINESE * 20, "", " "])
def test_a_known_text_is_not_read_again(text: str, cores: int) -> None:
    tokenizer, reader = _counting(cores)
    (first,) = read_by(reader, [text])
    before = tokenizer.texts
    again = read_by(reader, [text, text])
    assert [[*read.ids] for read in again] == [[*first.ids]] * 2
    assert tokenizer.texts == before


def test_of_texts_with_known_ones_among_them_the_others_are_read() -> None:
    tokenizer, reader = _counting()
    known = _CHINESE * 3
    read_by(reader, [known])
    before = tokenizer.texts
    texts = [_CHINESE, known, _CHINESE * 2, known]
    read = read_by(reader, texts)
    assert tokenizer.texts == before + 2
    assert [[*text.ids] for text in read] == [whole.ids for whole in reader.read_whole(texts)]


def test_where_a_known_text_is_cut_it_is_read_once_more() -> None:
    tokenizer, reader = _counting()
    text = _CHINESE * 20
    for wanted in (1000, 7):
        (excerpt,) = finish(read_texts(reader, [text], [wanted], "right"))
    (whole,) = reader.read_whole([text])
    cut = whole.token_to_chars(6)
    before = tokenizer.texts
    assert [*excerpt.ids] == whole.ids[:7]
    assert excerpt.span == slice(0, cut and cut[1])
    finish(read_texts(reader, [text], [9], "right"))
    assert tokenizer.texts == before + 1


def test_a_part_of_a_long_text_is_not_kept() -> None:
    tokenizer, reader = _counting()
    text = _CHINESE * 10_000
    counts = []
    for _ in range(2):
        before = tokenizer.texts
        finish(read_texts(reader, [text], [100], "right"))
        counts.append(tokenizer.texts - before)
    assert counts[1] == counts[0] > 0


@pytest.mark.parametrize("text", [_CHINESE * 1000, "a" * 15_000], ids=["of many tokens", "of many characters"])
def test_a_text_that_would_drive_out_others_is_not_kept(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "_LONGEST", 14_000)
    tokenizer, reader = _counting()
    read_by(reader, [text])
    before = tokenizer.texts
    read_by(reader, [text])
    assert tokenizer.texts > before


def test_texts_that_are_not_asked_for_again_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "_ROOM", 10_000)
    tokenizer, reader = _counting()
    for number in range(200):
        read_by(reader, [_CHINESE, f"{_CHINESE * 2}{number}"])
    before = tokenizer.texts
    read_by(reader, [_CHINESE])
    assert tokenizer.texts == before
    read_by(reader, [f"{_CHINESE * 2}1"])
    assert tokenizer.texts > before


@pytest.mark.parametrize("letter", ["a", "中", "😀"])
def test_the_tokens_that_are_kept_take_no_more_than_twice_their_room(letter: str) -> None:
    room = 200_000
    kept = KeptTokens(room)
    for number in range(5000):
        kept.keep({f"{letter * 50}{number}": bytes(100)})
    entries = {**kept._old, **kept._new}
    held = sum(sys.getsizeof(text) + sys.getsizeof(ids) for text, ids in entries.items())
    tables = sys.getsizeof(kept._old) + sys.getsizeof(kept._new)
    assert held + tables < 2 * room
    assert len(entries) > 200


def test_what_is_asked_for_again_stays() -> None:
    kept = KeptTokens(10_000)
    kept.keep({"again": b"1234", "empty": b""})
    for number in range(1000):
        kept.keep({f"other {number}": b"1234"})
        assert kept.ids(["again", "empty", "never kept"]) == [b"1234", b"", None]
    assert kept.ids(["other 1"]) == [None]


def test_threads_may_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_reader, "_ROOM", 20_000)
    reader = TextReader(ALONE["unigram_alone"](), cores=1)
    texts = [f"the panda {number} {_CHINESE}" for number in range(100)]
    expected = [whole.ids for whole in reader.read_whole(texts)]
    with ThreadPoolExecutor(4) as threads:
        rounds = [threads.submit(read_by, reader, texts[start:] + texts[:start]) for start in range(0, 100, 5)]
    for start, read in zip(range(0, 100, 5), rounds, strict=True):
        assert [[*text.ids] for text in read.result()] == expected[start:] + expected[:start]


def test_a_known_text_counts_little_unless_it_is_cut() -> None:
    tokenizer, reader = _counting()
    known, new = _CHINESE * 3, _CHINESE
    read_by(reader, [known])
    assert reader.ahead(reader.look_up([known, new]), []) == Part(20 + len(new))
    assert reader.ahead(reader.look_up([known, new]), ["slice"]) == Part(20 + len(new) + 5)
    texts = [known, new, known, known]
    for wanted, parts in (([99] * 4, [Part(40 + len(new))]), ([1, 9, 2, 99], [Part(40), Part(20 + 2 * len(known))])):
        assert [*read_texts(reader, texts, wanted, "right")] == parts
    before = tokenizer.texts
    finish(read_texts(reader, texts, [1, 9, 2, 99], "right"))
    assert tokenizer.texts == before + 2


def test_what_takes_a_tokenizer_of_unknown_steps_how_long_is_not_known() -> None:
    tokenizer = Tokenizer.from_str(KINDS["word_pieces"]().to_str())
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(a+)+b"), "isolated")
    reader = TextReader(tokenizer, cores=1)
    read_by(reader, ["known"])
    assert reader.ahead(reader.look_up(["known"]), []).quick
    assert not reader.ahead(reader.look_up(["new"]), []).quick
    assert not reader.ahead(reader.look_up([]), ["slice"]).quick


@pytest.mark.parametrize("cores", [1, 64])
def test_a_plain_tokenizer_takes_little_time_on_any_machine(cores: int) -> None:
    reader = TextReader(ALONE["word_pieces_alone"](), cores)
    assert reader.ahead(reader.look_up(["new"]), []) == Part(13)
