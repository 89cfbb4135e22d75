"""Qwen3-Reranker: a causal language model is asked whether the document answers the query; yes minus no is the logit.

Rule: QwenLM/Qwen3-Embedding, ``examples/qwen3_reranker_transformers.py``. Everything before the document is the same
for all documents of a request, so its keys and values are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from rerank.activations import SIGMOID
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Pair, Running, ScoringOptions
from rerank.errors import WeightsBroken
from rerank.runtimes.base import Runtime, running
from rerank.runtimes.rectangle import KERNEL, rectangle_inputs
from rerank.runtimes.segments import Segment, to_device
from rerank.runtimes.torch_packed import PackedRuntime
from rerank.scorers.base import Reading, ReadsInParts
from rerank.scorers.pretrained import (
    activation_bytes,
    load_network,
    open_tokenizer,
    read_config,
    read_json,
    read_tensor,
    refuse_other_labels,
)
from rerank.scorers.qwen3.body import LastTokenVector
from rerank.scorers.qwen3.prompt import DEFAULT_INSTRUCTION, Prompt, PromptTokenizer, asks_as_we_do
from rerank.scorers.saved_modules import default_prompt
from rerank.scorers.tokens import Vocabulary

# keys and values of prefixes of the latest requests; a token of the 0.6B model has 0.23 MB of them, of the 8B 0.29
_KEPT_BYTES = 256 * 1024**2
# below this many documents, running the prefix apart costs more than it saves
_WORTH_SHARING = 2


def is_yes_no_checkpoint(folder: Path) -> bool:
    """True for Qwen3-Reranker's causal checkpoints and their ``-seq-cls`` conversions.

    A Qwen3 that brings its own prompt modules or code is another reranker and goes through sentence-transformers.
    """
    config = read_json(folder / "config.json")
    architecture = (config.get("architectures") or [""])[0]
    if config.get("model_type") != "qwen3" or config.get("auto_map") or not (folder / "tokenizer.json").is_file():
        return False
    if architecture not in ("Qwen3ForCausalLM", "Qwen3ForSequenceClassification"):
        return False
    if config.get("use_sliding_window"):
        return False
    return _asks_for_yes_or_no(folder) and asks_as_we_do(folder)


def _asks_for_yes_or_no(folder: Path) -> bool:
    words = read_json(folder / "1_LogitScore" / "config.json")
    if not words:
        return True
    tokenizer = open_tokenizer(folder)
    return (words.get("true_token_id"), words.get("false_token_id")) == (
        tokenizer.token_to_id("yes"),
        tokenizer.token_to_id("no"),
    )


class RectanglePrompts:
    """Prompts to fp32 vectors of shape (prompts, hidden): those of their last tokens.

    Documents are sequences that go on from their prefix, whose keys and values are kept.
    Those of the system text are computed once and built upon; a prefix that only one document needs is run together
    with it, because apart it would save nothing.
    """

    padded = True

    def __init__(self, runtime: Runtime, system: tuple[int, ...], config: dict[str, Any]) -> None:
        self.runtime = runtime
        self.description = f"{runtime.description}, {KERNEL}"
        self._system_ids = system
        self._nothing = _past(config, tokens=0)
        self._system: torch.Tensor | None = None
        # the one used last comes last
        self._prefixes: dict[tuple[int, ...], torch.Tensor] = {}

    def __call__(self, batch: Sequence[Prompt]) -> torch.Tensor:
        vectors: list[torch.Tensor | None] = [None] * len(batch)
        for prefix, places in _by_prefix(batch).items():
            rests = [batch[place].rest for place in places]
            sharers = max(batch[place].sharers for place in places)
            if sharers < _WORTH_SHARING and prefix not in self._prefixes:
                found, _ = self._run([self._own(prefix) + rest for rest in rests], self._of_system())
            else:
                found, _ = self._run(rests, self._of_prefix(prefix))
            for place, vector in zip(places, found, strict=True):
                vectors[place] = vector
        return torch.stack([vector for vector in vectors if vector is not None])

    def _run(
        self, rows: Sequence[tuple[int, ...]], past: torch.Tensor, kept: int = 0
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Vectors of rows that follow ``past``, and keys and values of the first row's first ``kept`` tokens."""
        first = past.shape[2]
        segments = [Segment(row, range(first, first + len(row)), read=len(row) - 1) for row in rows]
        vectors, present = self.runtime(rectangle_inputs(segments) | {"past": past, "kept": torch.arange(kept)})
        return vectors, present

    def _own(self, prefix: tuple[int, ...]) -> tuple[int, ...]:
        """What a prefix adds to the system text."""
        return prefix[len(self._system_ids) :]

    def _of_system(self) -> torch.Tensor:
        if self._system is None:
            _, self._system = self._run([self._system_ids], self._nothing, kept=len(self._system_ids))
        return self._system

    def _of_prefix(self, prefix: tuple[int, ...]) -> torch.Tensor:
        past = self._prefixes.pop(prefix, None)
        if past is None:
            own, system = self._own(prefix), self._of_system()
            _, made = self._run([own], system, kept=len(own))
            past = torch.cat([system, made], dim=2)
        self._prefixes[prefix] = past
        # the one in use stays, however large: the next batch needs it again
        while len(self._prefixes) > 1 and sum(kept.nbytes for kept in self._prefixes.values()) > _KEPT_BYTES:
            del self._prefixes[next(iter(self._prefixes))]
        return past


