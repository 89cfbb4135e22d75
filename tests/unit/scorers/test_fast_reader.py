"""Faster libraries give the tokens, and the characters of each, that ``tokenizers`` gives, or are not used."""

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
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from rerank.runtimes.ids import Ids
from rerank.scorers.base import Part, finish
from rerank.scorers.excerpts import read_texts
from rerank.scorers.fast_reader import FastReader
from rerank.scorers.fast_tokenizers import BytePairs, Pieces
from rerank.scorers.word_reader import WordReader
from tests.support.tiny_tokenizers import byte_level_tokenizer
from tests.unit.scorers.test_word_reader import SPLITTING, texts
from tests.unit.scorers.tokenizers import Counting, opened


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


def _word_pieces(**options: Any) -> Tokenizer:
    tokenizer = Tokenizer.from_str(SPLITTING["word_pieces"]().to_str())
    tokenizer.normalizer = normalizers.BertNormalizer(**options)
    return tokenizer


def _word_pieces_with_a_token_in_small_letters() -> Tokenizer:
    tokenizer = _word_pieces()
    tokenizer.add_tokens([AddedToken("panda.", normalized=True)])
    return tokenizer


PIECES: dict[str, Callable[[], Tokenizer]] = {
    **{name: made for name, made in SPLITTING.items() if name.startswith(("word_pieces", "unigram"))},
    "word_pieces_with_a_token_in_small_letters": cache(_word_pieces_with_a_token_in_small_letters),
    "cased_word_pieces": cache(lambda: _word_pieces(lowercase=False)),
    "accented_word_pieces": cache(lambda: _word_pieces(strip_accents=False, handle_chinese_chars=False)),
}
BYTES: dict[str, Callable[[], Tokenizer]] = {
    **{name: made for name, made in SPLITTING.items() if name.startswith("bytes")},
    "as_gpt_2_splits_them": cache(_as_gpt_2_splits_them),
    "with_a_word_that_no_merges_lead_to": cache(_with_a_word_that_no_merges_lead_to),
    "with_words_before_merges": cache(lambda: _with_a_word_that_no_merges_lead_to(ignores_merges=True)),
    "with_tokens_that_take_spaces": cache(_with_tokens_that_take_spaces),
}
KINDS = PIECES | BYTES


def _fast_reader(tokenizer: Tokenizer) -> FastReader | None:
    return FastReader.of(tokenizer, WordReader(tokenizer, cores=1))


@cache
def _reader(kind: str) -> FastReader:
    reader = _fast_reader(KINDS[kind]())
    assert reader
    return reader


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(texts, max_size=4))
@settings(max_examples=24, deadline=None, derandomize=True)
def test_tokens_are_the_tokenizers_own(kind: str, texts: list[str]) -> None:
    readable = [text.encode("utf-8", "replace").decode() for text in [*texts, "zq <mask>", "no  é", "e\u0301 zqyes"]]
    readable += ["the PANDA.", "Pａnda. é", "the panda", "1x ①x", "ＢEAR, é", "BeaR,"]
    reader = _reader(kind)
    whole = reader.words.read_whole(readable)
    # few characters are read in another way than many
    for read in (reader.read(readable), reader.read([*readable, "x" * 20_000])[:-1]):
        for text, found, expected in zip(readable, read, whole, strict=True):
            assert list(found.ids) == expected.ids, text
            assert len(found) == len(expected)
            places = range(len(expected))
            assert [*map(found.token_to_chars, places)] == [*map(expected.token_to_chars, places)]


@pytest.mark.parametrize(
    "kind",
    [
        "bytes_with_merges",
        "bytes_as_llama_splits_them",
        "as_gpt_2_splits_them",
        "word_pieces",
        "cased_word_pieces",
        "unigram",
        "unigram_as_published",
    ],
)
def test_characters_give_the_tokenizers_own_tokens(kind: str) -> None:
    reader = _reader(kind)
    for rows in _in_groups(_rows(filter(reader.fast.reads, _characters())), 5000):
        assert all(map(reader.fast.reads, rows))
        for row, read, whole in zip(rows, reader.read(rows), reader.words.read_whole(rows), strict=True):
            assert list(read.ids) == whole.ids, ascii(row)


def _characters() -> Iterator[str]:
    # beyond the third plane few are assigned
    return map(chr, (*range(0xD800), *range(0xE000, 0x33400), *range(0x33400, sys.maxunicode + 1, 97)))


def _rows(characters: Iterable[str]) -> Iterator[str]:
    """Each of them alone, behind a letter and a space, and before a digit and itself."""
    for row in _in_groups(characters, 50):
        yield "\n".join(f"{character} x{character} {character}1{character}{character}" for character in row)


