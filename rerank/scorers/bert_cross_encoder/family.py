"""Cross-encoders of the BERT kind: recognition and loading."""

from __future__ import annotations

from functools import partial

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.scorers.base import Placement
from rerank.scorers.bert_cross_encoder.scorer import HEADS, EncoderScorer, encoder_network, pair_segments
from rerank.scorers.networks import fit_length, open_body
from rerank.scorers.pretrained import has_tokenizer
from rerank.scorers.saved_modules import default_prompt, saved_length, saved_modules


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for a known body with a classification head, without a prompt or code of its own."""
    folder = checkpoint.folder
    saved = saved_modules(folder)
    return (
        checkpoint.config.get("model_type") in HEADS
        and checkpoint.architecture.endswith("ForSequenceClassification")
        and has_tokenizer(folder)
        and (saved is None or (len(saved.kinds) == 1 and saved.is_plain("sequence-classification")))
        and default_prompt(folder) is None
        and not runs_own_code(folder, card)
    )


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> EncoderScorer:
    """The body on the device, the head in fp32 next to it."""
    length = fit_length(card, placement, checkpoint, saved_length(checkpoint.folder))
    example = pair_segments(checkpoint).example()
    runtime = open_body(partial(encoder_network, checkpoint), example, checkpoint, placement)
    return EncoderScorer(checkpoint, runtime, length, card)
