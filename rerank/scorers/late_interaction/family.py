"""Late-interaction models: recognition and loading."""

from __future__ import annotations

from functools import partial

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.scorers.base import Placement
from rerank.scorers.encoders import Body, Vectors, body_of
from rerank.scorers.late_interaction.procedure import Procedure, read_procedure, unfit
from rerank.scorers.late_interaction.scorer import LateInteractionScorer
from rerank.scorers.late_interaction.texts import TextReader
from rerank.scorers.late_interaction.vectors import TokenProjection, read_projection
from rerank.scorers.networks import fit_length, open_body
from rerank.scorers.pretrained import has_tokenizer
from rerank.scorers.saved_modules import saved_length


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for every late-interaction model."""
    del checkpoint, card
    return True


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> LateInteractionScorer:
    """The body on the device, what follows it in fp32 next to it. Raises ModelUnsupported for what is not known."""
    procedure = read_procedure(checkpoint)
    network = partial(_body(checkpoint, card, procedure).load, checkpoint, vectors=Vectors.ALL)
    own = procedure.document.length or saved_length(checkpoint.folder)
    length = fit_length(card, placement, checkpoint, own)
    texts = TextReader(checkpoint, procedure, length, normalises=card.normalises)
    layers = [read_projection(checkpoint, projection) for projection in procedure.projections]
    runtime = open_body(network, texts.segment.example(), checkpoint, placement)
    projection = TokenProjection(layers, runtime.device)
    return LateInteractionScorer(texts, runtime, projection, length, card, cache=placement.new_vector_cache())


def _body(checkpoint: Checkpoint, card: ModelCard, procedure: Procedure) -> Body:
    folder, body = checkpoint.folder, body_of(checkpoint)
    if runs_own_code(folder, card):
        raise unfit(folder, "has code of its own")
    if body is None or not body.packs:
        raise unfit(folder, f"has a body of the type {checkpoint.config.get('model_type')}")
    if not has_tokenizer(folder):
        raise unfit(folder, "has no tokenizer.json")
    _check_expansion(checkpoint, procedure)
    return body


def _check_expansion(checkpoint: Checkpoint, procedure: Procedure) -> None:
    expansion, reach = procedure.expansion, int(checkpoint.config.get("local_attention") or 0) // 2
    if expansion is None:
        return
    if expansion.length > (checkpoint.max_positions or expansion.length):
        raise unfit(checkpoint.folder, "expands queries beyond its positions")
    # where they do, what a window of the packed kernels sees does not depend on where the attended tokens end
    if reach and not expansion.attended and expansion.length > reach + 1:
        raise unfit(checkpoint.folder, "expands queries beyond its window of attention")