def _in_groups(each: Iterable[str], count: int) -> Iterator[list[str]]:
    rest = iter(each)
    return iter(lambda: [*islice(rest, count)], [])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("row", ["ab", " ", "1", "'s", "中文", "😀", "e\u0301\u0323", "\0"])
def test_rows_of_the_same_give_the_tokenizers_own_tokens(kind: str, row: str) -> None:
    reader = _reader(kind)
    # above 65,535 tokens in a word
    rows = [f"x{row * (count // len(row))}x" for count in (3, 1000, 70_000)]
    for _ in range(2):
        assert [list(read.ids) for read in reader.read(rows)] == [whole.ids for whole in reader.words.read_whole(rows)]


@pytest.mark.parametrize("kind", [kind for kind in PIECES if "with_a_token" not in kind])
@pytest.mark.parametrize("text", ["a <mask>", "[SEP]x", "the \u061d panda", "\ufffe\ue000", "\u0bcd", "\U0001f16c"])
def test_pieces_of_rare_characters_and_named_tokens_are_read_by_tokenizers(kind: str, text: str) -> None:
    tokenizer: Any = Counting(KINDS[kind]())
    reader = _fast_reader(tokenizer)
    assert reader
    named = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
    before = tokenizer.texts
    read = reader.read(["the panda", text, "is a bear"])
    rare = not text.isascii() or any(name in text for name in named)
    assert (tokenizer.texts > before) == rare
    assert [list(each.ids) for each in read] == [
        whole.ids for whole in reader.words.read_whole(["the panda", text, "is a bear"])
    ]


def test_tokenizers_is_not_asked_for_characters_that_bytes_spell() -> None:
    tokenizer: Any = Counting(byte_level_tokenizer())
    reader = _fast_reader(tokenizer)
    assert reader
    before = tokenizer.texts
    (read,) = reader.read(["the panda is a bear"])
    assert [read.token_to_chars(place) for place in (0, len(read) - 1)] == [(0, 1), (18, 19)]
    assert tokenizer.texts == before
    # two characters that are read as one
    (read,) = reader.read(["ba\u0308r"])
    assert [read.token_to_chars(place) for place in range(4)] == [(0, 1), (1, 2), (1, 2), (3, 4)]
    assert tokenizer.texts == before + 1


@pytest.mark.parametrize("kind", ["bytes_with_merges", "unigram", "word_pieces"])
def test_threads_may_read_at_once(kind: str) -> None:
    reader = _reader(kind)
    texts = [f"the panda {number} 机器学习 yes no {'é' * number}" for number in range(200)]
    expected = [whole.ids for whole in reader.words.read_whole(texts)]
    with ThreadPoolExecutor(4) as threads:
        rounds = [threads.submit(reader.read, texts[start:] + texts[:start]) for start in range(0, 200, 5)]
    for start, read in zip(range(0, 200, 5), rounds, strict=True):
        assert [[*text.ids] for text in read.result()] == expected[start:] + expected[:start]


def _with(**options: Any) -> Tokenizer:
    tokenizer = Tokenizer.from_str(byte_level_tokenizer().to_str())
    tokenizer.model = models.BPE(_content()["model"]["vocab"], [], **options)
    return tokenizer


def _changed(kind: str, **parts: Any) -> Tokenizer:
    tokenizer = Tokenizer.from_str(KINDS[kind]().to_str())
    for name, part in parts.items():
        setattr(tokenizer, name, part)
    return tokenizer


def _naming_no_token() -> Tokenizer:
    tokenizer = Tokenizer.from_str(byte_level_tokenizer().to_str())
    tokenizer.encode_special_tokens = True
    return tokenizer


def test_without_such_options_it_is_used() -> None:
    assert _fast_reader(_with())


