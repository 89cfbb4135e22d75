"""The fallback for cross-encoders that no other family claims: loading."""

from __future__ import annotations

import logging
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.evidence import Evidence
from rerank.catalog.own_code import runs_own_code
from rerank.catalog.recognition import prompt_lines
from rerank.errors import ModelUnsupported
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.half_precision import score_in_fp32
from rerank.scorers.labels import activation_of
from rerank.scorers.networks import fit_length
from rerank.scorers.normalising import normalise_saved
from rerank.scorers.pretrained import (
    SAFE_OPTIONS,
    activation_bytes,
    refuse_random_weights,
    refuse_unknown_type,
)
from rerank.scorers.saved_modules import reads_as_published, refuse_unread_setting, take_length
from rerank.scorers.seen_padding import refuse_changing
from rerank.scorers.sentence_transformers.converted import convert_body
from rerank.scorers.sentence_transformers.own_body import make_body_known
from rerank.scorers.sentence_transformers.padding import settle_padding
from rerank.scorers.sentence_transformers.scorers import (
    PlainPairScorer,
    PromptedPairScorer,
    reads_plain_pairs,
)

logger = logging.getLogger(__name__)


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for every cross-encoder, also those that run code of their own."""
    del checkpoint, card
    return True


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    """The model on the device: in plain torch, but for a body that OpenVINO runs."""
    refuse_unknown_type(checkpoint)
    refuse_unread_setting(checkpoint.folder)
    evidence = checkpoint.evidence
    _refuse_unknown_words(evidence)
    activation = activation_of(checkpoint, card)
    logger.info("%s runs through sentence-transformers: no other family claims it", card.id)
    own_code = runs_own_code(checkpoint.folder, card)
    if own_code:
        make_body_known(checkpoint)
    converts = placement.device.openvino and not own_code
    # what is converted keeps its weights in fp32
    model = _saved_model(checkpoint, card, placement, torch.float32 if converts else placement.device.dtype)
    _refuse_chat_template(evidence, model)
    if card.normalises:
        normalise_saved(model.tokenizer)
    length = _fit(model, card, placement, checkpoint)
    if not own_code:
        settle_padding(model)
    bytes_per_token = activation_bytes(model.transformers_model.config)
    body = convert_body(model, card.instruction, checkpoint, placement) if converts else None
    score_in_fp32(model)
    precision = placement.device.torch_precision
    kind = PlainPairScorer if reads_plain_pairs(model) else PromptedPairScorer
    return kind(model, length, bytes_per_token, precision, activation, card, body)


def _fit(model: Any, card: ModelCard, placement: Placement, checkpoint: Checkpoint) -> int:
    """The maximum tokens per pair, set in the model. Raises ModelUnsupported if its scores would change."""
    length = fit_length(card, placement, checkpoint, take_length(model))
    refuse_changing(checkpoint, length)
    model.max_seq_length = length
    return length


class _SavedChain(CrossEncoder):
    """Keeps the modules of a folder that does not say which class saved them; they end in one score per pair."""

    def _get_model_type(self, *_: Any, **__: Any) -> str:
        return self.model_type


def _saved_model(checkpoint: Checkpoint, card: ModelCard, placement: Placement, dtype: torch.dtype) -> Any:
    kind = _SavedChain if checkpoint.evidence.chain_scores else CrossEncoder
    model = kind(
        str(checkpoint.folder),
        device=placement.device.name,
        trust_remote_code=card.trust_remote_code,
        local_files_only=True,
        model_kwargs={"dtype": dtype, **SAFE_OPTIONS},
    )
    refuse_random_weights(model.transformers_model, checkpoint)
    reads_as_published(model, checkpoint.folder)
    return model


def _refuse_unknown_words(evidence: Evidence) -> None:
    """Raise ModelUnsupported where sentence-transformers would take words of which nothing is said."""
    name, architecture = evidence.folder.name, evidence.architecture
    if architecture.endswith("ForCausalLM") and not (evidence.chain_scores or evidence.names_yes_and_no):
        raise ModelUnsupported(
            f"{name} is a language model ({architecture}), and nothing in it says which words' logits are the score: "
            "neither 1_LogitScore nor a template that asks for yes or no. Its card in models.toml has to say how it is "
            f"asked: {prompt_lines(evidence.config)}."
        )


def _refuse_chat_template(evidence: Evidence, model: CrossEncoder) -> None:
    """Raise ModelUnsupported where pairs would be put into a template that leaves them out."""
    if "message" in getattr(model[0], "modality_config", ()) and not evidence.asks:
        name = evidence.folder.name
        raise ModelUnsupported(
            f"{name} has a chat template without a place for a query and a document. Remove the template "
            "from the folder if the model was trained on plain pairs; else say in its card in models.toml how it is "
            f"asked: {prompt_lines(evidence.config)}."
        )
