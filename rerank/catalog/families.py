"""Families: how a checkpoint turns a pair into a score. ``recognition`` decides which one a folder is of."""

from __future__ import annotations

from dataclasses import dataclass

CROSS_ENCODER = "cross-encoder"
BI_ENCODER = "bi-encoder"
LATE_INTERACTION = "late-interaction"
UPSTREAM = "upstream"
LEXICAL = "lexical"


@dataclass(frozen=True, slots=True)
class Family:
    """One family."""

    noun: str
    """A model of this family, in messages."""


FAMILIES = {
    # query and document are embedded apart; the score is their cosine
    BI_ENCODER: Family("an embedding model that reranks here"),
    # each token of both has a vector of its own; the score is the sum over the query's tokens of the best cosine
    LATE_INTERACTION: Family("a late-interaction model"),
    # query and document are read together; a head gives one logit, or a language model is asked
    CROSS_ENCODER: Family("a reranker"),
    # another server scores
    UPSTREAM: Family("a reranker on another server"),
    # BM25 over the documents of the request
    LEXICAL: Family("keyword search without a model"),
}
"""By name, as in /v1/models."""
OF_CHECKPOINTS = (BI_ENCODER, LATE_INTERACTION, CROSS_ENCODER)
"""Those that a card in models.toml may name."""
