"""Sequence-to-sequence rerankers: recognition and loading."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.catalog.recognition import SEQUENCE_TO_SEQUENCE
from rerank.runtimes.padding import example_ids
from rerank.scorers.base import Placement
from rerank.scorers.libraries import import_transformers
from rerank.scorers.networks import fit_length, open_runtime
from rerank.scorers.pretrained import load_network, tokenizer_length
from rerank.scorers.sequence_to_sequence.scorer import FirstWordScorer, start_token

if TYPE_CHECKING:
    # importing it takes seconds, which a converted network does not need
    import torch

    from rerank.scorers.sequence_to_sequence.network import FirstWordVector


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for a T5 whose prompt is known, without code of its own."""
    return (
        card.prompt is not None
        and checkpoint.architecture in SEQUENCE_TO_SEQUENCE
        and not runs_own_code(checkpoint.folder, card)
    )


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> FirstWordScorer:
    """Encoder and decoder on the device, the direction of the score in fp32 next to them."""
    length = fit_length(card, placement, checkpoint, tokenizer_length(checkpoint.folder))
    example = example_ids(("input_ids", "attention_mask"))
    runtime = open_runtime(partial(_network, checkpoint), example, checkpoint, placement)
    return FirstWordScorer(checkpoint, runtime, length, card)


def _network(checkpoint: Checkpoint, dtype: torch.dtype) -> FirstWordVector:
    """Encoder and decoder. Raises WeightsBroken where a weight is missing."""
    from rerank.scorers.sequence_to_sequence.network import FirstWordVector

    kind = import_transformers().AutoModelForSeq2SeqLM
    return FirstWordVector(load_network(kind, checkpoint, dtype), start_token(checkpoint))
