"""Prompts of models that no template shows: classifiers converted from causal rerankers, and known repositories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy
from tokenizers import Tokenizer

from rerank.catalog.built_in import known_prompt
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import (
    BGE_RERANKER_V2_GEMMA,
    CTXL_RERANK_V2,
    MXBAI_RERANK_V2,
    QWEN3_RERANKER,
    ZERANK_2,
    PromptFormat,
    Word,
)
from rerank.catalog.recognition import prompt_lines
from rerank.errors import ModelUnsupported
from rerank.scorers.labels import score_of_labels
from rerank.scorers.pretrained import open_tokenizer, read_tensor
from rerank.scorers.scored_words import direction, output_matrix, token_id

_CONVERTED: dict[str, tuple[PromptFormat, ...]] = {
    "gemma": (BGE_RERANKER_V2_GEMMA,),
    "mistral": (CTXL_RERANK_V2,),
    "qwen2": (MXBAI_RERANK_V2,),
    "qwen3": (QWEN3_RERANKER, ZERANK_2, CTXL_RERANK_V2),
}
"""Prompts of the rerankers that classifiers are made from, by model type."""
_TIED = {"gemma"}
"""Types whose embeddings are the output matrix where the configuration says nothing."""
_HEAD = "ForSequenceClassification"
_ASKED = ("ForCausalLM", "ForSequenceClassification", "ForConditionalGeneration")
"""Endings of architectures that may be asked in a prompt."""
_LIKENESS = 0.5
"""Cosine of a head with the answer's direction: 1 where it was converted, within 0.1 of 0 where it was not."""


def told_prompt(checkpoint: Checkpoint, card: ModelCard) -> ModelCard:
    """The card, with the prompt of its model if neither it nor a template tells, and the model needs one.

    Raises ModelUnsupported where it cannot be told whether it does.
    """
    if card.prompt is not None or not checkpoint.architecture.endswith(_ASKED):
        return card
    if checkpoint.evidence.asks or checkpoint.evidence.chain_scores:
        return card
    prompt = known_prompt(card) or _prompt_of_head(checkpoint, card)
    return replace(card, prompt=prompt) if prompt else card


def _prompt_of_head(checkpoint: Checkpoint, card: ModelCard) -> PromptFormat | None:
    """The prompt of the reranker from whose answers the head of a classifier was made."""
    evidence, kind = checkpoint.evidence, str(checkpoint.config.get("model_type"))
    if kind not in _CONVERTED or not checkpoint.architecture.endswith(_HEAD) or evidence.saved_as or evidence.modules:
        return None
    tokenizer = open_tokenizer(checkpoint.folder)
    prompts = [prompt for prompt in _CONVERTED[kind] if _knows(tokenizer, prompt)]
    if not evidence.config.get("tie_word_embeddings", kind in _TIED):
        _refuse_either(checkpoint, prompts)
        return None
    heads = read_tensor(checkpoint, "score.weight")
    if len(heads) > 1 and card.labels is None:
        # refused for its labels
        return None
    head = score_of_labels(heads, card, checkpoint.config)
    row_of = partial(_row, checkpoint, tokenizer)
    return next((prompt for prompt in prompts if _cosine(head, direction(prompt, row_of)) > _LIKENESS), None)


def _knows(tokenizer: Tokenizer, prompt: PromptFormat) -> bool:
    return None not in (token_id(tokenizer, word) for word in (prompt.yes, prompt.no) if word != "")


def _row(checkpoint: Checkpoint, tokenizer: Tokenizer, word: Word) -> numpy.ndarray:
    name = output_matrix(checkpoint, "model.embed_tokens.weight", tied=True)
    return read_tensor(checkpoint, name, row=token_id(tokenizer, word))


def _refuse_either(checkpoint: Checkpoint, prompts: Sequence[PromptFormat]) -> None:
    """Raise ModelUnsupported for a Qwen3 whose head cannot be compared with the rows of its answers."""
    if QWEN3_RERANKER in prompts and "sentence_transformers" not in checkpoint.evidence.config:
        raise ModelUnsupported(
            f"{checkpoint.folder.name} is a Qwen3 with a classification head, and nothing in it says whether it reads "
            "plain pairs or the prompt of a reranker that it was converted from. Save it once with "
            "sentence-transformers' CrossEncoder if it reads plain pairs; else say in its card in models.toml how it "
            f"is asked: {prompt_lines(checkpoint.config)}."
        )


def _cosine(one: numpy.ndarray, other: numpy.ndarray) -> float:
    return float(one @ other / (numpy.linalg.norm(one) * numpy.linalg.norm(other)))
