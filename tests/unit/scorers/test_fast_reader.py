"""fastokens gives the tokens, and the characters of each, that ``tokenizers`` gives, or is not used."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from rerank.scorers import fast_reader
from rerank.scorers.base import Part, finish
from rerank.scorers.excerpts import read_texts
from rerank.scorers.fast_reader import FastReader
from rerank.scorers.text_reader import TextReader
from tests.support.tiny_tokenizers import byte_level_tokenizer
from tests.unit.scorers.test_word_reader import SPLITTING, texts
from tests.unit.scorers.tokenizers import Counting


def _as_gpt_2_splits_them() -> Tokenizer:
    """With white space around a token left out of its characters, as RoBERTa's has it."""
    tokenizer = _content()
    tokenizer["normalizer"] = None
    changed = Tokenizer.from_str(json.dumps(tokenizer))
    changed.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    changed.post_processor = processors.ByteLevel(trim_offsets=True)
    return changed


def _with_a_word_that_no_merges_lead_to(*, ignores_merges: bool = False) -> Tokenizer:
    content = _content("zq")
    content["model"]["ignore_merges"] = ignores_merges
    return Tokenizer.from_str(json.dumps(content))


def _with_tokens_that_take_spaces() -> Tokenizer:
    """As ModernBERT's mask."""
    tokenizer = Tokenizer.from_str(byte_level_tokenizer().to_str())
    tokenizer.add_tokens([AddedToken("<mask>", lstrip=True), AddedToken("é", normalized=True)])
    return tokenizer


def _content(*words: str, without: str = "") -> dict[str, Any]:
    """The byte-level tokenizer's file with further words, and without a byte."""
    content: dict[str, Any] = json.loads(byte_level_tokenizer().to_str())
    kept = [token for token in content["model"]["vocab"] if token != without]
    content["model"]["vocab"] = {token: number for number, token in enumerate([*kept, *words])}
    for number, token in enumerate(content["added_tokens"]):
        token["id"] = len(content["model"]["vocab"]) + number
    return content


KINDS: dict[str, Callable[[], Tokenizer]] = {
    **{name: made for name, made in SPLITTING.items() if name.startswith("bytes")},
    "as_gpt_2_splits_them": cache(_as_gpt_2_splits_them),
    "with_a_word_that_no_merges_lead_to": cache(_with_a_word_that_no_merges_lead_to),
    "with_words_before_merges": cache(lambda: _with_a_word_that_no_merges_lead_to(ignores_merges=True)),
    "with_tokens_that_take_spaces": cache(_with_tokens_that_take_spaces),
}


@cache
def _reader(kind: str) -> FastReader:
    reader = FastReader.of(KINDS[kind]())
    assert reader
    return reader


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(texts, max_size=4))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_tokens_are_the_tokenizers_own(kind: str, texts: list[str]) -> None:
    readable = [text.encode("utf-8", "replace").decode() for text in [*texts, "zq <mask>", "no  é", "e\u0301 zqyes"]]
    reader = _reader(kind)
    whole = reader.read_whole(readable)
    # few characters are read in another way than many
    for read in (reader.read(readable), reader.read([*readable, "x" * 20_000])[:-1]):
        for text, found, expected in zip(readable, read, whole, strict=True):
            assert list(found.ids) == expected.ids, text
            assert len(found) == len(expected)
            places = range(len(expected))
            assert [*map(found.token_to_chars, places)] == [*map(expected.token_to_chars, places)]


@pytest.mark.parametrize("kind", ["bytes_with_merges", "bytes_as_llama_splits_them", "as_gpt_2_splits_them"])
def test_characters_give_the_tokenizers_own_tokens(kind: str) -> None:
    reader = _reader(kind)
    for rows in _in_groups(_rows_of_characters(), 5000):
        for row, read, whole in zip(rows, reader.read(rows), reader.read_whole(rows), strict=True):
            assert list(read.ids) == whole.ids, ascii(row)


def _rows_of_characters() -> Iterator[str]:
    """Each of them alone, behind a letter and a space, and before a digit and itself."""
    # beyond the third plane few are assigned
    numbers = (*range(0xD800), *range(0xE000, 0x33400), *range(0x33400, sys.maxunicode + 1, 97))
    characters = map(chr, numbers)
    for row in _in_groups(characters, 50):
        yield "\n".join(f"{character} x{character} {character}1{character}{character}" for character in row)


