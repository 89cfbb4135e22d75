"""Prompts of models that no template shows: classifiers converted from causal rerankers, and known repositories."""

from __future__ import annotations

from dataclasses import replace

import numpy

from rerank.catalog.built_in import known_prompt
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.prompts import QWEN3_RERANKER, PromptFormat
from rerank.errors import ModelUnsupported
from rerank.scorers.pretrained import open_tokenizer, read_tensor

_CLASSIFIER = "Qwen3ForSequenceClassification"
_ASKED = ("ForCausalLM", "ForSequenceClassification", "ForConditionalGeneration")
"""Endings of architectures that may be asked in a prompt."""
_LIKENESS = 0.5
"""Cosine of a head with the direction from no to yes: 1 where it was converted, within 0.1 of 0 where it was not."""


def told_prompt(checkpoint: Checkpoint, card: ModelCard) -> ModelCard:
    """The card, with the prompt of its model if neither it nor a template tells, and the model needs one.

    Raises ModelUnsupported where it cannot be told whether it does.
    """
    if card.prompt is not None or not checkpoint.architecture.endswith(_ASKED):
        return card
    if checkpoint.evidence.asks or checkpoint.evidence.chain_scores:
        return card
    prompt = known_prompt(card) or _prompt_of_head(checkpoint)
    return replace(card, prompt=prompt) if prompt else card


def _prompt_of_head(checkpoint: Checkpoint) -> PromptFormat | None:
    """Qwen3-Reranker's prompt if the head of a classifier was made from the answers yes and no."""
    evidence = checkpoint.evidence
    if checkpoint.architecture != _CLASSIFIER or evidence.saved_as or evidence.modules:
        return None
    tokenizer = open_tokenizer(checkpoint.folder)
    words = [tokenizer.token_to_id(word) for word in ("yes", "no")]
    if None in words:
        return None
    if not evidence.config.get("tie_word_embeddings", False) and "sentence_transformers" not in evidence.config:
        raise ModelUnsupported(
            f"{checkpoint.folder.name} is a Qwen3 with a classification head, and nothing in it says whether it reads "
            "plain pairs or the prompt of Qwen3-Reranker. Save it once with sentence-transformers' CrossEncoder if it "
            'reads plain pairs; else say in its card in models.toml how it is asked: `prompt = "qwen3-reranker"`.'
        )
    yes, no = (read_tensor(checkpoint, "model.embed_tokens.weight", row=word) for word in words)
    head = read_tensor(checkpoint, "score.weight", row=0)
    return QWEN3_RERANKER if _cosine(head, yes - no) > _LIKENESS else None


def _cosine(one: numpy.ndarray, other: numpy.ndarray) -> float:
    return float(one @ other / (numpy.linalg.norm(one) * numpy.linalg.norm(other)))
