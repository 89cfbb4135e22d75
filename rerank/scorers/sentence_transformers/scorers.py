"""Scoring through the CrossEncoder of sentence-transformers."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
from sentence_transformers import CrossEncoder
from tokenizers import Tokenizer

from rerank.activations import Activation
from rerank.catalog.cards import ModelCard
from rerank.core import Finished, Pair, PendingLogits, ScoringOptions, Span
from rerank.runtimes.base import Runtime, TokenIds, pending
from rerank.runtimes.padding import pad
from rerank.scorers.base import Reading, ReadsInParts, document_limit, pair_limit, too_long
from rerank.scorers.excerpts import read_texts
from rerank.scorers.labels import score_of_labels
from rerank.scorers.seen_padding import by_length
from rerank.scorers.sentence_transformers.padding import model_sees_padding, pad_token
from rerank.scorers.text_reader import TextReader
from rerank.scorers.tokens import PairTokenizer, Vocabulary, private_copy, rows_of, tokens_wanted


def padded_pairs(model: CrossEncoder, batch: Sequence[TokenIds]) -> dict[str, numpy.ndarray]:
    """The model's inputs."""
    tokenizer = model.tokenizer
    return pad(
        batch,
        pad_token(model),
        segments="token_type_ids" in tokenizer.model_input_names,
        left=tokenizer.padding_side == "left",
    )


def reads_plain_pairs(model: CrossEncoder) -> bool:
    """True if the model's input is the tokenizer's own pair layout, with no prompt or chat template around it."""
    transformer = model[0]
    return (
        getattr(transformer, "transformer_task", None) == "sequence-classification"
        and getattr(model.tokenizer, "is_fast", False)
        and not model.tokenizer.chat_template
        and model.default_prompt_name is None
    )


class SavedScorer(ReadsInParts):
    """A CrossEncoder: its properties and its forward pass.

    ``precision`` is what the model was loaded in; an instruction in the card replaces the checkpoint's. ``body`` is
    what runs its body, if that is not torch.
    """

    padded = True

    def __init__(
        self,
        model: CrossEncoder,
        max_length: int,
        bytes_per_token: int,
        precision: str,
        activation: Activation,
        card: ModelCard,
        body: Runtime | None = None,
    ) -> None:
        self.max_length = max_length
        self.bytes_per_token = bytes_per_token
        self.activation = activation
        self.precision = body.precision if body else precision
        self.runtime = _described(model, precision, body)
        self._model = model.eval()
        self._card = card
        self._config = model.config.to_dict() if model.config else {}
        self._sees_padding = model_sees_padding(model)
        self._instruction = card.instruction or model.prompts.get(model.default_prompt_name or "") or None
        tokenizer = private_copy(model.tokenizer)
        self.tokenizer = Vocabulary(lambda: tokenizer)
        self._read_with(tokenizer)

    @abstractmethod
    def _read_with(self, tokenizer: Tokenizer) -> None:
        """Prepare to read texts with this tokenizer of its own."""

    def _logits(self, features: dict[str, Any]) -> torch.Tensor:
        """fp32 logits of shape (pairs)."""
        moved = {
            name: value.to(self._model.device) if isinstance(value, torch.Tensor) else value
            for name, value in features.items()
        }
        scores: torch.Tensor = self._model(moved)["scores"].float()
        rows = scores.reshape(len(scores), -1).T
        logits: torch.Tensor = score_of_labels(rows, self._card, self._config)
        return logits


def _described(model: CrossEncoder, precision: str, body: Runtime | None) -> str:
    if body:
        return f"{body.description}, padded, its head in torch fp32, through sentence-transformers"
    kernel = getattr(model.config, "_attn_implementation", None) or "its own"
    return f"torch {precision}, padded, {kernel} attention, through sentence-transformers"


