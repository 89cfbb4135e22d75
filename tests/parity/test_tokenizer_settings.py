"""What tokenizer_config.json says over tokenizer.json: read as transformers reads it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer

from rerank.core import Pair
from rerank.errors import WeightsBroken
from rerank.scorers.base import score
from rerank.scorers.pretrained import open_tokenizer
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta

from .test_scorers import load

TEXTS = [
    "Héllo WORLD 中文字 Straße",
    " lead  two",
    "a<unk>b [MASK] x",
    "Ünïcode\tTab\nnew",
    "ＡＢＣ ﬁ",
    "<|im_end|> hi",
]
BERT: dict[str, Any] = {"tokenizer_class": "BertTokenizer"}
UNNAMED: dict[str, Any] = {"tokenizer_class": None, "backend": None}
XLM_R: dict[str, Any] = {"tokenizer_class": "XLMRobertaTokenizerFast"}
QWEN: dict[str, Any] = {"tokenizer_class": "Qwen2Tokenizer"}
MASK = {
    "content": "[MASK]",
    "lstrip": True,
    "rstrip": False,
    "normalized": False,
    "single_word": False,
    "special": True,
}


def make_splitting_xlm_roberta(folder: Path) -> Path:
    """An XLM-RoBERTa whose tokenizer.json splits texts as that of xlm-roberta-base does."""
    file = make_xlm_roberta(folder) / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()])
    tokenizer.save(str(file))
    return folder


def unigram_bert(folder: Path) -> Path:
    """A BERT whose tokenizer.json is XLM-RoBERTa's, as that of paraphrase-multilingual-MiniLM."""
    make_xlm_roberta(folder)
    configuration = folder / "config.json"
    configuration.write_text(json.dumps(json.loads(configuration.read_text()) | {"model_type": "bert"}))
    return folder


def settle(folder: Path, settings: dict[str, Any]) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | settings))


@pytest.mark.filterwarnings("ignore:Token indices sequence length")
@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (make_bert, {"do_lower_case": False}),
        (make_bert, BERT),
        (make_bert, BERT | {"tokenizer_class": "BertTokenizerFast", "do_lower_case": False}),
        (make_bert, BERT | {"do_lower_case": False}),
        (make_bert, BERT | {"do_lower_case": True}),
        (make_bert, BERT | {"strip_accents": False}),
        (make_bert, BERT | {"strip_accents": True}),
        (make_bert, BERT | {"tokenize_chinese_chars": False}),
        (make_bert, UNNAMED | {"do_lower_case": False}),
        (make_bert, UNNAMED | {"strip_accents": False}),
        (make_bert, {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False}),
        (make_bert, {"tokenizer_class": "ElectraTokenizerFast", "do_lower_case": False}),
        (make_bert, BERT | {"strip_accents": True, "do_lower_case": False}),
        (make_bert, BERT | {"cls_token": "[SEP]"}),
        (make_bert, BERT | {"model_max_length": 7, "add_bos_token": True, "add_eos_token": True}),
        (make_bert, BERT | {"added_tokens_decoder": {"4": MASK}}),
        (make_bert, {"additional_special_tokens": ["hi"]}),
        (make_bert, {"extra_special_tokens": {"word": "lead"}}),
        (make_bert, {"add_prefix_space": True, "clean_up_tokenization_spaces": True, "truncation_side": "left"}),
        (make_xlm_roberta, {}),
        (make_xlm_roberta, {"additional_special_tokens": ["hi"]}),
        (make_qwen3, {"add_bos_token": True, "padding_side": "left"}),
        (make_qwen3, QWEN),
        (make_qwen3, QWEN | {"add_prefix_space": True}),
        (make_qwen3, QWEN | {"add_bos_token": True, "bos_token": "<|im_start|>"}),
        (make_qwen3, QWEN | {"split_special_tokens": True}),
        (make_qwen3, {"split_special_tokens": True}),
        (make_qwen3, {"additional_special_tokens": ["hi"]}),
    ],
)
def test_are_as_transformers_reads_them(make: Callable[[Path], Any], settings: dict[str, Any], tmp_path: Path) -> None:
    make(tmp_path)
    settle(tmp_path, settings)
    reference = AutoTokenizer.from_pretrained(tmp_path, local_files_only=True)
    own = open_tokenizer(tmp_path)
    for text in TEXTS:
        assert own.encode(text).ids == reference(text)["input_ids"]
        assert own.encode(text, "b c").ids == reference(text, "b c")["input_ids"]


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (make_splitting_xlm_roberta, XLM_R | {"add_prefix_space": False}),
        (make_xlm_roberta, XLM_R | {"add_prefix_space": True}),
        (make_xlm_roberta, XLM_R),
        (make_splitting_xlm_roberta, XLM_R | {"do_lower_case": True}),
        (make_splitting_xlm_roberta, XLM_R | {"cls_token": "</s>", "add_bos_token": True}),
        (make_xlm_roberta, UNNAMED | {"add_prefix_space": False}),
        (make_splitting_xlm_roberta, {"tokenizer_class": "CamembertTokenizer", "add_prefix_space": False}),
        (make_bert, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}),
        (make_xlm_roberta, {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True}),
        (unigram_bert, UNNAMED | {"do_lower_case": False, "cls_token": "<s>"}),
        (unigram_bert, BERT | {"do_lower_case": False}),
    ],
)
def test_what_version_5_of_transformers_would_build_otherwise_is_read_as_published(
    make: Callable[[Path], Any], settings: dict[str, Any], tmp_path: Path
) -> None:
    make(tmp_path)
    settle(tmp_path, settings)
    published = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    own = open_tokenizer(tmp_path)
    for text in TEXTS:
        assert own.encode(text).ids == published.encode(text).ids
        assert own.encode(text, "b c").ids == published.encode(text, "b c").ids


