"""What vLLM's clients, and Jina's and Cohere's, send to rerank and score."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from rerank.core import Pair, ScoringRequest, Truncation
from rerank.errors import InvalidRequest


class TextObject(BaseModel):
    """A document as an object; other fields are ignored."""

    text: str


def _text(item: Any) -> Any:
    if isinstance(item, dict):
        item = item.get("text")
    if isinstance(item, str):
        return _encodable(item)
    raise PydanticCustomError("text_type", "Input should be a string or an object with a string field `text`")


def _encodable(text: str) -> str:
    """JSON can spell half of a surrogate pair, which is no character: no tokenizer takes it, no answer can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "string_unicode",
            "Input should be valid Unicode: it holds a lone surrogate at character {at}",
            {"at": error.start},
        ) from error
    return text


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


Name = Annotated[str, AfterValidator(_encodable)]
Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=str | TextObject)]
Texts = Annotated[
    list[Text], BeforeValidator(_listed, json_schema_input_type=str | TextObject | list[str | TextObject])
]


class ScoringBody(BaseModel):
    """Fields that rerank and score share. A null is as good as nothing; unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore")

    model: Name | None = Field(default=None, description="Which model; absent or empty: the default one.")
    truncate_prompt_tokens: int | None = Field(
        default=None, ge=-1, description="Most tokens of query and document together; -1: what the model reads."
    )
    max_tokens_per_doc: int = Field(default=0, ge=0, description="Most tokens of a document; 0: no limit.")
    truncate: bool = Field(
        default=True, description="false: refuse a pair too long for the model instead of cutting it."
    )
    use_activation: bool = Field(default=True, description="false: raw logits instead of relevance.")
    instruction: Name | None = Field(default=None, description="What to look for, for models that take an instruction.")

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, body: Any) -> Any:
        return {name: value for name, value in body.items() if value is not None} if isinstance(body, dict) else body

    def request_for(self, pairs: list[Pair]) -> ScoringRequest:
        """These pairs, to be scored as the body says."""
        return ScoringRequest(
            pairs=tuple(pairs),
            model=(self.model or "").strip() or None,
            instruction=self.instruction or None,
            truncation=Truncation(self.truncate_prompt_tokens, self.max_tokens_per_doc or None, self.truncate),
            activated=self.use_activation,
        )


_RERANK_EXAMPLE: JsonDict = {
    "query": "What is the capital of France?",
    "documents": ["Berlin is the capital of Germany.", "Paris is the capital of France.", "I like cheese."],
    "top_n": 2,
}


class RerankBody(ScoringBody):
    """A query and the documents to order by it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RERANK_EXAMPLE]})

    query: Text = Field(description="What the documents are compared with.")
    documents: Texts = Field(description="Strings, objects with a field `text`, or one of them alone.")
    top_n: int = Field(
        default=0,
        ge=0,
        validation_alias=AliasChoices("top_n", "top_k"),
        description="How many results to return; 0, absent, or more than there are documents: all.",
    )
    return_documents: bool = Field(default=True, description="false: leave the documents' text out of the results.")

    def scoring_request(self) -> ScoringRequest:
        """The query with each document."""
        return self.request_for([Pair(self.query, document) for document in self.documents])


class ScoreBody(ScoringBody):
    """Two texts, a text and a list, or two lists of one length."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text_1": "capital of France", "text_2": ["Paris", "Berlin"]}]}
    )

    queries: Texts = Field(validation_alias=AliasChoices("text_1", "data_1", "queries"))
    documents: Texts = Field(validation_alias=AliasChoices("text_2", "data_2", "documents", "items"))

    def scoring_request(self) -> ScoringRequest:
        """Pairs from one query and many documents, or from two lists of one length. Raises InvalidRequest."""
        queries, documents = self.queries, self.documents
        if len(queries) == 1:
            queries = queries * len(documents)
        if len(queries) != len(documents):
            raise InvalidRequest(f"Input lengths must be either 1:1, 1:N or N:N (got {len(queries)}:{len(documents)})")
        return self.request_for([Pair(query, document) for query, document in zip(queries, documents, strict=True)])
