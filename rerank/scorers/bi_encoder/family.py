"""Embedding models as rerankers: recognition and loading, onto a BERT body or through sentence-transformers."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from rerank.catalog.built_in import compares_by_dot
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.errors import ModelUnsupported
from rerank.runtimes.padding import example_ids
from rerank.scorers.base import Placement
from rerank.scorers.bi_encoder.bert import BertEmbedding, bert_embedding, plain_reading
from rerank.scorers.bi_encoder.causal import CausalEmbedding, causal_embedding
from rerank.scorers.bi_encoder.prompts import prompts_of
from rerank.scorers.bi_encoder.scorer import BiEncoderScorer
from rerank.scorers.networks import WalkedElsewhere, fit_length, open_runtime
from rerank.scorers.normalising import normalise_saved
from rerank.scorers.pretrained import (
    SAFE_OPTIONS,
    activation_bytes,
    refuse_random_weights,
    refuse_unknown_type,
)
from rerank.scorers.saved_modules import (
    other_similarity,
    reads_as_published,
    refuse_unread_setting,
    saved_length,
    take_length,
)
from rerank.scorers.seen_padding import refuse_changing

logger = logging.getLogger(__name__)


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for every embedding model."""
    del checkpoint, card
    return True


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> BiEncoderScorer:
    """The embedding model on the device."""
    model = None
    similarity = other_similarity(checkpoint.folder, unsaid="dot" if compares_by_dot(card) else None)
    if similarity not in (None, "dot"):
        logger.warning(
            "%s scores by cosine: its similarity_fn_name is %s, which may order documents otherwise",
            card.id,
            similarity,
        )
    if not runs_own_code(checkpoint.folder, card):
        model = bert_embedding(checkpoint) or causal_embedding(checkpoint)
    dot = similarity == "dot"
    if model is None:
        return _load_saved(checkpoint, card, placement, dot=dot)
    return _load_plain(model, card, placement, dot=dot)


def _load_plain(
    model: BertEmbedding | CausalEmbedding, card: ModelCard, placement: Placement, *, dot: bool
) -> BiEncoderScorer:
    checkpoint = model.checkpoint
    length = fit_length(card, placement, checkpoint, saved_length(checkpoint.folder))
    reading, size = plain_reading(checkpoint, card).instructed(card.instruction), model.vector_size(card)
    vectors, per_token = model.sentences(placement), model.bytes_per_token(length)
    cache = placement.new_vector_cache()
    return BiEncoderScorer(reading, vectors, size, length, per_token, card.activation, dot=dot, cache=cache)


def _load_saved(checkpoint: Checkpoint, card: ModelCard, placement: Placement, *, dot: bool) -> BiEncoderScorer:
    # importing sentence-transformers takes seconds
    from rerank.scorers.bi_encoder.saved import (
        PaddedSentence,
        PaddedSentences,
        embedding_inputs,
        saved_vector_size,
        sentence_reading,
        trial_texts,
    )

    model = _saved_model(checkpoint, card, placement)
    if card.normalises:
        normalise_saved(model.tokenizer)
    length = fit_length(card, placement, checkpoint, take_length(model))
    refuse_changing(checkpoint, length)
    model.prompts = prompts_of(card, model.prompts)
    reading = sentence_reading(model).instructed(card.instruction)
    example = example_ids(embedding_inputs(model))
    config = model.transformers_model.config
    walked = WalkedElsewhere(trial_texts(model, length), config.to_dict())
    runtime = open_runtime(partial(PaddedSentence, model), example, checkpoint, placement, walked)
    vectors = PaddedSentences(model, runtime)
    bytes_per_token = activation_bytes(config)
    size = saved_vector_size(model, card, checkpoint)
    cache = placement.new_vector_cache()
    return BiEncoderScorer(reading, vectors, size, length, bytes_per_token, card.activation, dot=dot, cache=cache)


def _saved_model(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Any:
    refuse_unknown_type(checkpoint)
    refuse_unread_setting(checkpoint.folder)
    from sentence_transformers import SentenceTransformer

    options: dict[str, Any] = dict(SAFE_OPTIONS)
    if placement.device.openvino:
        # OpenVINO's fused attention gives NaN where a token sees none, as padding does next to a sliding window
        options["attn_implementation"] = "eager"
    model = SentenceTransformer(
        str(checkpoint.folder),
        device="cpu",
        trust_remote_code=card.trust_remote_code,
        local_files_only=True,
        model_kwargs=options,
    ).float()
    if model.transformers_model is None:
        raise ModelUnsupported("it holds no model of transformers, and no other is supported.")
    # many embedding models were published without the pooler, which they do not use
    refuse_random_weights(model.transformers_model, checkpoint, unused="pooler.")
    reads_as_published(model, checkpoint.folder)
    return model
