"""Whatever sentence-transformers' CrossEncoder loads and no family of ours scores, run by sentence-transformers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from rerank.core import Activation, Finished, Pair, Running, Truncation
from rerank.runtimes.base import TokenIds, running
from rerank.runtimes.padding import pad
from rerank.scorers.base import Scorer, document_limit, pair_limit, too_long
from rerank.scorers.pretrained import activation_named, refuse_other_labels
from rerank.scorers.tokens import Vocabulary, encode_pairs, private_copy


def cross_encoder_scorer(
    model: CrossEncoder, max_length: int, bytes_per_token: int, precision: str, activation: Activation | None = None
) -> Scorer:
    """The scorer that fits how the model wants its pairs: as plain token ids, or as texts for a prompt of its own.

    ``precision`` is what the model was loaded in; ``activation`` replaces the checkpoint's.
    """
    refuse_other_labels(model.num_labels)
    activation = activation or activation_named(type(model.activation_fn).__name__)
    if _reads_plain_pairs(model):
        return PlainPairScorer(model, max_length, bytes_per_token, precision, activation)
    return PromptedPairScorer(model, max_length, bytes_per_token, precision, activation)


def _reads_plain_pairs(model: CrossEncoder) -> bool:
    """True if the model's input is the tokenizer's own pair layout, with no prompt or chat template around it."""
    transformer = model[0]
    return (
        getattr(transformer, "transformer_task", None) == "sequence-classification"
        and getattr(model.tokenizer, "is_fast", False)
        and not model.tokenizer.chat_template
        and model.default_prompt_name is None
    )


def _described(model: CrossEncoder, precision: str) -> str:
    kernel = getattr(model.config, "_attn_implementation", None) or "its own"
    return f"torch {precision}, padded, {kernel} attention, through sentence-transformers"


def _logits(model: CrossEncoder, features: dict[str, Any]) -> torch.Tensor:
    """fp32 logits of shape (pairs)."""
    logits: torch.Tensor = model(features)["scores"].float().reshape(-1)
    return logits


class PlainPairScorer:
    """Pairs as token ids, cut on ids: the document's tail goes, the query stays."""

    padded = True

    def __init__(
        self, model: CrossEncoder, max_length: int, bytes_per_token: int, precision: str, activation: Activation
    ) -> None:
        self.max_length = max_length
        self.bytes_per_token = bytes_per_token
        self.activation = activation
        self.precision = precision
        self.runtime = _described(model, precision)
        self._model = model.eval()
        self._tokenizer = private_copy(model.tokenizer)
        self.tokenizer = Vocabulary(lambda: self._tokenizer)

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[TokenIds]:
        """See ``Scorer.encode``. These models know no instruction, so it is left out."""
        del instruction
        return encode_pairs(self._tokenizer, pairs, truncation, self.max_length)

    @torch.inference_mode()
    def start(self, batch: Sequence[TokenIds]) -> Running:
        """See ``Scorer.start``."""
        tokenizer = self._model.tokenizer
        tensors = pad(
            batch,
            tokenizer.pad_token_id or 0,
            segments="token_type_ids" in tokenizer.model_input_names,
            left=tokenizer.padding_side == "left",
        )
        features = {name: tensor.to(self._model.device) for name, tensor in tensors.items()}
        return running(_logits(self._model, features))


@dataclass(frozen=True, slots=True)
class PromptedPair:
    """A pair kept as text, because the model builds a prompt around it."""

    query: str
    document: str
    instruction: str | None
    tokens: int
    """Tokens of query, document and the prompt around them, about: where texts meet, a tokenizer may join two."""

    @property
    def computed(self) -> int:
        """The same: it shares nothing."""
        return self.tokens


class PromptedPairScorer:
    """Pairs as texts, for checkpoints whose own template builds the prompt; sentence-transformers renders it.

    Only the thread that owns the device renders, because rendering sets state inside the tokenizer.
    """

    padded = True

    def __init__(
        self, model: CrossEncoder, max_length: int, bytes_per_token: int, precision: str, activation: Activation
    ) -> None:
        self.max_length = max_length
        self.bytes_per_token = bytes_per_token
        self.activation = activation
        self.precision = precision
        self.runtime = _described(model, precision)
        model.max_seq_length = max_length
        self._model = model.eval()
        self._tokenizer = private_copy(model.tokenizer)
        self.tokenizer = Vocabulary(lambda: self._tokenizer)
        self._instruction = model.prompts.get(model.default_prompt_name or "") or None
        # a template may have words of its own where no instruction is given
        self._around = self._shortest(None) - 2 * self._count("a")
        self._around_instructed = self._shortest("a") - 3 * self._count("a")

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[PromptedPair]:
        """See ``Scorer.encode``. A document is cut where its first and last allowed tokens end."""
        limit = pair_limit(truncation, self.max_length)
        asked = instruction or self._instruction
        prompt = self._around if asked is None else self._around_instructed + self._count(asked)
        queries = {text: prompt + self._count(text) for text in dict.fromkeys(pair.query for pair in pairs)}
        documents = self._tokenizer.encode_batch([pair.document for pair in pairs], add_special_tokens=False)
        encoded = []
        for index, (pair, document) in enumerate(zip(pairs, documents, strict=True)):
            left = document_limit(queries[pair.query], limit, self.max_length)
            room = min(left, truncation.max_tokens_per_document or left)
            if not truncation.allowed and room == left < len(document.ids):
                raise too_long(index, queries[pair.query] + len(document.ids), limit)
            offsets = document.offsets[truncation.kept(len(document.ids), room)]
            cut = len(document.ids) > room
            kept = pair.document[offsets[0][0] : offsets[-1][1]] if cut else pair.document
            tokens = queries[pair.query] + min(len(document.ids), room)
            encoded.append(PromptedPair(pair.query, kept, instruction, tokens))
        return encoded

    def _shortest(self, instruction: str | None) -> int:
        features = self._model.preprocess([("a", "a")], prompt=instruction)
        return int(features["input_ids"].shape[-1])

    def _count(self, text: str) -> int:
        return len(self._tokenizer.encode(text, add_special_tokens=False).ids)

    @torch.inference_mode()
    def start(self, batch: Sequence[PromptedPair]) -> Running:
        """See ``Scorer.start``. Pairs with different instructions cannot share a forward pass."""
        logits = [0.0] * len(batch)
        for instruction in dict.fromkeys(pair.instruction for pair in batch):
            places = [place for place, pair in enumerate(batch) if pair.instruction == instruction]
            texts = [(batch[place].query, batch[place].document) for place in places]
            features = self._model.preprocess(texts, prompt=instruction or self._instruction)
            moved = {
                name: value.to(self._model.device) if isinstance(value, torch.Tensor) else value
                for name, value in features.items()
            }
            for place, logit in zip(places, _logits(self._model, moved).tolist(), strict=True):
                logits[place] = logit
        return Finished(logits)
