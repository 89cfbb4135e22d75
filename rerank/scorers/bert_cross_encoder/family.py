"""Cross-encoders of the BERT kind: recognition and loading."""

from __future__ import annotations

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.scorers.base import Placement
from rerank.scorers.bert_cross_encoder.models import pair_model
from rerank.scorers.bert_cross_encoder.scorer import EncoderScorer
from rerank.scorers.networks import fit_length, open_body
from rerank.scorers.pretrained import has_tokenizer
from rerank.scorers.saved_modules import default_prompt, saved_length


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for a known body with a known head, without a prompt or code of its own."""
    folder = checkpoint.folder
    return (
        has_tokenizer(folder)
        and default_prompt(folder) is None
        and not runs_own_code(folder, card)
        and pair_model(checkpoint) is not None
    )


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> EncoderScorer:
    """The body on the device, the head in fp32 next to it."""
    model = pair_model(checkpoint)
    # for mypy: `claims` saw it
    assert model is not None  # nosec B101
    length = fit_length(card, placement, checkpoint, saved_length(checkpoint.folder))
    runtime = open_body(model.network, model.segments.example(), checkpoint, placement, packs=model.body.packs)
    return EncoderScorer(model, runtime, length, card)
