"""BertJapaneseTokenizer through MeCab against the class of transformers, and models that have it."""

from __future__ import annotations

import importlib.util
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.models.bert_japanese.tokenization_bert_japanese import BertJapaneseTokenizer

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.errors import ModelUnsupported
from rerank.scorers.base import score
from rerank.scorers.japanese import japanese_tokenizer
from tests.parity.japanese import TEXT, describe, japanese_by_hand, make_japanese
from tests.parity.layouts import load, rewrite

PAIRS = [
    ("機械学習とは何ですか", "機械学習は人工知能の一分野です。"),
    ("パンダ", "パンダは中国に住むクマ科の動物です。hello world"),
    ("東京", ""),
    ("東京", "水族館 " * 40),
]


@pytest.fixture(scope="module", params=["wordpiece", "character"])
def both(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The tokenizer of transformers, and ours."""
    folder = tmp_path_factory.mktemp("japanese")
    describe(folder, request.param)
    config = json.loads((folder / "tokenizer_config.json").read_text())
    asked = {name: value for name, value in config.items() if name != "tokenizer_class"}
    kind: Any = BertJapaneseTokenizer
    return kind(str(folder / "vocab.txt"), **asked), japanese_tokenizer(folder, config)


@given(st.text(st.sampled_from(TEXT + " 　\n\t\r\x00\x0b\u200bXYé①㈱ｱｶﾞ한😀##[SEP]"), max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_gives_the_tokens_of_transformers(both: tuple[Any, Any], text: str) -> None:
    reference, ours = both

    assert ours.encode(text).ids == reference(text)["input_ids"]


def test_a_pair_has_two_types(both: tuple[Any, Any]) -> None:
    reference, ours = both
    expected, read = reference(*PAIRS[0], return_token_type_ids=True), ours.encode(*PAIRS[0])

    assert (read.ids, read.type_ids) == (expected["input_ids"], expected["token_type_ids"])


@pytest.fixture
def reranker(tmp_path: Path) -> Path:
    return make_japanese(tmp_path / "tiny")


def test_a_reranker_scores_as_bert_does_with_these_tokens(reranker: Path) -> None:
    scorer = load(reranker, ModelCard(id="tiny"))

    assert "sentence-transformers" not in scorer.runtime
    scores = score(scorer, scorer.encode([Pair(*pair) for pair in PAIRS]))
    assert scores == pytest.approx(japanese_by_hand(reranker, PAIRS), abs=1e-4)


def test_a_long_text_is_read_only_as_far_as_it_counts(reranker: Path) -> None:
    scorer = load(reranker, ModelCard(id="tiny"))
    generator = random.Random(0)
    long = "".join(generator.choice(TEXT) for _ in range(20_000))

    whole = japanese_tokenizer(reranker, json.loads((reranker / "tokenizer_config.json").read_text()))
    kept = scorer.encode([Pair("東京", long)])[0].input_ids
    assert list(kept[4:-1]) == whole.encode(long, add_special_tokens=False).ids[: len(kept) - 5]


def test_without_the_packages_the_extra_is_named(reranker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "fugashi" else found(name))

    with pytest.raises(ModelUnsupported) as refusal:
        read_checkpoint(reranker)
    assert refusal.value.message == (
        "tiny splits words with MeCab (BertJapaneseTokenizer), which needs the packages of the extra `japanese`. "
        "Install them, `pip install fugashi unidic-lite`, or use a reranker for Japanese without that need, such as "
        "hotchpotch/japanese-reranker-base-v2."
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"word_tokenizer_type": "sudachi"}, "asks for word_tokenizer_type = 'sudachi'"),
        ({"word_tokenizer_type": None}, "asks for word_tokenizer_type = 'basic'"),
        ({"subword_tokenizer_type": "sentencepiece"}, "asks for subword_tokenizer_type = 'sentencepiece'"),
        ({"do_lower_case": True}, "asks for do_lower_case = True"),
        ({"mecab_kwargs": {"mecab_option": "-o /etc/passwd"}}, "gives MeCab options of its own"),
        ({"mecab_kwargs": {"mecab_dic": "unidic"}}, "needs the packages fugashi and unidic. Install them"),
        ({"mecab_kwargs": {"mecab_dic": "os"}}, "asks for the MeCab dictionary 'os', which is not known"),
        ({"added_tokens_decoder": {"9": {"content": "[NEW]"}}}, r"adds tokens of its own .*\[NEW\]"),
    ],
)
def test_what_is_not_supported_is_named(reranker: Path, changes: dict[str, Any], told: str) -> None:
    rewrite(reranker / "tokenizer_config.json", **changes)

    with pytest.raises(ModelUnsupported, match=told):
        load(reranker, ModelCard(id="tiny"))
