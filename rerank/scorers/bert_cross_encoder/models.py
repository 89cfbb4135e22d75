"""Cross-encoders of the BERT kind as their folders describe them: a body, one vector per pair, a head."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.scorers.bert_cross_encoder.heads import (
    Head,
    classifier_layers,
    knows_classifier,
    knows_modules,
    module_layers,
    one_score,
)
from rerank.scorers.bert_kinds import BertSegments
from rerank.scorers.encoders import ENCODED_AS, Body, Vectors, body_of
from rerank.scorers.heads import Linear
from rerank.scorers.ports import classifier_of
from rerank.scorers.pretrained import load_network
from rerank.scorers.saved_modules import SavedModules, saved_modules, vector_of_tokens

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, slots=True)
class PairModel:
    """A cross-encoder."""

    checkpoint: Checkpoint
    body: Body
    vector: Vectors
    modules: SavedModules | None = None
    """Where its head is, if modules of sentence-transformers are; None if it is a classifier of transformers."""

    @property
    def segments(self) -> BertSegments:
        """Its pairs as segments."""
        return BertSegments(self.checkpoint, self.vector.read)

    def network(self, dtype: torch.dtype) -> nn.Module:
        """The body. Raises WeightsBroken where a weight is missing."""
        if self.modules is not None:
            return self.body.load(self.checkpoint, dtype, self.vector)
        kind, options = classifier_of(self.checkpoint)
        return self.body.network(load_network(kind, self.checkpoint, dtype, **options).base_model, self.vector)

    def head(self, card: ModelCard, device: str) -> Head:
        """The layers behind the vector, read from the files. Raises ModelUnsupported and WeightsBroken."""
        checkpoint, modules = self.checkpoint, self.modules
        *layers, last = classifier_layers(checkpoint) if modules is None else module_layers(checkpoint, modules)
        assert isinstance(last, Linear)  # nosec B101  # for mypy: both end in one
        return Head(layers, one_score(last, card, checkpoint), device)


def pair_model(checkpoint: Checkpoint) -> PairModel | None:
    """The model; None if it needs more than a body, one vector per pair and a head."""
    body, saved = body_of(checkpoint), saved_modules(checkpoint.folder)
    if body is None:
        return None
    if saved is None or len(saved.kinds) == 1:
        return _classifier(checkpoint, body, saved)
    return _chain(checkpoint, body, saved)


def _classifier(checkpoint: Checkpoint, body: Body, saved: SavedModules | None) -> PairModel | None:
    if not checkpoint.architecture.endswith("ForSequenceClassification") or not knows_classifier(checkpoint):
        return None
    if saved is not None and not saved.is_plain("sequence-classification"):
        return None
    vector = ENCODED_AS.get(checkpoint.config.get("classifier_pooling", "cls"))
    return vector and PairModel(checkpoint, body, vector)


def _chain(checkpoint: Checkpoint, body: Body, saved: SavedModules) -> PairModel | None:
    folder = checkpoint.folder
    vector = vector_of_tokens(folder, saved)
    if vector not in ENCODED_AS or not saved.is_plain("feature-extraction") or not knows_modules(folder, saved):
        return None
    return PairModel(checkpoint, body, ENCODED_AS[vector], saved)
