"""Fields of request bodies, read as tolerantly as clients need.

A null counts as absent, unknown fields are ignored, numbers and booleans may be spelt as strings.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    model_validator,
)

from rerank.api.bodies import TolerantBody, bounds_var, check_length, present
from rerank.api.dialects.texts import Text, Texts, encodable
from rerank.core import Chunking, Pair, ScoringOptions, ScoringRequest, Truncation
from rerank.errors import InvalidRequest

EXAMPLE_QUERY = "What is the capital of France?"
EXAMPLE_DOCUMENTS = ("Berlin is the capital of Germany.", "Paris is the capital of France.")
"""The example of every dialect's documentation."""


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) and len(value) <= MAX_WORD else value


MAX_WORD = 64
"""Characters of a value that is one of a few words."""
_MAX_NAME = 512
_MAX_INSTRUCTION = 16_384
_MAX_RANK_FIELDS = 32
MAX_BUDGET_MS = 86_400_000
"""A day."""
_MAX_FALLBACKS = 8
_MAX_CHUNKS = 4096
_MAX_OVERLAP = 8192

Name = Annotated[str, Field(max_length=_MAX_NAME), AfterValidator(encodable)]
TokenId = Annotated[int, Field(ge=0, lt=2**32)]
Instruction = Annotated[str, Field(max_length=_MAX_INSTRUCTION), AfterValidator(encodable)]
Side = Annotated[Literal["left", "right"], BeforeValidator(_lower)]
Truncate = Annotated[bool, Field(validation_alias=AliasChoices("truncate", "truncation"))]
TruncationSide = Annotated[Side, Field(validation_alias=AliasChoices("truncation_side", "truncation_direction"))]


def instructed(body: Any) -> Any:
    """A body with the instruction of its `chat_template_kwargs`, which wins over the field, as in vLLM."""
    prompt = body.get("chat_template_kwargs") if isinstance(body, dict) else None
    if isinstance(prompt, dict) and prompt.get("instruction") is not None:
        return body | {"instruction": prompt["instruction"]}
    return body


class ModelBody(TolerantBody):
    """A request to a model."""

    model_config = ConfigDict(extra="ignore")

    model: Name | None = Field(default=None, description="Name of a model; absent or empty: the default one.")

    @property
    def model_name(self) -> str | None:
        """The model's name; None for the default one."""
        return (self.model or "").strip() or None


class ScoringBody(ModelBody):
    """Fields of every scoring request."""

    truncate_prompt_tokens: int | None = Field(
        default=None, ge=-1, description="Maximum tokens of query and document together; -1: the model's maximum."
    )
    max_tokens_per_doc: int = Field(default=0, ge=0, description="Maximum tokens per document; 0: no limit.")
    truncate: Truncate = Field(
        default=True, description="false: refuse a pair too long for the model instead of cutting its document."
    )
    truncation_side: TruncationSide = Field(
        default="right", description="End of a document that is cut: right or left, in any case."
    )
    use_activation: bool = Field(default=True, description="false: raw logits instead of relevance.")
    raw_scores: bool = Field(default=False, description="true: the same as `use_activation: false`.")
    instruction: Instruction | None = Field(
        default=None,
        validation_alias=AliasChoices("instruction", "instruct"),
        description="What to look for, for models that take an instruction.",
    )

    fallbacks: Annotated[list[Name], FailFast()] = Field(
        default=[], max_length=_MAX_FALLBACKS, description="Models to try in order when `model` is unavailable."
    )
    max_chunks_per_doc: int | None = Field(
        default=None,
        ge=0,
        le=_MAX_CHUNKS,
        validation_alias=AliasChoices("max_chunks_per_doc", "max_chunk_per_doc"),
        description="Above 1: read a document that is too long for the model in at most this number of chunks of its "
        "length instead of cutting it. 1: cut it. 0 or absent: as the model's card says.",
    )
    overlap_tokens: int = Field(
        default=Chunking(0).overlap, ge=0, le=_MAX_OVERLAP, description="Tokens that a chunk shares with the next."
    )
    aggregate: Annotated[Literal["max", "mean", "first"], BeforeValidator(_lower)] = Field(
        default="max", description="How the scores of a document's chunks become its score."
    )
    return_chunks: bool = Field(default=False, description="true: list the score of every chunk.")
    calibrated: bool | None = Field(
        default=None,
        description="true: relevance as the model's calibration gives it; false: as the model itself does; absent: as "
        "the model's card says.",
    )
    min_score: float | None = Field(
        default=None,
        allow_inf_nan=False,
        validation_alias=AliasChoices("min_score", "score_threshold"),
        description="Leave out results with less relevance; before `top_n`.",
    )
    budget_ms: float | None = Field(
        default=None,
        gt=0,
        le=MAX_BUDGET_MS,
        description="Milliseconds until the best answer that can be had by then: documents that are not scored follow "
        "in their order, with relevance 0 (of raw logits the lowest one, if below 0) and `scored: false`. Also as the "
        "header X-Rerank-Budget-Ms.",
    )
    cache: bool = Field(default=True, description="false: compute every score again.")

    @model_validator(mode="before")
    @classmethod
    def _instructed(cls, body: Any) -> Any:
        return instructed(body)

    def request_for(self, pairs: Sequence[Pair], top_n: int = 0) -> ScoringRequest:
        """These pairs, to be scored as the body says."""
        return ScoringRequest(
            pairs=tuple(pairs),
            model=self.model_name,
            options=ScoringOptions(
                Truncation(
                    self.truncate_prompt_tokens, self.max_tokens_per_doc or None, self.truncate, self.truncation_side
                ),
                self.instruction or None,
                self.cache,
            ),
            top_n=top_n,
            activated=self.use_activation and not self.raw_scores,
            fallbacks=tuple(self.fallbacks),
            chunking=self._chunking,
            calibrated=self.calibrated,
            min_score=self.min_score,
            budget=self.budget_ms and self.budget_ms / 1000,
        )

    @property
    def _chunking(self) -> Chunking | None:
        most = self.max_chunks_per_doc
        return Chunking(most, self.overlap_tokens, self.aggregate, self.return_chunks) if most else None


