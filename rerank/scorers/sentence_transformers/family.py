"""The fallback for cross-encoders that no other family claims: loading."""

from __future__ import annotations

import logging
from typing import Any

from sentence_transformers import CrossEncoder

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.networks import fit_length
from rerank.scorers.pretrained import activation_bytes, refuse_random_weights
from rerank.scorers.sentence_transformers.scorers import cross_encoder_scorer

logger = logging.getLogger(__name__)


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for every cross-encoder, also those that run code of their own."""
    del checkpoint, card
    return True


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    """The model on the device, in plain torch."""
    logger.info("%s runs in plain torch, through sentence-transformers: no other family claims it", card.id)
    model = _saved_model(checkpoint, card, placement)
    length = fit_length(card, placement, checkpoint, model.max_seq_length)
    bytes_per_token = activation_bytes(model.transformers_model.config)
    precision = placement.device.torch_precision
    return cross_encoder_scorer(model, length, bytes_per_token, precision, card.activation)


def _saved_model(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Any:
    model = CrossEncoder(
        str(checkpoint.folder),
        device=placement.device.name,
        trust_remote_code=card.trust_remote_code,
        local_files_only=True,
        model_kwargs={"dtype": placement.device.dtype, "use_safetensors": True},
    )
    refuse_random_weights(model.transformers_model, checkpoint)
    return model
