"""Embedding models as rerankers: query and document are embedded apart, the raw score is their cosine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sentence_transformers import SentenceTransformer
from torch import nn

from rerank.core import Activation, Pair, Truncation
from rerank.runtimes.base import Runtime
from rerank.scorers.base import pair_limit, too_long
from rerank.scorers.padding import pad
from rerank.scorers.tokens import TokenIds, encode_texts, private_copy


class SentenceVector(nn.Module):
    """An embedding model down to one vector a text."""

    def __init__(self, model: SentenceTransformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Vectors of shape (texts, dimensions), not normalised."""
        features = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            features["token_type_ids"] = token_type_ids
        vectors: torch.Tensor = self.model(features)["sentence_embedding"]
        return vectors


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
    """Cosine of two sentence embeddings, in -1..1. Each text is cut to the model's length by itself."""

    activation = Activation.COSINE

    def __init__(self, model: SentenceTransformer, runtime: Runtime, max_length: int) -> None:
        self.max_length = max_length
        self.runtime = runtime.description
        self._runtime = runtime
        self._prompts = dict(model.prompts)
        self._pad_id = int(model.tokenizer.pad_token_id or 0)
        self._segments = "token_type_ids" in embedding_inputs(model)
        self._tokenizer = private_copy(model.tokenizer)

    def encode(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[EncodedApart]:
        """See ``Scorer.encode``. The model's own prompts are put in front; an instruction is not known to it."""
        del instruction
        limit = pair_limit(truncation, self.max_length)
        queries = self._embeddable([pair.query for pair in pairs], "query", limit)
        document_limit = min(limit, (truncation.max_tokens_per_document or limit) + self._specials())
        if not truncation.allowed:
            self._refuse_long(pairs, document_limit)
        documents = self._embeddable([pair.document for pair in pairs], "document", document_limit)
        return [EncodedApart(queries[pair.query], documents[pair.document]) for pair in pairs]

    @torch.inference_mode()
    def score(self, batch: Sequence[EncodedApart]) -> list[float]:
        """See ``Scorer.score``. A text that stands in several pairs is embedded once."""
        texts = list(dict.fromkeys([*(pair.query for pair in batch), *(pair.document for pair in batch)]))
        vectors = self._runtime(pad(texts, self._pad_id, segments=self._segments))
        embeddings = torch.nn.functional.normalize(vectors, dim=-1)
        row = {text: place for place, text in enumerate(texts)}
        queries = embeddings[[row[pair.query] for pair in batch]]
        documents = embeddings[[row[pair.document] for pair in batch]]
        cosines: list[float] = (queries * documents).sum(dim=-1).tolist()
        return cosines

    def _embeddable(self, texts: Sequence[str], role: str, max_tokens: int) -> dict[str, TokenIds]:
        distinct = list(dict.fromkeys(texts))
        prompt = self._prompts.get(role) or ""
        encoded = encode_texts(self._tokenizer, [prompt + text for text in distinct], max_tokens)
        return dict(zip(distinct, encoded, strict=True))

    def _refuse_long(self, pairs: Sequence[Pair], limit: int) -> None:
        lengths = self._tokenizer.encode_batch([pair.document for pair in pairs])
        for index, document in enumerate(lengths):
            if len(document.ids) > limit:
                raise too_long(index, len(document.ids), limit)

    def _specials(self) -> int:
        return int(self._tokenizer.num_special_tokens_to_add(is_pair=False))
