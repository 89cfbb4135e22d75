"""A text of known words gives the tokens, and the characters of each, that the tokenizer itself gives."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, PreTokenizedString, Regex, Tokenizer, normalizers, pre_tokenizers

from rerank.scorers import word_reader, word_seams
from rerank.scorers.normalising import normalise
from rerank.scorers.word_reader import WordReader
from tests.unit.scorers.tokenizers import KINDS, Counting

_ODD: tuple[str, ...] = (
    "don't", "12,345", '"it"', "—", "´", "▁", "ﬁ", "①x", "1x", "ﷺ", "中文", "각\u1100\u1161", "😀", "👩\u200d👩",
    "e\u0301x",
    "\u0301e", "\u0600", "\u200b", "\u200d", "\u3000", "\x19", "a\x0fb", "\U000e001f", "a\tb", "b\n", "\nb", "x" * 70,
    "<mask>", "[SEP]", "<|im_end|>x",
    "",
)  # fmt: skip
_FAMILIAR = ("the", "panda", "is", "a", "bear,", "Bear,", "or", "not.", "machine", "learning", "I'm")
words = st.one_of(st.sampled_from(_FAMILIAR), st.sampled_from(_ODD), st.text(max_size=5))
texts = st.lists(words, max_size=30).map(" ".join)


def _unigram_with_a_token_in_any_form() -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_str(KINDS["unigram_of_lines"]().to_str())
    tokenizer.add_tokens([AddedToken("①x", lstrip=True, rstrip=True, normalized=True)])
    return tokenizer


def _unigram_as_published() -> Tokenizer:
    """With the table that XLM-RoBERTa's characters are normalised by, which drops some and makes others spaces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the panda is a bear"] * 20),
        model_writer=model,
        vocab_size=40,
        hard_vocab_limit=False,
        normalization_rule_name="nmt_nfkc",
        minloglevel=2,
    )
    # its classes are made when it is imported
    messages: Any = sentencepiece_model_pb2
    described = messages.ModelProto.FromString(model.getvalue())
    tokenizer: Tokenizer = Tokenizer.from_str(KINDS["unigram"]().to_str())
    tokenizer.normalizer = normalizers.Precompiled(described.normalizer_spec.precompiled_charsmap)
    return tokenizer


def _bytes_as_llama_splits_them() -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_str(KINDS["bytes_with_merges"]().to_str())
    tokenizer.normalizer = normalizers.NFC()
    pattern = next(pattern for pattern in word_seams.PATTERNS if "{1,3}" in pattern)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.add_tokens([AddedToken("  "), AddedToken("bear,", lstrip=True, rstrip=True)])
    return tokenizer


def _word_pieces_with_a_token_in_any_case() -> Tokenizer:
    tokenizer: Tokenizer = Tokenizer.from_str(KINDS["word_pieces"]().to_str())
    tokenizer.add_tokens([AddedToken("BEAR,", lstrip=True, normalized=True)])
    return tokenizer


def _normalising_word_pieces() -> Tokenizer:
    return normalise(Tokenizer.from_str(KINDS["word_pieces"]().to_str()))


SPLITTING: dict[str, Callable[[], Tokenizer]] = {
    **{name: made for name, made in KINDS.items() if name != "unsplit_merges"},
    "unigram_as_published": cache(_unigram_as_published),
    "unigram_with_a_token_in_any_form": cache(_unigram_with_a_token_in_any_form),
    "bytes_as_llama_splits_them": cache(_bytes_as_llama_splits_them),
    "word_pieces_with_a_token_in_any_case": cache(_word_pieces_with_a_token_in_any_case),
    "normalising_word_pieces": cache(_normalising_word_pieces),
}


@cache
def _reader(kind: str) -> WordReader:
    """One that keeps the words of one example for the next."""
    return WordReader(SPLITTING[kind](), cores=1)


@pytest.mark.parametrize("kind", SPLITTING)
@given(texts=st.lists(texts, min_size=1, max_size=4))
@settings(max_examples=24, deadline=None, derandomize=True)
def test_tokens_are_the_tokenizers_own(kind: str, texts: list[str]) -> None:
    readable = [text.encode("utf-8", "replace").decode() for text in texts]
    reader = _reader(kind)
    for _ in range(2):
        for text, read, whole in zip(readable, reader.read(readable), reader.read_whole(readable), strict=True):
            assert list(read.ids) == whole.ids, text
            assert len(read) == len(whole)
            places = range(len(whole))
            assert [read.token_to_chars(place) for place in places] == [whole.token_to_chars(place) for place in places]


