"""Families: how a checkpoint turns a pair into a score, and what in its folder shows which one it is."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

CROSS_ENCODER = "cross-encoder"
BI_ENCODER = "bi-encoder"


@dataclass(frozen=True, slots=True)
class Family:
    """One family, for people and for the reader of checkpoints."""

    noun: str
    """What a model of it is called in a message."""
    heads: tuple[str, ...] = ()
    """Endings of its architectures in config.json."""
    modules: tuple[str, ...] = ()
    """Modules of sentence-transformers, any of which shows it where the architecture shows no family."""


FAMILIES = {
    # query and document are embedded apart; the score is their cosine
    BI_ENCODER: Family("an embedding model that reranks here", modules=("Pooling",)),
    # query and document are read together; a head gives one logit, or a language model is asked
    CROSS_ENCODER: Family(
        "a reranker", heads=("ForSequenceClassification", "ForCausalLM"), modules=("LogitScore", "Dense")
    ),
}
"""By name, as in models.toml and in /v1/models; an earlier one's modules count before a later one's."""


def family_by_head(architecture: str) -> str | None:
    """The family of an architecture with a head that scores pairs; None without one."""
    return next((name for name, family in FAMILIES.items() if architecture.endswith(family.heads)), None)


def family_by_modules(modules: Set[str]) -> str | None:
    """The family that modules of sentence-transformers show; None where they show none."""
    return next((name for name, family in FAMILIES.items() if not modules.isdisjoint(family.modules)), None)
