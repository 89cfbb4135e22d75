"""Fields of requests for vectors: those that would change a vector are honoured under any client's name, or refused.

Jina, Voyage, Cohere, vLLM and TEI call one option by several names. Two that disagree are refused, because one would be
ignored, but for what the SDKs of clients always add (``encoding_format``).
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from rerank.api.dialects.fields import Instruction, ModelBody, Name, Truncate, TruncationSide, instructed
from rerank.core import EmbeddingOptions, Truncation
from rerank.errors import InvalidRequest

T = TypeVar("T", bound=Hashable)

Role = Literal["query", "document"]
Encoding = Literal["float", "base64"]
InputType = Literal["query", "search_query", "document", "passage", "search_document"]
Task = Literal["retrieval.query", "retrieval.passage"]
ENCODING_FIELDS = ("encoding_format", "embedding_type", "embedding_types")
_ROLES: dict[str, Role] = {
    "query": "query",
    "search_query": "query",
    "retrieval.query": "query",
    "document": "document",
    "passage": "document",
    "search_document": "document",
    "retrieval.passage": "document",
}


def _only(value: Any) -> Any:
    """The only item of a list, None for an empty one."""
    if not isinstance(value, list):
        return value
    return value[0] if len(value) == 1 else value or None


def _false(why: str) -> AfterValidator:
    def check(value: bool) -> bool:
        if value:
            raise PydanticCustomError("not_supported", "Input should be false: {why}", {"why": why})
        return value

    return AfterValidator(check)


def _unsupported(instead: str) -> BeforeValidator:
    """Refuse any value but an empty one, and say what to do."""

    def check(value: Any) -> None:
        if value:
            raise PydanticCustomError("not_supported", "This field is not supported: {instead}", {"instead": instead})

    return BeforeValidator(check)


def _all_text(value: Any) -> Any:
    """The modality of a list in which every text has that of a text."""
    return "text" if isinstance(value, list) and all(item == "text" for item in value) else value


_Types = Annotated[Encoding | None, BeforeValidator(_only, json_schema_input_type=Encoding | list[Encoding])]


def agreed(**given: T | None) -> T | None:
    """The value of fields that mean the same; None if all are absent. Raises InvalidRequest where two differ."""
    said = {name: value for name, value in given.items() if value is not None}
    if len({*said.values()}) > 1:
        raise InvalidRequest(f"{' and '.join(said)} contradict each other: send one of them.", param=[*said][-1])
    return next(iter(said.values()), None)


class VectorsBody(ModelBody):
    """Fields of every request for embeddings."""

    encoding_format: Encoding | None = Field(
        default=None, description="base64: the vector's numbers as float32, little-endian. Absent: float."
    )
    embedding_type: _Types = Field(
        default=None,
        validation_alias=AliasChoices("embedding_type", "encoding_type"),
        description="Jina's `encoding_format`, which wins over it; no int8 or binary vectors are given.",
    )
    embedding_types: _Types = Field(default=None, description="The same, as a list of one; Cohere's.")
    embed_dtype: Literal["float32"] = Field(default="float32", description="Type of the numbers; no other is given.")
    output_dtype: Literal["float"] = Field(default="float", description="The same; Voyage's.")
    add_special_tokens: Literal[True] = Field(
        default=True, description="A text is always read with the model's special tokens."
    )
    dimensions: int | None = Field(
        default=None, ge=1, description="Numbers to keep of each vector, for models that allow it; absent: all."
    )
    output_dimension: int | None = Field(default=None, ge=1, description="The same; Voyage's and Cohere's.")
    truncate_prompt_tokens: int | None = Field(
        default=None, ge=-1, description="Maximum tokens of a text; -1: the model's maximum."
    )
    truncate: Truncate = Field(
        default=True, description="false: refuse a text too long for the model instead of cutting it."
    )
    truncation_side: TruncationSide = Field(
        default="right", description="End of a text that is cut: right or left, in any case."
    )
    prompt_name: Name | None = Field(
        default=None, description="Name of a prompt that was saved with the model, to be put before each text."
    )
    input_type: InputType | None = Field(
        default=None, description="What the texts are, for models with a prompt for queries or documents."
    )
    task: Annotated[Task | None, BeforeValidator(lambda value: value or None)] = Field(
        default=None, description="The same; Jina's. Its other tasks are refused."
    )
    instruction: Instruction | None = Field(
        default=None,
        validation_alias=AliasChoices("instruction", "instruct"),
        description="What to look for, for queries and models whose prompt names a task; refused by others.",
    )
    normalize: bool | None = Field(
        default=None, description="true: vectors of length 1; absent: as the model's own modules do."
    )
    normalized: bool | None = Field(default=None, description="The same; Jina's.")
    use_activation: bool | None = Field(default=None, description="The same; vLLM's.")
    late_chunking: Annotated[bool, _false("each text is embedded without the others")] = Field(
        default=False, description="Only false: each text is embedded without the others."
    )
    return_multivector: Annotated[bool, _false("each text has one vector")] = Field(
        default=False, description="Only false: each text has one vector."
    )
    modality: Annotated[
        Literal["text"], BeforeValidator(_all_text, json_schema_input_type=Literal["text"] | list[Literal["text"]])
    ] = Field(default="text", description="What the input is; only text.")
    prompt: Annotated[None, _unsupported("put it before each text, or name a saved one with `prompt_name`")] = Field(
        default=None, description="Refused unless empty: `prompt_name` names a saved one."
    )
    messages: Annotated[None, _unsupported("send the texts as a list")] = Field(
        default=None, description="Refused unless empty: chats are not rendered."
    )
    max_length: Annotated[None, _unsupported("`truncate_prompt_tokens` limits the tokens of a text")] = Field(
        default=None, description="Refused unless 0: `truncate_prompt_tokens` limits the tokens of a text."
    )

    @model_validator(mode="before")
    @classmethod
    def _instructed(cls, body: Any) -> Any:
        return instructed(body)

    @property
    def encoding(self) -> Encoding:
        """How vectors are spelt. Raises InvalidRequest for two types that differ."""
        types: Encoding | None = agreed(embedding_type=self.embedding_type, embedding_types=self.embedding_types)
        return self.encoding_format or types or "float"

    def truncation(self) -> Truncation:
        """Limits of a text."""
        return Truncation(self.truncate_prompt_tokens, allowed=self.truncate, side=self.truncation_side)

    def options(self, *, normalised: bool | None = None) -> EmbeddingOptions:
        """What the fields ask for; ``normalised`` where they say nothing of it. Raises InvalidRequest."""
        asked = agreed(normalize=self.normalize, normalized=self.normalized, use_activation=self.use_activation)
        return EmbeddingOptions(
            truncation=self.truncation(),
            prompt=self.prompt_name,
            role=self._role(),
            dimensions=agreed(dimensions=self.dimensions, output_dimension=self.output_dimension),
            normalised=normalised if asked is None else asked,
            instruction=self.instruction or None,
        )

    def _role(self) -> Role | None:
        return agreed(input_type=_ROLES.get(self.input_type or ""), task=_ROLES.get(self.task or ""))
