"""Causal rerankers with a Qwen3 body: recognition and loading."""

from __future__ import annotations

from functools import partial

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.own_code import runs_own_code
from rerank.catalog.prompts import RECOGNISED
from rerank.runtimes.torch_packed import PackedRuntime
from rerank.scorers.base import Placement
from rerank.scorers.causal.prompt import PromptTokenizer
from rerank.scorers.causal.recognition import recognised_format
from rerank.scorers.causal.scorer import CONVERTED, CausalScorer, causal_network
from rerank.scorers.causal.vectors import PackedPrompts, RectanglePrompts, example_inputs
from rerank.scorers.networks import fit_length, open_packed
from rerank.scorers.pretrained import read_json, tokenizer_length


def claims(checkpoint: Checkpoint, card: ModelCard) -> bool:
    """True for a Qwen3 whose prompt is known: from its card, or from its own template and words.

    One with other prompts, modules or code goes through sentence-transformers.
    """
    folder = checkpoint.folder
    config = read_json(folder / "config.json")
    return (
        config.get("model_type") == "qwen3"
        and checkpoint.architecture in ("Qwen3ForCausalLM", CONVERTED)
        and not config.get("use_sliding_window")
        and (folder / "tokenizer.json").is_file()
        and not runs_own_code(folder, card)
        and (card.prompt or recognised_format(folder)) is not None
    )


def load(checkpoint: Checkpoint, card: ModelCard, placement: Placement) -> CausalScorer:
    """The body on the device, the direction of the score in fp32 next to it."""
    folder = checkpoint.folder
    config = read_json(folder / "config.json")
    prompt_format = card.prompt or recognised_format(folder) or RECOGNISED[0]
    network = open_packed(partial(causal_network, checkpoint), example_inputs(config), checkpoint, placement)
    prompts = PromptTokenizer(
        folder,
        prompt_format,
        fit_length(card, placement, checkpoint, tokenizer_length(folder)),
        special_tokens_in_text=card.special_tokens_in_text,
        keeps_prefix=not isinstance(network, PackedRuntime),
    )
    if isinstance(network, PackedRuntime):
        return CausalScorer(checkpoint, card, prompt_format, prompts, PackedPrompts(network))
    vectors = RectanglePrompts(network, prompts.system, config)
    return CausalScorer(checkpoint, card, prompt_format, prompts, vectors)
