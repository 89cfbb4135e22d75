"""A text that is read in part gives the tokens of the whole text, cut."""

from __future__ import annotations

import re
from functools import cache
from itertools import accumulate

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rerank.scorers.base import finish
from rerank.scorers.excerpts import Side, read_texts
from rerank.scorers.text_reader import TextReader
from tests.unit.scorers.tokenizers import ALONE, KINDS, opened

_WORDS = (
    "the panda is a bear, or not. ",
    "machine learning",
    "word\r\nword\n\n",
    "机器学习是人工智能的一个分支。",
    "中文",
    "don't <mask> </s> [SEP] <|im_end|> ",
    "👩‍👩‍👧😀",
    "e\u0301\u0302",
    "ﬁ①ﷺ각\u1100\u1161",
)
_RUNS = tuple(".-=a1 \n\t中😀\u0301\ue123é\u200b\x01")
ENDLESS = re.compile(r"(\S)\1{16000}")
"""A row in which tokens may differ from the whole text's."""
_LINES = re.compile(r"\n{1000}")
"""The same for a tokenizer that strips texts, and takes line feeds for unknown letters."""
_SIDES: tuple[Side, Side] = ("right", "left")

words = st.tuples(st.sampled_from(_WORDS), st.integers(1, 300))
runs = st.tuples(st.sampled_from(_RUNS), st.sampled_from([1, 2, 99, 101, 1000, 7001]))
noise = st.tuples(st.text(max_size=200), st.integers(1, 5))
texts = st.lists(st.one_of(words, runs, noise), min_size=1, max_size=8).map(
    lambda parts: "".join(part * times for part, times in parts)
)


@cache
def _reader(kind: str) -> TextReader:
    return opened((KINDS | ALONE)[kind]())


@pytest.mark.parametrize("kind", KINDS | ALONE)
@given(texts=st.lists(texts, min_size=1, max_size=3), wanted=st.sampled_from([1, 2, 30, 500]))
@settings(max_examples=10, deadline=None, derandomize=True)
def test_tokens_are_those_of_the_whole_text(kind: str, texts: list[str], wanted: int) -> None:
    tokenizer = (KINDS | ALONE)[kind]()
    # as they come out of JSON: no half of a surrogate pair
    readable = [text.encode("utf-8", "replace").decode() for text in texts]
    assume(not any(ENDLESS.search(text) for text in readable))
    assume("unigram_of_lines" not in kind or not any(_LINES.search(text) for text in readable))
    for side in _SIDES:
        excerpts = finish(read_texts(_reader(kind), readable, [wanted] * len(readable), side))
        for text, excerpt in zip(readable, excerpts, strict=True):
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            kept = ids[:wanted] if side == "right" else ids[-wanted:]
            assert [*excerpt.ids] == kept
            assert excerpt.tokens == len(ids) if excerpt.whole else wanted < excerpt.tokens <= len(ids)


@pytest.mark.parametrize("side", _SIDES)
@pytest.mark.parametrize(
    "text",
    ["." * 3_000_000, "word " * 600_000, "the 中文。" * 400_000, "a" * 3_000_000, "😀" * 3_000_000],
    ids=["dots", "words", "Chinese", "letters", "emoji"],
)
def test_no_more_is_read_of_a_long_text_than_is_wanted(text: str, side: Side) -> None:
    for kind in ("bytes_with_merges", "unsplit_merges"):
        # a word without a merge is as many tokens as letters, and what is unknown is one
        if kind == "unsplit_merges" and "😀" in text:
            continue
        reading = read_texts(opened(KINDS[kind]()), [text], [512], side)
        assert sum(part.characters for part in reading) < 100_000


@pytest.mark.parametrize("side", _SIDES)
def test_an_endless_word_is_one_unknown_token_and_what_follows_it_is_read(side: Side) -> None:
    tokenizer = KINDS["word_pieces"]()
    text = "bear " + "a" * 500_000 + " bear"
    (excerpt,) = finish(read_texts(opened(tokenizer), [text], [512], side))
    assert excerpt.whole
    assert list(excerpt.ids) == tokenizer.encode("bear [UNK] bear", add_special_tokens=False).ids


@pytest.mark.parametrize("side", _SIDES)
def test_what_stands_behind_a_desert_of_spaces_is_read(side: Side) -> None:
    tokenizer = KINDS["word_pieces"]()
    (excerpt,) = finish(read_texts(opened(tokenizer), ["bear" + " " * 500_000 + "panda"], [512], side))
    assert list(excerpt.ids) == tokenizer.encode("bear panda", add_special_tokens=False).ids


@pytest.mark.parametrize("side", _SIDES)
def test_a_word_goes_on_behind_characters_that_count_for_nothing(side: Side) -> None:
    tokenizer = KINDS["word_pieces"]()
    text = "- the" + "\u0301" * 20_000 + "rapist -" + " the" * 100
    for readable in (text, text[::-1]):
        ids = tokenizer.encode(readable, add_special_tokens=False).ids
        (excerpt,) = finish(read_texts(opened(tokenizer), [readable], [3], side))
        assert list(excerpt.ids) == (ids[:3] if side == "right" else ids[-3:])


@pytest.mark.parametrize("side", _SIDES)
def test_a_slice_does_not_begin_within_a_row_of_equal_characters(side: Side) -> None:
    tokenizer = KINDS["unsplit_merges"]()
    text = "." * 7001 + "😀" * 14_833 + "."
    for readable in (text, text[::-1]):
        kept = tokenizer.encode(readable, add_special_tokens=False).ids
        (excerpt,) = finish(read_texts(opened(tokenizer), [readable], [30], side))
        assert list(excerpt.ids) == (kept[:30] if side == "right" else kept[-30:])


@pytest.mark.parametrize("side", _SIDES)
@pytest.mark.parametrize("wanted", [1, 30, 2000])
@pytest.mark.parametrize("spaces", [7000, 7001])
def test_a_space_put_in_front_of_a_slice_counts_among_no_others(spaces: int, wanted: int, side: Side) -> None:
    tokenizer = KINDS["unsplit_merges"]()
    text = "中文" + " " * spaces
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    (excerpt,) = finish(read_texts(opened(tokenizer), [text], [wanted], side))
    assert list(excerpt.ids) == (ids[:wanted] if side == "right" else ids[-wanted:])


@pytest.mark.parametrize("side", _SIDES)
def test_no_token_of_a_character_that_makes_several_is_lost(side: Side) -> None:
    tokenizer = KINDS["unigram"]()
    text = "ﷺ" * 40 + " " * 9000 + "ﷺ" * 40
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    (excerpt,) = finish(read_texts(opened(tokenizer), [text], [500], side))
    assert list(excerpt.ids) == (ids[:500] if side == "right" else ids[-500:])


@pytest.mark.parametrize("side", _SIDES)
def test_the_characters_of_the_tokens_are_named(side: Side) -> None:
    text = "the panda is a bear " * 5000
    (excerpt,) = finish(read_texts(opened(KINDS["word_pieces"]()), [text], [5], side))
    assert text[excerpt.span] == "the panda is a bear"


def test_many_texts_are_read_in_parts_of_limited_size() -> None:
    texts = [f"{number:4}" + "the panda is a bear " * 30 for number in range(1000)]
    reading = read_texts(opened(ALONE["word_pieces_alone"]()), texts, [512] * 1000, "right")
    parts = [part.characters for part in reading]
    # each text counts, whatever it holds
    assert sum(parts) == 1000 * (604 + 10)
    assert max(parts) <= 64 * 1024 + 10 * 110
    assert len(list(accumulate(parts))) >= 10
