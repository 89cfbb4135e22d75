"""Causal rerankers: recognition and loading."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.catalog.prompts import PromptFormat
from rerank.runtimes.ids import Ids
from rerank.runtimes.rectangle import rectangle_inputs
from rerank.runtimes.segments import Segment
from rerank.scorers.base import Placement
from rerank.scorers.causal.configuration import body_config, is_bidirectional
from rerank.scorers.causal.prompt import PromptTokenizer
from rerank.scorers.causal.recognition import recognised_format
from rerank.scorers.causal.scorer import CausalScorer
from rerank.scorers.causal.vectors import PackedPrompts, RectanglePrompts, WholePrompts, example_inputs
from rerank.scorers.libraries import import_transformers
from rerank.scorers.networks import fit_length, open_body, open_packed, open_runtime
from rerank.scorers.pretrained import Config, load_network
from rerank.scorers.saved_modules import saved_length

if TYPE_CHECKING:
    import torch

    from rerank.scorers.body_vectors import MeanVector
    from rerank.scorers.causal.body import LastTokenVector


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for a body that is computed here and whose prompt is known: from its card, or from its own template.

    One with other prompts, modules or code goes through sentence-transformers.
    """
    folder = checkpoint.folder
    return (
        body_config(checkpoint) is not None
        and (folder / "tokenizer.json").is_file()
        and not runs_own_code(folder, card)
        and _prompt_format(checkpoint, card) is not None
    )


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> CausalScorer:
    """The body on the device, the direction of the score in fp32 next to it."""
    folder = checkpoint.folder
    config, prompt_format = body_config(checkpoint), _prompt_format(checkpoint, card)
    # for mypy: `claims` saw both
    assert config is not None  # nosec B101
    assert prompt_format is not None  # nosec B101
    length = fit_length(card, placement, checkpoint, saved_length(folder))
    prompts = PromptTokenizer(
        folder,
        prompt_format,
        length,
        special_tokens_in_text=card.special_tokens_in_text,
        normalises=card.normalises,
        rows=config.vocab_size,
    )
    vectors = (
        _open_whole(checkpoint, config, placement)
        if is_bidirectional(checkpoint)
        else open_prompts(checkpoint, config, placement, prompts.system)
    )
    return CausalScorer(checkpoint, config, card, prompt_format, prompts, vectors)


def _prompt_format(checkpoint: Checkpoint, card: ModelCard) -> PromptFormat | None:
    return card.prompt or recognised_format(checkpoint)


def open_prompts(
    checkpoint: Checkpoint, config: Config, placement: Placement, system: Ids
) -> RectanglePrompts | PackedPrompts:
    """The body on the device; ``system`` are the tokens that every prompt begins with."""
    make = partial(_network, checkpoint, config)
    if packed := open_packed(make, placement):
        return PackedPrompts(packed)
    return RectanglePrompts(open_runtime(make, example_inputs(config), checkpoint, placement), system, config)


def _open_whole(checkpoint: Checkpoint, config: Config, placement: Placement) -> WholePrompts:
    example = rectangle_inputs([Segment((1,) * length, range(length)) for length in (7, 5)])
    return WholePrompts(open_body(partial(_network, checkpoint, config), example, checkpoint, placement))


def _network(checkpoint: Checkpoint, config: Config, dtype: torch.dtype) -> LastTokenVector | MeanVector:
    """The body. Raises WeightsBroken where a weight is missing."""
    from rerank.scorers.body_vectors import MeanVector
    from rerank.scorers.causal.body import EachSeesAll, LastTokenVector

    model = load_network(import_transformers().AutoModel, checkpoint, dtype, config=config.full)
    return MeanVector(EachSeesAll(model)) if is_bidirectional(checkpoint) else LastTokenVector(model)
