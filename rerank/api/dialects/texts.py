"""Texts in request bodies: strings, or objects that hold one in the ways that clients know."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    FailFast,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic_core import PydanticCustomError

from rerank.api.bodies import check_length


class TextObject(BaseModel):
    """A text as an object; other fields are ignored."""

    text: str


class TextPart(BaseModel):
    """A piece of a text; pieces of other types, such as images, are refused."""

    type: Literal["text"]
    text: str


class ContentObject(BaseModel):
    """A text as an object, as vLLM and LangChain send it."""

    content: str | list[TextPart]


def _text(item: Any) -> Any:
    if isinstance(item, dict):
        item = _text_of(item)
    if isinstance(item, str):
        return encodable(item)
    raise PydanticCustomError(
        "text_type",
        "Input should be a string, or an object with a string field `text`, or with `content` of text parts",
    )


def _text_of(item: dict[str, Any]) -> Any:
    found = next((item[name] for name in ("text", "content", "page_content") if item.get(name) is not None), None)
    if not isinstance(found, list):
        return found
    texts = [part["text"] for part in found if isinstance(part, dict) and part.get("type") == "text" and "text" in part]
    readable = len(texts) == len(found) and all(isinstance(text, str) for text in texts)
    return "\n".join(texts) if readable else None


def encodable(text: str) -> str:
    """The text, unless it holds half of a surrogate pair, as JSON can: no tokenizer takes it, no answer can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise PydanticCustomError(
            "string_unicode",
            "Input should be valid Unicode: it holds a lone surrogate at character {at}",
            {"at": error.start},
        ) from error
    return text


def _listed(value: Any, read_each: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
    if isinstance(value, list):
        check_length(value, info.field_name)
    # nearly every list holds plain strings only; there may be thousands of them, so they are looked at together
    if isinstance(value, list) and all(type(item) is str for item in value) and _is_encodable("".join(value)):
        return value
    return read_each([value] if isinstance(value, str | dict) else value)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_TextForm = str | TextObject | ContentObject
Encodable = Annotated[str, AfterValidator(encodable)]
"""A text that answers and tokenizers can hold."""
Text = Annotated[str, BeforeValidator(_text, json_schema_input_type=_TextForm)]
Texts = Annotated[list[Text], FailFast(), WrapValidator(_listed, json_schema_input_type=_TextForm | list[_TextForm])]