@pytest.mark.parametrize(
    "make",
    [
        *(made for name, made in SPLITTING.items() if name not in KINDS),
        lambda: _with(dropout=0.1),
        lambda: _with(unk_token="y"),
        lambda: _with(continuing_subword_prefix="n"),
        lambda: _with(end_of_word_suffix="o"),
        lambda: _with(byte_fallback=True),
        lambda: Tokenizer.from_str(json.dumps(_content(without="q"))),
        lambda: _changed("bytes_with_merges", normalizer=normalizers.Lowercase()),
        lambda: _changed("bytes_with_merges", pre_tokenizer=pre_tokenizers.ByteLevel(add_prefix_space=True)),
        lambda: _changed(
            "bytes_with_merges",
            pre_tokenizer=pre_tokenizers.Sequence(
                [pre_tokenizers.Digits(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
            ),
        ),
        lambda: _changed("unigram", pre_tokenizer=pre_tokenizers.Metaspace(prepend_scheme="never")),
        lambda: _changed("unigram", normalizer=normalizers.Lowercase()),
        lambda: _changed("unigram", normalizer=normalizers.Replace(Regex(" {2,}"), "▁")),
        lambda: _changed("unigram", model=models.Unigram([("<unk>", 0.0), ("a", -1.0)], 0, byte_fallback=True)),
        lambda: _changed("word_pieces", pre_tokenizer=pre_tokenizers.Whitespace()),
        lambda: _changed("word_pieces", model=models.WordPiece({"[UNK]": 0, "a": 1}, max_input_chars_per_word=9)),
        lambda: _changed("word_pieces", model=models.WordPiece({"<unk>": 0, "a": 1}, unk_token="<unk>")),
        _naming_no_token,
    ],
)
def test_other_tokenizers_are_left_to_the_library(make: Callable[[], Tokenizer]) -> None:
    assert _fast_reader(make()) is None


@pytest.mark.parametrize(("kind", "fast"), [("bytes_with_merges", BytePairs), ("unigram", Pieces)])
def test_one_that_gives_other_tokens_is_not_used(
    kind: str, fast: type, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fast, "one", lambda *_: Ids.of([1]))
    assert _fast_reader(KINDS[kind]()) is None
    assert "other tokens" in caplog.text


def test_one_that_cannot_be_opened_is_not_used(caplog: pytest.LogCaptureFixture) -> None:
    content = _content()
    content["model"]["vocab"]["far"] = 100_000
    caplog.set_level(logging.INFO)
    assert _fast_reader(Tokenizer.from_str(json.dumps(content))) is None
    assert "read by `tokenizers` alone" in caplog.text


def test_a_library_that_fails_is_not_used(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    class Panic(BaseException):
        pass

    def fail(_: object) -> None:
        raise Panic

    monkeypatch.setattr(Pieces, "of", fail)
    reader = opened(KINDS["unigram"]())
    (read,) = reader.read(reader.look_up(["the panda"]))
    assert list(read.ids) == reader.read_whole(["the panda"])[0].ids
    assert "a faster library failed" in caplog.text


def test_byte_pairs_count_less_and_are_not_kept() -> None:
    reader = opened(byte_level_tokenizer())
    assert reader.ahead(reader.look_up(["a" * 1000]), ["b" * 500]) == Part(3 + 20 + 10)
    finish(read_texts(reader, ["the panda"], [10], "right"))
    assert reader.look_up(["the panda"]).known == [None]


def test_pieces_count_less_and_are_kept() -> None:
    reader = opened(KINDS["unigram"]())
    assert reader.ahead(reader.look_up(["a" * 1000]), ["b" * 600]) == Part(5 + 125 + 600)
    (read,) = reader.read(reader.look_up(["the panda"]))
    assert reader.look_up(["the panda"]).known == [Ids.of(read.ids).raw]


def test_pieces_are_read_once_more_where_they_are_cut() -> None:
    tokenizer: Any = Counting(KINDS["unigram"]())
    reader = opened(tokenizer)
    texts = ["the panda is a bear", "a bear", "the panda, or not a bear"]
    whole = reader.read_whole(texts)
    wanted = [len(whole[0]), 1, 3]
    before = tokenizer.texts
    parts = [*read_texts(reader, texts, wanted, "right")]
    assert len(parts) == 2
    assert parts[1] == Part(20 + len(texts[1]) + len(texts[2]))
    assert tokenizer.texts <= before + 3
    excerpts = finish(read_texts(reader, texts, wanted, "right"))
    assert [[*excerpt.ids] for excerpt in excerpts] == [
        read.ids[:count] for read, count in zip(whole, wanted, strict=True)
    ]
    ends = [read.token_to_chars(place) for read, place in ((whole[1], 0), (whole[2], 2))]
    assert [excerpt.span.stop for excerpt in excerpts[1:]] == [end and end[1] for end in ends]


def test_byte_pairs_count_whole_where_characters_are_not_told_by_bytes() -> None:
    reader = opened(byte_level_tokenizer())
    assert reader.ahead(reader.look_up([]), ["b" * 500, "é" * 500]) == Part(10 + 500)
    parts = [*read_texts(reader, ["bear" * 100, "é" * 100], [9, 9], "right")]
    assert parts == [Part(6 + 500 // 50), Part(10 + 100)]


def test_pieces_count_whole_where_tokenizers_reads() -> None:
    reader = opened(KINDS["unigram"]())
    assert reader.ahead(reader.look_up(["<mask>" + "a" * 94, "b" * 80]), []) == Part(10 + 100 + 10)
