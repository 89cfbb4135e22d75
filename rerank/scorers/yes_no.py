"""Qwen3-Reranker: a causal language model is asked whether the document answers the query; yes minus no is the logit.

Prompt and rule: QwenLM/Qwen3-Embedding, ``examples/qwen3_reranker_transformers.py``. The prompt is put together from
token ids: prefix, instruction and query once a request, then each document, then the suffix, which is never cut.
Everything before the document is the same for all documents of a request, so its keys and values are computed once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from cachetools import LRUCache
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.cache_utils import DynamicCache

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Activation, Pair, Truncation
from rerank.devices import Device
from rerank.errors import WeightsBroken
from rerank.scorers.base import document_limit, pair_limit, too_long
from rerank.scorers.pretrained import load_network, open_tokenizer, read_json, refuse_other_labels

SYSTEM = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
    'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
DEFAULT_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"

# of the latest requests; with the 8B model each takes some 11 MB
_KEPT_PREFIXES = 8
# below this many documents in a batch, running the prefix apart costs more than it saves
_WORTH_SHARING = 2

Layer = tuple[torch.Tensor, torch.Tensor]


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
    own = read_json(folder / "1_LogitScore" / "config.json")
    if not own:
        return True
    tokenizer = open_tokenizer(folder)
    return (own.get("true_token_id"), own.get("false_token_id")) == (
        tokenizer.token_to_id("yes"),
        tokenizer.token_to_id("no"),
    )


@dataclass(frozen=True, slots=True)
class Prompt:
    """A pair as token ids, split where all documents of a request part."""

    prefix: tuple[int, ...]
    """System text, instruction and query, up to ``<Document>:``."""
    rest: tuple[int, ...]
    """The document and the suffix."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.prefix) + len(self.rest)


class PromptTokenizer:
    """Texts to prompts. The texts of users cannot name special tokens, so they cannot forge the prompt."""

    def __init__(self, folder: Path, max_length: int, *, special_tokens_in_text: bool = False) -> None:
        special = open_tokenizer(folder)
        self.system = tuple(special.encode(SYSTEM, add_special_tokens=False).ids)
        self.suffix = tuple(special.encode(SUFFIX, add_special_tokens=False).ids)
        self.max_length = max_length
        self._text: Tokenizer = open_tokenizer(folder, special_tokens=special_tokens_in_text)

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str) -> list[Prompt]:
        """See ``Scorer.encode``. The document's tail is cut; instruction, query and suffix never are."""
        limit = pair_limit(truncation, self.max_length)
        prefixes = {query: self._prefix(instruction, query) for query in dict.fromkeys(pair.query for pair in pairs)}
        # the space belongs to the document's first word, as it would in one text
        documents = self._text.encode_batch([f" {pair.document}" for pair in pairs], add_special_tokens=False)
        prompts = []
        for index, (pair, document) in enumerate(zip(pairs, documents, strict=True)):
            prefix = prefixes[pair.query]
            room = document_limit(len(prefix) + len(self.suffix), limit, self.max_length)
            ids = document.ids[: truncation.max_tokens_per_document]
            if len(ids) > room and not truncation.allowed:
                raise too_long(index, len(prefix) + len(ids) + len(self.suffix), limit)
            prompts.append(Prompt(prefix, (*ids[:room], *self.suffix)))
        return prompts

    def _prefix(self, instruction: str, query: str) -> tuple[int, ...]:
        text = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"
        return (*self.system, *self._text.encode(text, add_special_tokens=False).ids)