class PlainPairScorer(SavedScorer):
    """Pairs as token ids, cut on ids: the document's tail goes, the query stays."""

    def _read_with(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = PairTokenizer(tokenizer, rows=rows_of(self._model))

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:
        """See ``Scorer.reading``. The instruction is ignored: these models take none."""
        return self._tokenizer.pairs(pairs, options.truncation, self.max_length)

    @torch.inference_mode()
    def start(self, batch: Sequence[TokenIds]) -> PendingLogits:
        """See ``Scorer.start``."""
        return pending(by_length(batch, self._run) if self._sees_padding else self._run(batch))

    def _run(self, batch: Sequence[TokenIds]) -> torch.Tensor:
        arrays = padded_pairs(self._model, batch)
        return self._logits({name: torch.from_numpy(array) for name, array in arrays.items()})


@dataclass(frozen=True, slots=True)
class PromptedPair:
    """A pair kept as text, because the model builds a prompt around it."""

    query: str
    document: str
    instruction: str | None
    tokens: int
    """Approximate tokens of query, document and prompt: where texts meet, a tokenizer may join two."""
    cut: Span | None = field(default=None, compare=False)
    """See ``EncodedPair.cut``."""

    @property
    def computed(self) -> int:
        """The same: it shares nothing."""
        return self.tokens


class PromptedPairScorer(SavedScorer):
    """Pairs as texts, for checkpoints whose own template builds the prompt; sentence-transformers renders it.

    Only the thread that owns the device renders, because rendering sets state inside the tokenizer. Texts cannot name
    special tokens, unless the card lets them: of such a name the first character is read as a space.
    """

    takes_instruction = True

    def _read_with(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._reader = TextReader(tokenizer, rows=rows_of(self._model))
        special = [token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special]
        self._named = (
            None if self._card.special_tokens_in_text else re.compile("|".join(map(re.escape, special)) or "$^")
        )
        # a template may have other words where no instruction is given
        self._around = self._shortest(None) - 2 * self._count("a")
        self._around_instructed = self._shortest("a") - 3 * self._count("a")

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[PromptedPair]]:
        """See ``Scorer.reading``. A document is cut where its first and last allowed tokens end."""
        truncation = options.truncation
        limit = pair_limit(truncation, self.max_length)
        pairs = [Pair(self._plain(pair.query), self._plain(pair.document)) for pair in pairs]
        instruction = options.instruction and self._plain(options.instruction)
        asked = instruction or self._instruction
        prompt = self._around
        if asked is not None:
            prompt = self._around_instructed + (yield from self._query_tokens(asked, 0, limit))
        queries = {}
        for text in dict.fromkeys(pair.query for pair in pairs):
            queries[text] = prompt + (yield from self._query_tokens(text, prompt, limit))
        rooms = [limit - queries[pair.query] for pair in pairs]
        wanted = [max(1, tokens_wanted(truncation, room)) for room in rooms]
        documents = [pair.document for pair in pairs]
        read = yield from read_texts(self._reader, documents, wanted, truncation.side)
        encoded = []
        for index, (pair, document, room) in enumerate(zip(pairs, read, rooms, strict=True)):
            if len(document.ids) > room:
                raise too_long(index, limit - room + document.tokens, limit, whole=document.whole)
            kept = pair.document[document.span]
            tokens = limit - room + len(document.ids)
            encoded.append(PromptedPair(pair.query, kept, instruction, tokens, document.cut()))
        return encoded

    def _plain(self, text: str) -> str:
        """The text, as long as it was, without names of special tokens."""
        while self._named and self._named.search(text):
            text = self._named.sub(lambda name: " " + name[0][1:], text)
        return text

    def _query_tokens(self, text: str, before: int, limit: int) -> Reading[int]:
        """Tokens of a query or an instruction. Raises InvalidRequest if with those before they fill the limit."""
        (query,) = yield from read_texts(self._reader, [text], [limit], "right", "query")
        document_limit(before + query.tokens, limit, self.max_length, whole=query.whole)
        return query.tokens

    def _shortest(self, instruction: str | None) -> int:
        features = self._model.preprocess([("a", "a")], prompt=instruction)
        return int(features["input_ids"].shape[-1])

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @torch.inference_mode()
    def start(self, batch: Sequence[PromptedPair]) -> PendingLogits:
        """See ``Scorer.start``."""
        logits = [0.0] * len(batch)
        for places in self._together(batch):
            texts = [(batch[place].query, batch[place].document) for place in places]
            features = self._model.preprocess(texts, prompt=batch[places[0]].instruction or self._instruction)
            for place, logit in zip(places, self._logits(features).tolist(), strict=True):
                logits[place] = logit
        return Finished(logits)

    def _together(self, batch: Sequence[PromptedPair]) -> list[list[int]]:
        """Places of pairs that share a forward pass: those of one instruction, or each alone where padding is seen."""
        if self._sees_padding:
            return [[place] for place in range(len(batch))]
        places: dict[str | None, list[int]] = {}
        for place, pair in enumerate(batch):
            places.setdefault(pair.instruction, []).append(place)
        return list(places.values())
