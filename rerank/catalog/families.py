"""Families: how a checkpoint turns a pair into a score, and the evidence for each in a folder."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

CROSS_ENCODER = "cross-encoder"
BI_ENCODER = "bi-encoder"


@dataclass(frozen=True, slots=True)
class Family:
    """One family: its name in messages and the evidence for it."""

    noun: str
    """A model of this family, in messages."""
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
