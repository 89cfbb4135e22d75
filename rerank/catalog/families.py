"""Families: how a checkpoint turns a pair into a score. ``recognition`` decides which one a folder is of."""

from __future__ import annotations

from dataclasses import dataclass

CROSS_ENCODER = "cross-encoder"
BI_ENCODER = "bi-encoder"
LATE_INTERACTION = "late-interaction"


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
}
"""By name, as in models.toml and in /v1/models."""