class YesNoScorer:
    """A Qwen3 whose last hidden state is compared with the two words only; the vocabulary is never multiplied."""

    activation = Activation.SIGMOID

    def __init__(self, checkpoint: Checkpoint, card: ModelCard, device: Device, max_length: int) -> None:
        self._prompts = PromptTokenizer(
            checkpoint.folder, max_length, special_tokens_in_text=card.special_tokens_in_text
        )
        self._instruction = card.instruction or DEFAULT_INSTRUCTION
        self.max_length = max_length
        body, direction = _load(checkpoint, device.dtype)
        self._body = body.to(device.name)
        self._direction = direction.to(device.name)
        self._device = device.name
        self.runtime = f"torch {device.precision}, shared prefix"
        self._system: list[Layer] | None = None
        self._prefixes: LRUCache[tuple[int, ...], list[Layer]] = LRUCache(maxsize=_KEPT_PREFIXES)

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[Prompt]:
        """See ``Scorer.encode``."""
        return self._prompts.encode(pairs, truncation, instruction or self._instruction)

    @torch.inference_mode()
    def score(self, batch: Sequence[Prompt]) -> list[float]:
        """See ``Scorer.score``. Pairs of one request share their prefix; a pair alone is run whole."""
        logits = [0.0] * len(batch)
        for prefix in dict.fromkeys(prompt.prefix for prompt in batch):
            places = [place for place, prompt in enumerate(batch) if prompt.prefix == prefix]
            rests = [batch[place].rest for place in places]
            if len(places) < _WORTH_SHARING and prefix not in self._prefixes:
                found = self._run([prefix + rest for rest in rests], None)
            else:
                found = self._run(rests, self._prefix_layers(prefix))
            for place, logit in zip(places, found, strict=True):
                logits[place] = logit
        return logits

    def _run(self, rows: Sequence[tuple[int, ...]], past: list[Layer] | None) -> list[float]:
        """Logits of token rows that follow ``past``.

        Padded on the right: a causal model's last real token sees no padding, so no mask is needed.
        """
        lengths = torch.tensor([len(row) for row in rows], device=self._device)
        longest = int(max(len(row) for row in rows))
        ids = torch.tensor([row + (0,) * (longest - len(row)) for row in rows], device=self._device)
        states = self._body(input_ids=ids, past_key_values=_cache_for(past, len(rows)), use_cache=past is not None)
        last = states.last_hidden_state[torch.arange(len(rows), device=self._device), lengths - 1]
        logits: list[float] = (last.float() @ self._direction).tolist()
        return logits

    def _prefix_layers(self, prefix: tuple[int, ...]) -> list[Layer]:
        """Keys and values of a prefix; those of the system text are computed once and built upon."""
        system = self._prompts.system
        if self._system is None:
            self._system = self._layers(system, None)
        if prefix not in self._prefixes:
            self._prefixes[prefix] = self._layers(prefix[len(system) :], self._system)
        layers: list[Layer] = self._prefixes[prefix]
        return layers

    def _layers(self, ids: tuple[int, ...], past: list[Layer] | None) -> list[Layer]:
        cache = _cache_for(past, 1) or DynamicCache()
        self._body(input_ids=torch.tensor([ids], device=self._device), past_key_values=cache, use_cache=True)
        layers: list[Any] = cache.layers
        return [(layer.keys, layer.values) for layer in layers]


def _cache_for(past: list[Layer] | None, rows: int) -> DynamicCache | None:
    """The layers as a cache for ``rows`` rows. The model appends to copies, so ``past`` stays as it is."""
    if past is None:
        return None
    cache = DynamicCache()
    for index, (keys, values) in enumerate(past):
        cache.update(keys.expand(rows, -1, -1, -1), values.expand(rows, -1, -1, -1), index)
    return cache


def _load(checkpoint: Checkpoint, dtype: torch.dtype) -> tuple[Any, torch.Tensor]:
    """The body, and the vector w_yes - w_no in fp32. Raises WeightsBroken."""
    if checkpoint.architecture == "Qwen3ForSequenceClassification":
        model = load_network(AutoModelForSequenceClassification, checkpoint, dtype)
        refuse_other_labels(model.score.weight.shape[0])
        return model.model, model.score.weight[0].float()
    model = load_network(AutoModelForCausalLM, checkpoint, dtype)
    tokenizer = open_tokenizer(checkpoint.folder)
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")
    if yes is None or no is None:
        raise WeightsBroken("the tokenizer does not know the words yes and no")
    words = model.get_output_embeddings().weight
    return model.model, (words[yes].float() - words[no].float()).detach().clone()
