"""Texts with one form of each character, and spans that are still those of the caller's text."""

from __future__ import annotations

import unicodedata
from functools import cache
from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from rerank.core import DEFAULT_OPTIONS, Chunking, Pair, ScoringOptions, Truncation
from rerank.errors import ModelUnsupported
from rerank.normalising import UnfitText, nfkc, normalised
from rerank.runtimes.base import TokenIds
from rerank.scorers.base import Reading, ReadsInParts, finish
from rerank.scorers.chunks import read_chunks
from rerank.scorers.excerpts import read_texts
from rerank.scorers.normalising import normalise, normalise_saved
from rerank.scorers.text_reader import TextReader
from rerank.scorers.tokens import PairTokenizer
from tests.unit.scorers.tokenizers import KINDS

MADE = ("word_pieces", "bytes_with_merges", "unsplit_merges")
WIDE = "“Ｔｈｅ　ｐａｎｄａ”\u2028is ‘a ﬁne\xa0bear’. ①½ﷺ각\u1100\u1161e\u0301ｶﾞ「熊猫」"
texts = st.lists(
    st.tuples(st.one_of(st.sampled_from([*WIDE, WIDE, "panda "]), st.text(max_size=20)), st.integers(1, 12)),
    max_size=6,
).map(lambda parts: "".join(part * times for part, times in parts).encode("utf-8", "replace").decode())


def test_forms_white_space_and_quotation_marks_are_unified() -> None:
    assert normalised("“Ｔｈｅ　panda” is\xa0‘a\u1680bear’,\u2028\x85«ﬁne» „so“ ‹x› 「熊」『猫』﹁…") == (
        '"The panda" is \'a bear\',\n\n"fine" "so" \'x\' "熊""猫""...'
    )


@given(text=texts)
@settings(deadline=None)
def test_twice_is_as_good_as_once(text: str) -> None:
    once = normalised(text) if not grows(text) else ""
    assert normalised(once) == once


def grows(text: str) -> bool:
    try:
        normalised(text)
    except UnfitText:
        return True
    return False


@given(text=st.text(st.characters(max_codepoint=127)))
def test_ascii_stays_as_it_is(text: str) -> None:
    assert normalised(text) == text
    # also where a longer text has other characters
    assert normalised(f"é{text}") == f"é{text}"


@given(
    text=st.text(st.characters(exclude_categories=["Cn", "Cs", "Zs", "Zl", "Zp", "Pi", "Pf", "Ps", "Pe", "Cc", "Po"]))
)
def test_the_rest_is_nfkc_as_python_has_it(text: str) -> None:
    assert normalised(text) == unicodedata.normalize("NFKC", text).replace("’", "'")


@given(text=texts)
def test_without_long_rows_of_marks_nfkc_is_pythons(text: str) -> None:
    assert nfkc(text) == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(
    "part", ["中文，“好”。", "e\u0301\u0302 ", "\u1100\u1161\u11a8", "ｶﾞ", "\u0915\u094d\u0937\u093f"]
)
def test_a_long_text_is_normalised_as_a_whole(part: str) -> None:
    whole = normalised(part)
    assert normalised(part * 5000) == whole * 5000


class TestHostileTexts:
    def test_one_that_would_be_many_times_as_long_is_refused_before_it_is_made(self) -> None:
        with pytest.raises(UnfitText, match="4 times as long"):
            normalised("\ufdfa" * 5_000_000)

    def test_a_short_one_may_grow(self) -> None:
        assert normalised("ﷺ") == "صلى الله عليه وسلم"

    @pytest.mark.parametrize("marks", ["\u0315\u0300", "\u0315\uff9e", "\U0001e130\u0334"])
    def test_a_row_of_marks_that_takes_the_square_of_its_length_is_refused(self, marks: str) -> None:
        with pytest.raises(UnfitText, match="64 combining marks in a row"):
            normalised("a" + marks * 5_000_000)

    @pytest.mark.parametrize("marks", ["\u0315\u0300", "\u0315\uff9e", "\U0001e130\u0334"])
    def test_of_a_row_of_marks_the_first_64_are_read_where_none_is_refused(self, marks: str) -> None:
        kept = unicodedata.normalize("NFKC", "a" + marks * 32)
        assert nfkc(f"a{marks * 2_000_000}b" * 2) == f"{kept}b" * 2

    def test_texts_may_be_full_of_marks(self) -> None:
        assert len(normalised("a\u0315\u0300\u0301" * 5000)) == 3 * 5000

    @pytest.mark.parametrize("kind", MADE)
    def test_no_more_is_read_of_a_long_text_than_is_wanted(self, kind: str) -> None:
        reading = read_texts(TextReader(normalising(kind)), ["\ufdfa" * 1_000_000], [128], "right")
        assert sum(part.characters for part in reading) < 100_000


@cache
def normalising(kind: str) -> Tokenizer:
    return normalise(Tokenizer.from_str(KINDS[kind]().to_str()))


class NormalisedReader(ReadsInParts):
    """The reading half of a cross-encoder whose card normalises."""

    def __init__(self, kind: str, max_length: int) -> None:
        self.max_length = max_length
        self._tokenizer = PairTokenizer(normalising(kind))

    def reading(self, pairs: list[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:  # type: ignore[override]
        return self._tokenizer.pairs(pairs, options.truncation, self.max_length)


@pytest.mark.parametrize("kind", MADE)
@given(text=texts)
@settings(max_examples=12, deadline=None)
def test_tokens_are_those_of_the_normalised_text(kind: str, text: str) -> None:
    if not grows(text):
        own = KINDS[kind]().encode(normalised(text), add_special_tokens=False).ids
        assert normalising(kind).encode(text, add_special_tokens=False).ids == own


@pytest.mark.parametrize("kind", MADE)
@given(text=texts, overlap=st.integers(0, 20))
@settings(max_examples=12, deadline=None)
def test_chunks_are_cut_from_the_callers_text(kind: str, text: str, overlap: int) -> None:
    reader = NormalisedReader(kind, 64)
    pair = Pair("panda?", text)
    (spans,) = finish(read_chunks(reader, [pair], DEFAULT_OPTIONS, Chunking(100_000, overlap)))  # type: ignore[arg-type]
    assert (spans[0].start, spans[-1].end) == (0, len(text))
    assert all(one.end >= other.start > one.start for one, other in pairwise(spans))
    parts = reader.encode([Pair("panda?", text[span.start : span.end]) for span in spans])
    assert [part.cut for part in parts] == [None] * len(spans)


@pytest.mark.parametrize("kind", MADE)
def test_what_is_cut_is_counted_in_the_callers_text(kind: str) -> None:
    text = "ﬁne ﬁne “ﬁne” " * 200
    for side in ("left", "right"):
        (read,) = NormalisedReader(kind, 64).encode([Pair("panda?", text)], ScoringOptions(Truncation(side=side)))
        assert read.cut
        kept = text[read.cut.start : read.cut.end]
        assert len(kept) < 300
        assert kept in text[-300:] if side == "left" else text.startswith(kept)


def test_a_tokenizer_of_python_is_refused() -> None:
    with pytest.raises(ModelUnsupported, match="normalize"):
        normalise_saved(SimpleNamespace(is_fast=False))  # type: ignore[arg-type]
