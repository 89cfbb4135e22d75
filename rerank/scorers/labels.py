"""Heads that give several numbers per pair, of which a card makes one score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerank.activations import SIGMOID, Activation
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.recognition import may_be_asked, prompt_lines
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import Values
from rerank.scorers.pretrained import checkpoint_activation

_SHOWN = 10
"""Labels that a message names."""
_LETTERS = 30


def score_of_labels(rows: Values, card: ModelCard, config: Mapping[str, Any]) -> Values:
    """Of one row per label the only one, or the difference that the card names. Raises ModelUnsupported.

    Rows are a head's weights, its biases or its logits.
    """
    labels = len(rows)
    if card.labels is None:
        refuse_other_labels(labels, config)
        return rows[0]
    against, for_it = card.labels
    if max(card.labels) >= labels:
        raise ModelUnsupported(
            f"its card in models.toml names the labels {against} and {for_it}, but its head gives "
            f"{_counted(labels, config)}."
        )
    return rows[for_it] - rows[against]


def refuse_other_labels(labels: int, config: Mapping[str, Any]) -> None:
    """Raise ModelUnsupported unless the checkpoint gives one number per pair."""
    if labels != 1:
        against, for_it = _likely(config)
        raise ModelUnsupported(
            f"its head gives {_counted(labels, config)} per pair, so it classifies pairs, as models for entailment "
            "do; a reranker gives one number, the relevance. Its card in models.toml can name the label that counts "
            f"against a document and the one that counts for it: `labels = [{against}, {for_it}]`.{_of_words(config)}"
        )


def _of_words(config: Mapping[str, Any]) -> str:
    """What else a card has to say of a language model that answers with words."""
    if not may_be_asked(config):
        return ""
    return (
        " If it was converted from a reranker that answers with words, the card also has to say how that one is asked: "
        f"{prompt_lines(config)}."
    )


def refuse_labels_without_head(checkpoint: Checkpoint, card: ModelCard) -> None:
    """Raise ModelUnsupported where the card names labels that no head gives."""
    if card.labels and not checkpoint.architecture.endswith("ForSequenceClassification"):
        raise ModelUnsupported(
            "its card in models.toml names `labels`, which are those of a head that classifies pairs, and this model "
            f"({checkpoint.architecture}) has none."
        )


def activation_of(checkpoint: Checkpoint, card: ModelCard, default: Activation = SIGMOID) -> Activation:
    """How logits become relevance: as the card says, else the checkpoint, else by default.

    The difference of two labels is the logit of one against the other, whatever is saved for all of them.
    """
    if card.activation:
        return card.activation
    return SIGMOID if card.labels else checkpoint_activation(checkpoint.folder, default)


def _counted(labels: int, config: Mapping[str, Any]) -> str:
    """How many labels there are, with their names where they have any."""
    named = [f"{number} is {name}" for number, name in _names(config).items() if name != f"LABEL_{number}"]
    counted = f"{labels} label{'s' if labels != 1 else ''}"
    return f"{counted} ({', '.join(named[:_SHOWN])})" if named else counted


def _likely(config: Mapping[str, Any]) -> tuple[int, int]:
    """The labels of contradiction and entailment; the first two where they have no such names."""
    numbers = {name.casefold(): number for number, name in _names(config).items()}
    return numbers.get("contradiction", 0), numbers.get("entailment", 1)


def _names(config: Mapping[str, Any]) -> dict[int, str]:
    saved = config.get("id2label")
    items = saved.items() if isinstance(saved, dict) else ()
    return {
        int(number): name[:_LETTERS]
        for number, name in items
        if str(number).isdecimal() and isinstance(name, str) and name.isprintable()
    }
