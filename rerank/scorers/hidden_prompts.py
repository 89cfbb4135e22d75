"""Prompts of models that no template shows: classifiers converted from causal rerankers, and known repositories."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import numpy
from tokenizers import Tokenizer

from rerank.catalog.built_in import known_prompt
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.families import CROSS_ENCODER
from rerank.catalog.prompts import (
    BGE_RERANKER_V2_GEMMA,
    CTXL_RERANK_V2,
    MXBAI_RERANK_V2,
    QWEN3_RERANKER,
    ZERANK_2,
    PromptFormat,
    Word,
)
from rerank.catalog.recognition import may_be_asked, prompt_lines
from rerank.catalog.weight_files import shapes
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
_LANGUAGE_MODELS = frozenset(
    (
        *_CONVERTED, "bloom", "cohere", "cohere2", "falcon", "gemma2", "gemma3_text", "gpt2", "gpt_neo", "gpt_neox",
        "gptj", "granite", "lfm2", "llama", "ministral", "ministral3", "mixtral", "olmo", "olmo2", "olmo3", "opt",
        "phi", "phi3", "qwen2_moe", "qwen3_5_text", "qwen3_moe", "smollm3", "stablelm", "starcoder2",
    )
)  # fmt: skip
"""Types whose classifiers may read a prompt (Llama: RankLLaMA's, DeAR's)."""
_ALIKE = 0.5
"""Cosine of a head with the answer's direction: 1 where it was converted, within 0.1 of 0 where it was not."""
_EXACT = 0.9999
"""The same where it was converted and not trained since, whatever was rounded."""


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
    """The prompt of the reranker from whose answers the head of a classifier was made; None for plain pairs."""
    evidence, kind = checkpoint.evidence, checkpoint.config.get("model_type")
    is_asked = kind in _LANGUAGE_MODELS and checkpoint.architecture.endswith(_HEAD)
    if not is_asked or evidence.saved_as or evidence.modules or _is_refused_for_labels(checkpoint, card):
        return None
    stated, saved = card.stated_family == CROSS_ENCODER, "sentence_transformers" in evidence.config
    alike = _likeness(checkpoint, card)
    wanted = _EXACT if stated or saved else _ALIKE
    if found := next((prompt for prompt, cosine in alike.items() if cosine > wanted), None):
        return found
    is_like_none = all(cosine <= _ALIKE for cosine in alike.values())
    if not stated and not (saved and is_like_none):
        raise _either(checkpoint)
    return None


def _is_refused_for_labels(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for a head of several labels, which no card tells apart."""
    return card.labels is None and shapes(checkpoint.weight_files).get("score.weight", [1])[0] > 1


def _likeness(checkpoint: Checkpoint, card: ModelCard) -> dict[PromptFormat, float]:
    """By prompts of rerankers that it could be made from: how like its head is to the answer, as a cosine.

    Not a number where the file lacks the answers' rows.
    """
    config, kind = checkpoint.config, checkpoint.config["model_type"]
    if kind not in _CONVERTED:
        return {}
    tokenizer = open_tokenizer(checkpoint.folder)
    prompts = [prompt for prompt in _CONVERTED[kind] if _knows(tokenizer, prompt)]
    if not config.get("tie_word_embeddings", kind in _TIED):
        return dict.fromkeys(prompts, math.nan)
    head = score_of_labels(read_tensor(checkpoint, "score.weight"), card, config)
    row_of = partial(_row, checkpoint, tokenizer)
    return {prompt: _cosine(head, direction(prompt, row_of)) for prompt in prompts}


def _knows(tokenizer: Tokenizer, prompt: PromptFormat) -> bool:
    return None not in (token_id(tokenizer, word) for word in (prompt.yes, prompt.no) if word != "")


def _row(checkpoint: Checkpoint, tokenizer: Tokenizer, word: Word) -> numpy.ndarray:
    name = output_matrix(checkpoint, "model.embed_tokens.weight", tied=True)
    return read_tensor(checkpoint, name, row=token_id(tokenizer, word))


def _either(checkpoint: Checkpoint) -> ModelUnsupported:
    """The error for a head of which it is not known what it was trained on."""
    return ModelUnsupported(
        f"{checkpoint.folder.name} is a language model ({checkpoint.config['model_type']}) with a classification head, "
        "and nothing in it says whether it reads plain pairs or a prompt. Its card in models.toml has to say "
        f'`family = "cross-encoder"` if it reads plain pairs{_or_asked(checkpoint)}.'
    )


def _or_asked(checkpoint: Checkpoint) -> str:
    """What else its card may say."""
    if may_be_asked(checkpoint.config):
        return f", else how it is asked: {prompt_lines(checkpoint.config)}"
    return "; a prompt is not supported for its type"


def _cosine(one: numpy.ndarray, other: numpy.ndarray) -> float:
    return float(one @ other / (numpy.linalg.norm(one) * numpy.linalg.norm(other)))