@pytest.mark.parametrize(
    ("settings", "first", "last"),
    [
        ({"add_eos_token": True}, True, True),
        ({"add_eos_token": True, "add_bos_token": False}, False, True),
        ({"add_eos_token": False, "add_bos_token": None}, True, False),
        ({"tokenizer_class": "LlamaTokenizerFast", "add_eos_token": True}, True, True),
        # not one of the classes that heed these settings
        ({"tokenizer_class": "PreTrainedTokenizerFast", "add_eos_token": True}, True, False),
        ({}, True, False),
    ],
)
def test_a_llamas_texts_end_as_its_settings_say_whatever_version_5_makes_of_them(
    settings: dict[str, Any], first: bool, last: bool, tmp_path: Path
) -> None:
    make_qwen3(tmp_path)
    file = tmp_path / "tokenizer.json"
    bare = Tokenizer.from_file(str(file))
    begin, end = "<|im_start|>", "<|endoftext|>"
    before, behind = [bare.token_to_id(begin)] * first, [bare.token_to_id(end)] * last
    framed = Tokenizer.from_file(str(file))
    framed.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, bare.token_to_id(begin))]
    )
    framed.save(str(file))
    settle(tmp_path, {"tokenizer_class": "LlamaTokenizer", "bos_token": begin, "eos_token": end} | settings)
    (tmp_path / "config.json").write_text('{"model_type": "mistral"}')
    own = open_tokenizer(tmp_path)
    for text in TEXTS:
        whole = [before + bare.encode(each).ids + behind for each in (text, "b c")]
        assert own.encode(text).ids == whole[0]
        assert own.encode(text, "b c").ids == whole[0] + whole[1]


def test_an_added_token_leaves_the_way_that_xlm_roberta_splits_texts(tmp_path: Path) -> None:
    make_splitting_xlm_roberta(tmp_path)
    published = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    settle(tmp_path, XLM_R | {"add_prefix_space": False, "additional_special_tokens": ["hi"]})

    own = open_tokenizer(tmp_path)

    assert own.token_to_id("hi") is not None
    assert own.encode(TEXTS[0]).ids == published.encode(TEXTS[0]).ids


def test_a_class_that_cannot_read_the_tokenizer_is_refused(tmp_path: Path) -> None:
    make_bert(tmp_path)
    settle(tmp_path, {"tokenizer_class": "RobertaTokenizer", "additional_special_tokens": ["hi"]})
    with pytest.raises(WeightsBroken, match="names the class RobertaTokenizer, which cannot"):
        open_tokenizer(tmp_path)


def test_a_model_that_keeps_capitals_scores_as_cross_encoder_does(tmp_path: Path) -> None:
    make_bert(tmp_path)
    pairs = [
        ("What is Machine Learning?", "machine learning is a branch of AI"),
        ("PANDA", "the giant panda is a bear"),
    ]
    lowered = CrossEncoder(str(tmp_path), activation_fn=None).predict(pairs)
    settle(tmp_path, BERT | {"do_lower_case": False})

    expected = CrossEncoder(str(tmp_path)).predict(pairs)
    assert abs(expected - lowered).max() > 1e-3

    scorer = load(tmp_path)
    logits = score(scorer, scorer.encode([Pair(*pair) for pair in pairs]))
    assert [1 / (1 + 2.718281828459045**-logit) for logit in logits] == pytest.approx(list(expected), abs=1e-5)


def test_settings_that_transformers_does_not_understand_are_refused_by_name(tmp_path: Path) -> None:
    make_bert(tmp_path)
    settle(tmp_path, {"added_tokens_decoder": {"x": 1}})
    with pytest.raises(WeightsBroken, match=r"tokenizer_config\.json is not understood"):
        open_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("normalizer", "pre_tokenizer"),
    [
        (None, pre_tokenizers.Metaspace()),
        (None, pre_tokenizers.Metaspace(prepend_scheme="first", split=False)),
        (normalizers.Prepend("▁"), None),
        (normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]), None),
        (None, pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Digits()])),
    ],
    ids=["metaspace", "first", "prepend", "prepend-and-replace", "in-a-row"],
)
def test_a_text_inside_another_gets_no_space_in_front(normalizer: Any, pre_tokenizer: Any, tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"▁bear": 0, "bear": 1}, unk_token="bear"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.save(str(tmp_path / "tokenizer.json"))

    assert open_tokenizer(tmp_path).encode("bear").ids == [0]
    assert open_tokenizer(tmp_path, inside=True).encode("bear").ids == [1]
