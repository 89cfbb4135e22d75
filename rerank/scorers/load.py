"""Loading a scorer from a checkpoint folder. Never touches the network."""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol, cast

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, LATE_INTERACTION
from rerank.catalog.own_code import runs_own_code
from rerank.core import Pair
from rerank.devices import is_out_of_memory
from rerank.errors import InvalidRequest, ModelUnavailable, ModelUnsupported, WeightsBroken
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.hidden_prompts import told_prompt
from rerank.scorers.labels import refuse_labels_without_head
from rerank.scorers.library_errors import shown_error

logger = logging.getLogger(__name__)


class FamilyModule(Protocol):
    """``family.py`` of a family's folder."""

    def claims(self, checkpoint: Checkpoint, card: ModelCard) -> bool:
        """True if this module scores the checkpoint, whose family is its own already."""
        ...

    def load(self, checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
        """The weights on the device. Raises ModelUnavailable and library errors."""
        ...


class Implementation(NamedTuple):
    """A row of the table of families."""

    family: str
    folder: str
    takes_prompt: bool = False
    """True if it asks in the prompt of a card."""

    def module(self) -> FamilyModule:
        """The folder's module, imported now: some need libraries that take seconds to import."""
        return cast("FamilyModule", importlib.import_module(f"rerank.scorers.{self.folder}.family"))


IMPLEMENTATIONS = (
    Implementation(BI_ENCODER, "bi_encoder"),
    Implementation(LATE_INTERACTION, "late_interaction"),
    Implementation(CROSS_ENCODER, "bert_cross_encoder"),
    Implementation(CROSS_ENCODER, "causal", takes_prompt=True),
    Implementation(CROSS_ENCODER, "sequence_to_sequence", takes_prompt=True),
    Implementation(CROSS_ENCODER, "sentence_transformers"),
)
"""In the order in which they are asked; the last one of a family claims every checkpoint that is left."""


_NO_ROOM = (
    "A pair may have {} tokens, which leaves this model no room for a document: raise RERANK_MAX_SEQ_LENGTH, or "
    "max_length in models.toml."
)


def load_scorer(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> Scorer:
    """Load the weights onto the device and score two pairs, so that a model that cannot score never counts as loaded.

    Raises ModelUnavailable, mostly as WeightsBroken, and what a library raises when memory runs out.
    """
    if runs_own_code(checkpoint.folder, card):
        logger.warning("%s runs Python code of its own, as its card's trust_remote_code allows", card.id)
    with _explained(checkpoint):
        refuse_labels_without_head(checkpoint, card)
        card = told_prompt(checkpoint, card)
    module = family_module(checkpoint, card)
    with _explained(checkpoint):
        scorer = module.load(checkpoint, card, placement)
        _check_scores(scorer)
    return scorer


def family_module(checkpoint: Checkpoint, card: ModelCard) -> FamilyModule:
    """The first module of the table that claims the checkpoint, imported. Raises as ``load_scorer``."""
    family = card.stated_family or checkpoint.family
    if card.prompts and family != BI_ENCODER:
        raise ModelUnsupported(
            f"{card.id} cannot be used: the `prompts` in its card in models.toml stand before the texts of an "
            f"embedding model, and this one is a {family}. Remove them."
        )
    with _explained(checkpoint):
        for row in IMPLEMENTATIONS:
            if row.family == family and (row.takes_prompt or card.prompt is None):
                module = row.module()
                if module.claims(checkpoint, card):
                    return module
    raise ModelUnavailable(
        f"{card.id} cannot be used: the prompt in its card is for language models with the body of Gemma, Llama, "
        f"Mistral, Qwen2 or Qwen3 and full attention, or for T5, and this one is a {checkpoint.architecture}."
    )


@contextmanager
def _explained(checkpoint: Checkpoint) -> Iterator[None]:
    """Raise errors of libraries over a broken file as WeightsBroken: they have no common class."""
    try:
        yield
    except ModelUnavailable:
        raise
    except Exception as error:
        if is_out_of_memory(error):
            raise
        logger.warning("%s cannot be loaded", checkpoint.folder.name, exc_info=True)
        told = f"{checkpoint.folder.name} cannot be loaded: {shown_error(error, checkpoint.folder)}"
        if isinstance(error, ImportError):
            # a package that is missing; the folder is whole
            raise ModelUnsupported(f"{told}.") from error
        raise WeightsBroken(told) from error


def _check_scores(scorer: Scorer) -> None:
    # several pairs of one query may take a path of their own, and so may a short one's padding next to a long one
    pairs = [Pair("warm", "up"), Pair("warm", "up and running " * 50)]
    try:
        encoded = scorer.encode(pairs)
    except InvalidRequest as error:
        raise ModelUnavailable(_NO_ROOM.format(scorer.max_length)) from error
    logits = score(scorer, encoded)
    if len(logits) != len(pairs) or not all(math.isfinite(logit) for logit in logits):
        raise WeightsBroken(f"the model answered {logits} for two pairs instead of two finite numbers")