class PackedPrompts:
    """Prompts to fp32 vectors of shape (prompts, hidden): those of their last tokens.

    Prefixes and documents stand in one row of tokens, each prefix once a batch, attended by all its documents.

    Nothing is kept between batches: a batch holds so many documents that the prefix does not count.
    """

    padded = False

    def __init__(self, runtime: PackedRuntime) -> None:
        self.runtime = runtime
        self.description = runtime.description

    def __call__(self, batch: Sequence[Prompt]) -> torch.Tensor:
        segments: list[Segment] = []
        order: list[int] = []
        for prefix, places in _by_prefix(batch).items():
            shared = len(places) >= _WORTH_SHARING
            if shared:
                segments.append(Segment(prefix, range(len(prefix))))
            stem = len(segments) - 1
            for place in places:
                ids = batch[place].rest if shared else prefix + batch[place].rest
                first = len(prefix) if shared else 0
                positions = range(first, first + len(ids))
                segments.append(Segment(ids, positions, read=len(ids) - 1, continues=stem if shared else None))
                order.append(place)
        vectors = self.runtime(segments)
        back = sorted(range(len(order)), key=order.__getitem__)
        return vectors.index_select(0, to_device(numpy.array(back), self.runtime.device))


def _by_prefix(batch: Sequence[Prompt]) -> dict[tuple[int, ...], list[int]]:
    """Places of the prompts of each prefix."""
    places: dict[tuple[int, ...], list[int]] = {}
    for place, prompt in enumerate(batch):
        places.setdefault(prompt.prefix, []).append(place)
    return places


class YesNoScorer(ReadsInParts):
    """A Qwen3 whose last hidden state is compared with the two words only; the vocabulary is never multiplied."""

    takes_instruction = True

    def __init__(
        self,
        checkpoint: Checkpoint,
        card: ModelCard,
        prompts: PromptTokenizer,
        vectors: RectanglePrompts | PackedPrompts,
    ) -> None:
        self._instruction = card.instruction or default_prompt(checkpoint.folder) or DEFAULT_INSTRUCTION
        self.max_length = prompts.max_length
        self.activation = card.activation or SIGMOID
        self.runtime = f"{vectors.description}, shared prefix"
        self.precision = vectors.runtime.precision
        self.padded = vectors.padded
        self.bytes_per_token = activation_bytes(read_config(checkpoint))
        self._prompts = prompts
        # that of the prompts reads users' texts without special tokens; this one is seldom asked for
        self.tokenizer = Vocabulary(partial(open_tokenizer, checkpoint.folder))
        self._vectors = vectors
        self._direction = yes_minus_no(checkpoint).to(vectors.runtime.device)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``."""
        return self._prompts.reading(pairs, options.truncation, options.instruction or self._instruction)

    @torch.inference_mode()
    def start(self, batch: Sequence[Prompt]) -> Running:
        """See ``Scorer.start``. Prompts of one request share their prefix."""
        return running(self._vectors(batch) @ self._direction)


def yes_no_network(checkpoint: Checkpoint, dtype: torch.dtype) -> LastTokenVector:
    """The body. Raises WeightsBroken where a weight is missing."""
    kind = AutoModelForSequenceClassification if _is_converted(checkpoint) else AutoModelForCausalLM
    return LastTokenVector(load_network(kind, checkpoint, dtype).model)


def yes_no_example(checkpoint: Checkpoint) -> dict[str, torch.Tensor]:
    """Inputs of ``LastTokenVector.forward`` to trace it with."""
    return {
        **rectangle_inputs([Segment((1,) * length, range(3, 3 + length), length - 1) for length in (7, 5)]),
        "past": _past(read_json(checkpoint.folder / "config.json"), tokens=3),
        "kept": torch.arange(2),
    }


def _past(config: dict[str, Any], tokens: int) -> torch.Tensor:
    """Keys and values of so many tokens, all zeros, shaped as ``LastTokenVector.forward`` wants them."""
    size = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    return torch.zeros(config["num_hidden_layers"], 2, tokens, config["num_key_value_heads"], size)


def yes_minus_no(checkpoint: Checkpoint) -> torch.Tensor:
    """w_yes - w_no in fp32, of shape (hidden), straight from the file. Raises WeightsBroken."""
    if _is_converted(checkpoint):
        rows = read_tensor(checkpoint, "score.weight")
        refuse_other_labels(rows.shape[0])
        return rows[0]
    tokenizer = open_tokenizer(checkpoint.folder)
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    if yes is None or no is None:
        raise WeightsBroken("the tokenizer does not know the words yes and no")
    tied = read_json(checkpoint.folder / "config.json").get("tie_word_embeddings", False)
    words = "model.embed_tokens.weight" if tied else "lm_head.weight"
    return read_tensor(checkpoint, words, row=yes) - read_tensor(checkpoint, words, row=no)


def _is_converted(checkpoint: Checkpoint) -> bool:
    return checkpoint.architecture == "Qwen3ForSequenceClassification"