def _in_groups(each: Iterable[str], count: int) -> Iterator[list[str]]:
    rest = iter(each)
    return iter(lambda: [*islice(rest, count)], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", ["a", "ab", " ", "\n", "1", "'s", "中文", "😀", "\u0301", "e\u0301\u0323", " \t", "\0"])
def test_rows_of_the_same_give_the_tokenizers_own_tokens(kind: str, row: str) -> None:
    reader = _reader(kind)
    # above 65,535 tokens in a word
    rows = [f"x{row * (count // len(row))}x" for count in (3, 1000, 70_000)]
    for _ in range(2):
        assert [list(read.ids) for read in reader.read(rows)] == [whole.ids for whole in reader.read_whole(rows)]


def test_tokenizers_is_not_asked_for_characters_that_tokens_spell() -> None:
    tokenizer: Any = Counting(byte_level_tokenizer())
    reader = FastReader.of(tokenizer)
    assert reader
    before = tokenizer.texts
    (read,) = reader.read(["the panda is a bär"])
    assert [read.token_to_chars(place) for place in (0, len(read) - 2)] == [(0, 1), (16, 17)]
    assert tokenizer.texts == before
    # two characters that are read as one
    (read,) = reader.read(["ba\u0308r"])
    assert [read.token_to_chars(place) for place in range(4)] == [(0, 1), (1, 2), (1, 2), (3, 4)]
    assert tokenizer.texts == before + 1


def test_threads_may_read_at_once() -> None:
    reader = _reader("bytes_with_merges")
    texts = [f"the panda {number} 机器学习 yes no {'é' * number}" for number in range(200)]
    expected = [whole.ids for whole in reader.read_whole(texts)]
    with ThreadPoolExecutor(4) as threads:
        rounds = [threads.submit(reader.read, texts[start:] + texts[:start]) for start in range(0, 200, 5)]
    for start, read in zip(range(0, 200, 5), rounds, strict=True):
        assert [[*text.ids] for text in read.result()] == expected[start:] + expected[:start]


def _with(**options: Any) -> Tokenizer:
    tokenizer = Tokenizer.from_str(byte_level_tokenizer().to_str())
    tokenizer.model = models.BPE(_content()["model"]["vocab"], [], **options)
    return tokenizer


def _naming_no_token() -> Tokenizer:
    tokenizer = Tokenizer.from_str(byte_level_tokenizer().to_str())
    tokenizer.encode_special_tokens = True
    return tokenizer


def test_without_such_options_it_is_used() -> None:
    assert FastReader.of(_with())


@pytest.mark.parametrize(
    "make",
    [
        *(made for name, made in SPLITTING.items() if not name.startswith("bytes")),
        lambda: _with(dropout=0.1),
        lambda: _with(unk_token="y"),
        lambda: _with(continuing_subword_prefix="n"),
        lambda: _with(end_of_word_suffix="o"),
        lambda: _with(byte_fallback=True),
        lambda: Tokenizer.from_str(json.dumps(_content(without="q"))),
        _naming_no_token,
    ],
)
def test_other_tokenizers_are_left_to_the_library(make: Callable[[], Tokenizer]) -> None:
    assert FastReader.of(make()) is None


class _Otherwise:
    @staticmethod
    def from_json_str(*_: str) -> Any:
        return _Otherwise()

    def encode(self, text: str) -> Any:
        return Tokenizer(models.BPE()).encode("")


def test_one_that_gives_other_tokens_is_not_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fast_reader, "FastTokenizer", _Otherwise)
    assert FastReader.of(byte_level_tokenizer()) is None
    assert "other tokens" in caplog.text


def test_one_that_cannot_be_opened_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    content = _content()
    content["model"]["vocab"]["far"] = 100_000
    caplog.set_level(logging.INFO)
    assert FastReader.of(Tokenizer.from_str(json.dumps(content))) is None
    assert "fastokens is not used" in caplog.text


def test_texts_that_are_read_fast_count_less_and_are_not_kept() -> None:
    reader = TextReader(byte_level_tokenizer(), cores=1)
    reader._fast.result()
    assert reader.ahead(reader.look_up(["a" * 1000]), [5000], ["b" * 500]) == Part(33)
    finish(read_texts(reader, ["the panda"], [10], "right"))
    assert reader.look_up(["the panda"]).known == [None]