def _counting(kind: str) -> tuple[Counting, WordReader]:
    tokenizer: Any = Counting(SPLITTING[kind]())
    return tokenizer, WordReader(tokenizer, cores=1)


def _reads_again(tokenizer: Tokenizer, cores: int) -> bool:
    """True if a tokenizer reads a text of words that it has read before."""
    counting: Any = Counting(tokenizer)
    reader = WordReader(counting, cores)
    for _ in range(2):
        reader.read(["the panda is here"])
    before = counting.texts
    reader.read(["the panda is here"])
    return bool(counting.texts > before)


@pytest.mark.parametrize("kind", SPLITTING)
def test_a_known_word_is_not_read_again(kind: str) -> None:
    tokenizer, reader = _counting(kind)
    text = "the panda is a bear , and machine learning ."
    # of a text of new words some are learned
    for _ in range(2):
        reader.read([text])
    before = tokenizer.texts
    (read,) = reader.read([text])
    assert tokenizer.texts == before
    assert list(read.ids) == reader.read_whole([text])[0].ids


def test_a_text_that_begins_with_a_space_is_looked_up() -> None:
    tokenizer, reader = _counting("bytes_with_merges")
    for _ in range(2):
        reader.read([" the panda"])
    before = tokenizer.texts
    (read,) = reader.read([" the panda"])
    assert tokenizer.texts == before
    assert list(read.ids) == reader.read_whole([" the panda"])[0].ids


def test_chinese_is_read_as_a_whole() -> None:
    tokenizer, reader = _counting("unigram")
    before = tokenizer.texts
    reader.read(["机器学习是人工智能的一个分支。" * 5] * 3)
    assert tokenizer.texts == before + 3


def test_words_that_are_not_asked_for_again_give_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_reader, "_ROOM", 10_000)
    tokenizer, reader = _counting("word_pieces")
    for number in range(200):
        reader.read(["the panda", f"the word{number}"])
    before = tokenizer.texts
    reader.read(["the panda"])
    assert tokenizer.texts == before
    reader.read(["the word1"])
    assert tokenizer.texts > before


def test_first_words_of_texts_have_less_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(word_reader, "_ROOM", 80_000)
    tokenizer, reader = _counting("word_pieces")
    for number in range(150):
        reader.read(["the panda is", f"the panda is word{number}", f"word{number} the panda is"])
    before = tokenizer.texts
    reader.read(["the panda is word1"])
    assert tokenizer.texts == before
    reader.read(["word1 the panda is"])
    assert tokenizer.texts > before


def _without_spaces(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = None


def _with_a_custom_pattern(tokenizer: Tokenizer) -> None:
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?<= )\w+|\s"), "isolated")


def _with_a_token_of_two_words(tokenizer: Tokenizer) -> None:
    tokenizer.add_tokens(["machine learning"])


class _Whole:
    """Splits nothing."""

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        pass


def _with_a_step_in_python(tokenizer: Tokenizer) -> None:
    custom: Any = pre_tokenizers.PreTokenizer
    tokenizer.pre_tokenizer = custom.custom(_Whole())


def _with_a_pattern_that_swallows_spaces(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Replace(Regex("a panda"), "a bear")


def _with_another_first_word_behind_a_space(tokenizer: Tokenizer) -> None:
    tokenizer.normalizer = normalizers.Strip()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")


@pytest.mark.parametrize(
    "change",
    [
        _with_another_first_word_behind_a_space,
        _without_spaces,
        _with_a_custom_pattern,
        _with_a_token_of_two_words,
        _with_a_step_in_python,
        _with_a_pattern_that_swallows_spaces,
    ],
)
def test_no_words_are_looked_up_where_a_token_may_reach_across_a_space(change: Callable[[Tokenizer], None]) -> None:
    tokenizer = Tokenizer.from_str(KINDS["unigram"]().to_str())
    change(tokenizer)
    assert _reads_again(tokenizer, cores=1)


def test_with_many_cores_the_tokenizer_reads_all() -> None:
    assert not _reads_again(SPLITTING["word_pieces"](), cores=7)
    assert _reads_again(SPLITTING["word_pieces"](), cores=8)
