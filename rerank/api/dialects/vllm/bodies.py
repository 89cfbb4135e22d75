"""Rerank and score bodies of vLLM's, Jina's and Cohere's clients."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import AliasChoices, ConfigDict, Field
from pydantic.config import JsonDict

from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, DocumentsBody, ScoringBody
from rerank.api.dialects.texts import Texts
from rerank.core import Pair, ScoringRequest
from rerank.errors import InvalidRequest

RERANK_EXAMPLE: JsonDict = {
    "query": EXAMPLE_QUERY,
    "documents": [*EXAMPLE_DOCUMENTS, "I like cheese."],
    "top_n": 2,
}
SCORE_EXAMPLE: JsonDict = {"text_1": "capital of France", "text_2": ["Paris", "Berlin"]}


class RerankBody(DocumentsBody):
    """A query and the documents to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [RERANK_EXAMPLE]})


class ScoreBody(ScoringBody):
    """Two texts, a text and a list, or two lists of one length."""

    model_config = ConfigDict(json_schema_extra={"examples": [SCORE_EXAMPLE]})

    queries: Texts = Field(validation_alias=AliasChoices("text_1", "data_1", "queries"))
    documents: Texts = Field(validation_alias=AliasChoices("text_2", "data_2", "documents", "items"))

    def scoring_request(self) -> ScoringRequest:
        """Pairs from one query and many documents, or from two lists of one length. Raises InvalidRequest."""
        return self.request_for(pairs_of(self.queries, self.documents))


def pairs_of(queries: Sequence[str], documents: Sequence[str]) -> list[Pair]:
    """One query with each document, or two lists item by item. Raises InvalidRequest for lists of two lengths."""
    if len(queries) == 1:
        queries = [*queries] * len(documents)
    if len(queries) != len(documents):
        raise InvalidRequest(f"Input lengths must be either 1:1, 1:N or N:N (got {len(queries)}:{len(documents)})")
    return [Pair(query, document) for query, document in zip(queries, documents, strict=True)]
