"""Embedding models of the BERT kind, run through their bodies: bge-m3, e5, all-MiniLM, gte-modernbert."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.runtimes.base import TokenIds, Values
from rerank.runtimes.rectangle import RectangleRuntime
from rerank.scorers.base import Placement
from rerank.scorers.bert_kinds import BertSegments
from rerank.scorers.bi_encoder.prompts import prompts_of
from rerank.scorers.bi_encoder.scorer import SentenceReading, VectorSize
from rerank.scorers.encoders import ENCODED_AS, Body, Vectors, body_of
from rerank.scorers.networks import open_body
from rerank.scorers.pretrained import has_tokenizer, open_tokenizer, read_config
from rerank.scorers.saved_modules import (
    SavedModules,
    default_prompt_name,
    saved_modules,
    saved_prompts,
    vector_of_tokens,
)
from rerank.scorers.tokens import PairTokenizer

if TYPE_CHECKING:
    from rerank.runtimes.torch_packed import PackedRuntime


@dataclass(frozen=True, slots=True)
class BertEmbedding:
    """An embedding model with a body here, as its folder describes it."""

    checkpoint: Checkpoint
    body: Body
    vector: Vectors
    normalised: bool
    """True if its own modules make vectors of length 1."""

    def sentences(self, placement: Placement) -> BertSentences:
        """The body on the device."""
        checkpoint, body = self.checkpoint, self.body
        segments = BertSegments(checkpoint, self.vector.read)
        network = partial(body.load, checkpoint, vectors=self.vector)
        return BertSentences(segments, open_body(network, segments.example(), checkpoint, placement, packs=body.packs))

    def bytes_per_token(self, length: int) -> int:
        """See ``Body.bytes_per_token``."""
        return self.body.bytes_per_token(self.checkpoint, length)

    def vector_size(self, card: ModelCard) -> VectorSize:
        """The dimensions and the length of its vectors."""
        return plain_vector_size(self.checkpoint, card, normalised=self.normalised)


def bert_embedding(checkpoint: Checkpoint) -> BertEmbedding | None:
    """The model, if a body computes it; None if it needs more than a body, pooling and a normalised vector."""
    saved, body = saved_modules(checkpoint.folder), body_of(checkpoint)
    if saved is None or body is None or not is_plain(checkpoint, saved):
        return None
    vector = vector_of_tokens(checkpoint.folder, saved)
    if vector not in ENCODED_AS:
        return None
    return BertEmbedding(checkpoint, body, ENCODED_AS[vector], normalised=saved.normalises)


def is_plain(checkpoint: Checkpoint, saved: SavedModules) -> bool:
    """True if it is no more than a model, a pooling and a normalised vector, and its texts are read here."""
    return (
        saved.kinds[1:] in (("Pooling",), ("Pooling", "Normalize"))
        and saved.is_plain("feature-extraction")
        and has_tokenizer(checkpoint.folder)
    )


def plain_reading(checkpoint: Checkpoint, card: ModelCard) -> SentenceReading:
    """How a plain model reads texts."""
    folder = checkpoint.folder
    tokenizer = open_tokenizer(folder, normalises=card.normalises)
    pairs = PairTokenizer(tokenizer, rows=read_config(checkpoint).vocab_size)
    return SentenceReading(pairs, prompts_of(card, saved_prompts(folder)), default_prompt_name(folder))


def plain_vector_size(checkpoint: Checkpoint, card: ModelCard, *, normalised: bool) -> VectorSize:
    """The dimensions and the length of a plain model's vectors."""
    return VectorSize.of(checkpoint, card, int(read_config(checkpoint).hidden_size), normalised=normalised)


class BertSentences:
    """Vectors of a model of the BERT kind, from sequences end to end."""

    def __init__(self, segments: BertSegments, runtime: RectangleRuntime | PackedRuntime) -> None:
        self.padded = runtime.padded
        self.device = runtime.device
        self.precision = runtime.precision
        self.description = runtime.description
        self._segment = segments
        self._runtime = runtime

    def __call__(self, sequences: Sequence[TokenIds]) -> Values:
        """See ``SentenceVectors``."""
        return self._runtime([self._segment(sequence) for sequence in sequences])
