"""Detection of settings in ``tokenizer_config.json`` that override ``tokenizer.json``. Pure.

transformers builds the tokenizers of some classes from the vocabulary and the settings alone, and adds the tokens
that the settings name. Reading ``tokenizer.json`` as it stands gives the same in all but a few folders, and takes 0.7 s
for a vocabulary of 250,000 instead of 4 s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]

_BERT = {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer", "MPNetTokenizer"}
_XLM_R = {"XLMRobertaTokenizer", "CamembertTokenizer"}
_BERT_FRAME = (("cls_token", "[CLS]"), ("sep_token", "[SEP]"))
"""The tokens that BERT's classes put around texts by default."""
_CLASSES = {
    **dict.fromkeys(("bert", "convbert", "distilbert", "electra", "ernie", "megatron-bert", "nezha"), "BertTokenizer"),
    **dict.fromkeys(("xlm-roberta", "xmod"), "XLMRobertaTokenizer"),
    "camembert": "CamembertTokenizer",
    "deberta-v2": "DebertaV2Tokenizer",
    "mpnet": "MPNetTokenizer",
    "roberta": "RobertaTokenizer",
}
"""The class that transformers takes where none is named, by ``model_type``."""
_GIVE_TYPES = {
    "AlbertTokenizer",
    "BertJapaneseTokenizer",
    "BertTokenizer",
    "ConvBertTokenizer",
    "DebertaV2Tokenizer",
    "ElectraTokenizer",
    "PreTrainedTokenizer",
}
"""Classes that tell query and document apart where their settings do not say what they give."""
_FRAMES = ("add_bos_token", "add_eos_token")
_FRAMED_AS_SET = {
    "CodeLlamaTokenizer": (True, False),
    "CohereTokenizer": (True, False),
    "GemmaTokenizer": (True, False),
    "GPTNeoXTokenizer": (False, False),
    "LlamaTokenizer": (True, False),
}
"""Classes that put the first and the last token around texts by their settings, and which ones they put by default."""
_TOKEN_LISTS = ("additional_special_tokens", "extra_special_tokens", "added_tokens_decoder")


def with_class(config: Json, model: Json) -> Json:
    """The settings, with the class that ``config.json`` stands for where they name none."""
    named = config.get("tokenizer_class") or model.get("tokenizer_class") or _CLASSES.get(str(model.get("model_type")))
    return {**config, "tokenizer_class": named}


def give_types(config: Json) -> bool:
    """True if the tokenizer of these settings tells query and document apart."""
    names = config.get("model_input_names")
    return _kind(config) in _GIVE_TYPES if names is None else "token_type_ids" in names


def is_overridden(tokenizer: Json, config: Json) -> bool:
    """True if a tokenizer read from ``tokenizer`` alone would read texts differently from transformers."""
    kind = _kind(config)
    is_berts = kind in _BERT and _model_type(tokenizer) == "WordPiece"
    return (
        any(config.get(name) is not None for name in _FRAMES)
        or (config.get("add_prefix_space") is not None and _takes_space(tokenizer, kind))
        or not set(_named_tokens(config)) <= _known_tokens(tokenizer)
        or (is_berts and not (_frames_as_bert(config) and _reads_as_told(tokenizer.get("normalizer") or {}, config)))
    )


def asked_frame(config: Json) -> tuple[bool, bool] | None:
    """Whether texts get a first and a last token by their settings, if these and the class say so.

    Version 5 takes what ``tokenizer.json`` says; version 4, which wrote such settings, did not.
    """
    usual = _FRAMED_AS_SET.get(_kind(config))
    if usual is None or all(config.get(name) is None for name in _FRAMES):
        return None
    first, last = (
        default if config.get(name) is None else bool(config[name])
        for name, default in zip(_FRAMES, usual, strict=True)
    )
    return first, last


def with_own_splits(read: Json, tokenizer: Json, config: Json) -> Json:
    """The tokenizer as transformers read it, which splits and frames texts as ``tokenizer`` says.

    Version 5 builds XLM-RoBERTa's by settings that version 4 left alone.
    """
    if _kind(config) not in _XLM_R:
        return read
    return {**read, **{part: tokenizer.get(part) for part in ("normalizer", "pre_tokenizer", "post_processor")}}


def is_other_model(read: Json, tokenizer: Json) -> bool:
    """True if transformers made one kind of model of another's vocabulary, by a class that does not fit."""
    return _model_type(read) != _model_type(tokenizer)


def without_space_in_front(part: Json) -> dict[str, Any]:
    """A tokenizer, or a part of one, that puts no space in front of a text."""
    kept = {"add_prefix_space": False, "prepend_scheme": "never"}
    changed: dict[str, Any] = {**part, **{name: kept[name] for name in kept.keys() & part.keys()}}
    for name in ("normalizer", "pre_tokenizer"):
        if changed.get(name):
            changed[name] = None if _prepends(changed[name]) else without_space_in_front(changed[name])
    for name in ("normalizers", "pretokenizers"):
        if name in changed:
            changed[name] = [without_space_in_front(one) for one in changed[name] if not _prepends(one)]
    return changed


def _prepends(part: Json) -> bool:
    return part.get("type") == "Prepend"


def _kind(config: Json) -> str:
    return str(config.get("tokenizer_class")).removesuffix("Fast")


def _model_type(tokenizer: Json) -> str:
    """The kind of a tokenizer's model, which older files do not name."""
    model = tokenizer.get("model") or {}
    unnamed = "BPE" if "merges" in model else "Unigram" if isinstance(model.get("vocab"), list) else "WordPiece"
    return str(model.get("type") or unnamed)


def _takes_space(tokenizer: Json, kind: str) -> bool:
    """True if ``add_prefix_space`` may change the tokenizer; RoBERTa's class changes byte pairs only."""
    model = _model_type(tokenizer)
    return kind not in _XLM_R and model != "WordPiece" and (kind != "RobertaTokenizer" or model == "BPE")


def _frames_as_bert(config: Json) -> bool:
    return all(token_text(config.get(name, token)) == token for name, token in _BERT_FRAME)


def _reads_as_told(normalizer: Json, config: Json) -> bool:
    """True if the class changes nothing: it sets those of BERT's kind, and leaves others alone."""
    wanted = {
        "lowercase": config.get("do_lower_case", True),
        "handle_chinese_chars": config.get("tokenize_chinese_chars", True),
        "strip_accents": config.get("strip_accents"),
    }
    alike = all(normalizer.get(name) == value for name, value in wanted.items())
    return alike or normalizer.get("type") != "BertNormalizer"


def _known_tokens(tokenizer: Json) -> set[str]:
    return {token["content"] for token in tokenizer.get("added_tokens", ())}


def _named_tokens(config: Json) -> Iterator[str]:
    """The tokens that the settings add to the vocabulary."""
    for name in _TOKEN_LISTS:
        tokens = config.get(name) or ()
        for token in tokens.values() if isinstance(tokens, dict) else tokens:
            yield token_text(token)


def token_text(token: Any) -> str:
    """A token is a text, or an object that holds it."""
    return str(token["content"] if isinstance(token, dict) else token)
