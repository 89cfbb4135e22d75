"""Padding of a CrossEncoder's batches, so that a pair scores as it does alone."""

from __future__ import annotations

from typing import Any

from sentence_transformers import CrossEncoder

from rerank.errors import ModelUnsupported
from rerank.scorers.seen_padding import sees_padding


def settle_padding(model: CrossEncoder) -> None:
    """Have texts padded behind them, with the token that the head takes for padding: it may read the last other one."""
    tokenizer, config = model.tokenizer, _config(model)
    if config.pad_token_id not in range(getattr(config, "vocab_size", 1 << 31)):
        config.pad_token_id = _unread_token(model)
    if tokenizer.convert_ids_to_tokens(config.pad_token_id) is not None:
        tokenizer.pad_token_id = config.pad_token_id
    tokenizer.padding_side = "left" if _reads_the_end(model) else "right"


def pad_token(model: CrossEncoder) -> int:
    """The number of the token that texts are padded with."""
    known = _config(model).pad_token_id
    return int((model.tokenizer.pad_token_id or 0) if known is None else known)


def model_sees_padding(model: CrossEncoder) -> bool:
    """True if the score of a pair changes with what it is padded with."""
    kind, tokenizer = _config(model).model_type, model.tokenizer
    unlike = tokenizer.pad_token_id != pad_token(model)
    return unlike or sees_padding(kind, before=tokenizer.padding_side == "left")


def _config(model: CrossEncoder) -> Any:
    network: Any = model.transformers_model
    return network.config.get_text_config()


def _reads_the_end(model: CrossEncoder) -> bool:
    """True if the score is read at the end of a row, be it padding or not."""
    words = getattr(model[0], "transformer_task", None) == "text-generation"
    return words or getattr(_config(model), "summary_type", None) == "last"


def _unread_token(model: CrossEncoder) -> int:
    """A special token that is not the last one of a pair, which the head of a model without padding reads."""
    tokenizer = model.tokenizer
    special = [*([] if tokenizer.pad_token_id is None else [tokenizer.pad_token_id]), *tokenizer.all_special_ids]
    if tokenizer.pad_token_id is None and special:
        # else the library refuses to lay out even one pair
        tokenizer.pad_token_id = special[0]
    last = int(model.preprocess([("a", "a")])["input_ids"][0, -1]) if special else None
    found = next((token for token in special if token != last), None)
    if found is None:
        raise ModelUnsupported("neither its config.json nor its tokenizer has a token for padding.")
    return int(found)
