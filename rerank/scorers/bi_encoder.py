"""Embedding models as rerankers: query and document are embedded apart, the raw score is their cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from rerank.core import Activation, Pair, Running, Truncation
from rerank.runtimes.base import Runtime, TokenIds, running
from rerank.runtimes.padding import pad
from rerank.scorers.base import pair_limit
from rerank.scorers.tokens import encode_documents, encode_queries, private_copy


class SentenceVector(nn.Module):
    """An embedding model down to one vector a text."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> tuple[torch.Tensor]:
        """Vectors of shape (texts, dimensions), not normalised."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        return (self.model(features)["sentence_embedding"],)


def embedding_inputs(model: SentenceTransformer) -> tuple[str, ...]:
    """Names of the inputs the model's tokenizer gives."""
    names = ("input_ids", "attention_mask")
    return (*names, "token_type_ids") if "token_type_ids" in model.tokenizer.model_input_names else names


@dataclass(frozen=True, slots=True)
class EncodedApart:
    """Query and document as sequences of their own."""

    query: TokenIds
    document: TokenIds

    @property
    def tokens(self) -> int:
        """Tokens of both."""
        return self.query.tokens + self.document.tokens


class BiEncoderScorer:
    """Cosine of two sentence embeddings, in -1..1. Each text has the model's length for itself."""

    padded = True

    def __init__(
        self,
        model: SentenceTransformer,
        runtime: Runtime,
        max_length: int,
        bytes_per_token: int,
        activation: Activation | None = None,
    ) -> None:
        self.max_length = max_length
        self.activation = activation or Activation.COSINE
        self.runtime = runtime.description
        self.bytes_per_token = bytes_per_token
        self._runtime = runtime
        self._prompts = dict(model.prompts)
        self._pad_id = int(model.tokenizer.pad_token_id or 0)
        self._segments = "token_type_ids" in embedding_inputs(model)
        self._tokenizer = private_copy(model.tokenizer)

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[EncodedApart]:
        """See ``Scorer.encode``. The model's own prompts are put in front; an instruction is not known to it."""
        del instruction
        limit = pair_limit(truncation, self.max_length)
        asked = list(dict.fromkeys(pair.query for pair in pairs))
        queries = dict(
            zip(asked, encode_queries(self._tokenizer, self._put("query", asked), limit, self.max_length), strict=True)
        )
        texts = self._put("document", [pair.document for pair in pairs])
        documents = encode_documents(self._tokenizer, texts, truncation, limit)
        return [EncodedApart(queries[pair.query], document) for pair, document in zip(pairs, documents, strict=True)]

    @torch.inference_mode()
    def start(self, batch: Sequence[EncodedApart]) -> Running:
        """See ``Scorer.start``. A text that stands in several pairs is embedded once."""
        texts = list(dict.fromkeys([*(pair.query for pair in batch), *(pair.document for pair in batch)]))
        (vectors,) = self._runtime(pad(texts, self._pad_id, segments=self._segments))
        embeddings = torch.nn.functional.normalize(vectors, dim=-1)
        row = {text: place for place, text in enumerate(texts)}
        queries = embeddings[[row[pair.query] for pair in batch]]
        documents = embeddings[[row[pair.document] for pair in batch]]
        return running((queries * documents).sum(dim=-1))

    def _put(self, role: str, texts: Sequence[str]) -> list[str]:
        """The texts behind the model's own prompt for queries or documents."""
        prompt = self._prompts.get(role) or ""
        return [prompt + text for text in texts]