_DOCUMENTS = ("documents", "texts", "passages", "docs")


class DocumentsBody(ScoringBody):
    """A query and the documents to rank, for dialects that name them so."""

    query: Text = Field(description="What the documents are compared with.")
    documents: Texts = Field(
        validation_alias=AliasChoices(*_DOCUMENTS),
        description="Strings, objects with a field `text` (or with the `rank_fields`), or one of them alone.",
    )
    top_n: int = Field(
        default=0,
        ge=0,
        validation_alias=AliasChoices("top_n", "top_k"),
        description="Maximum number of results; 0 or absent: all.",
    )
    return_documents: bool = Field(
        default=True,
        validation_alias=AliasChoices("return_documents", "return_text"),
        description="false: leave the documents' text out of the results.",
    )
    rank_fields: Annotated[list[Name], FailFast()] = Field(
        default=[],
        max_length=_MAX_RANK_FIELDS,
        description="Of documents that are objects: the fields to read, each once, joined in this order.",
    )

    @model_validator(mode="before")
    @classmethod
    def _flat(cls, body: Any) -> Any:
        """As DashScope's clients nest it, and with the documents that Cohere's v1 clients send, as one flat body."""
        if not isinstance(body, dict):
            return body
        flat = dict(body)
        for part in ("input", "parameters"):
            if isinstance(body.get(part), dict):
                flat |= present(body[part])
        fields = flat.get("rank_fields")
        # what is not a list, or too long for one, is refused as a field
        if isinstance(fields, list) and 0 < len(fields) <= _MAX_RANK_FIELDS:
            names = dict.fromkeys(name for name in fields if isinstance(name, str))
            flat |= {
                place: _joined(flat[place], [*names], place) for place in _DOCUMENTS if flat.get(place) is not None
            }
        return flat

    def scoring_request(self) -> ScoringRequest:
        """The query with each document."""
        return self.request_for([Pair(self.query, document) for document in self.documents], self.top_n)


def _joined(documents: Any, fields: Sequence[str], place: str) -> Any:
    """Documents, or one alone, of a field ``place``, with those that are objects as texts of these fields.

    Raises TooManyDocuments; InvalidRequest for texts that are longer together than a body may be.
    """
    if not isinstance(documents, list):
        return _joined([documents], fields, place)[0]
    check_length(documents, place)
    joined, room = [], bounds_var.get().bytes
    for index, document in enumerate(documents):
        text = _text_of_fields(document, fields, f"{place}.{index}") if isinstance(document, dict) else None
        room -= len(text or "")
        if room < 0:
            raise InvalidRequest("The fields that rank_fields names are too long together.", param="rank_fields")
        joined.append(document if text is None else text)
    return joined


def _text_of_fields(document: dict[str, Any], fields: Sequence[str], place: str) -> str | None:
    """The fields that an object has, a line each, in JSON's spelling where they are no strings; None if it has none."""
    values = [document[name] for name in fields if document.get(name) is not None]
    try:
        spelled = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    except RecursionError as error:
        raise InvalidRequest(f"{place} is nested too deep.", param=place) from error
    return "\n".join(spelled) if values else None
