"""The tokenizing endpoints of Hugging Face's text-embeddings-inference."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BeforeValidator, ConfigDict, FailFast, Field
from pydantic_core import PydanticCustomError
from typing_extensions import TypedDict

from rerank.api.bodies import JsonRoute, check_length
from rerank.api.dialects.fields import ModelBody, TokenId
from rerank.api.dialects.scoring import (
    MAX_TOKENS,
    answers,
    json_answer,
    require_json,
    tokenizer_work,
    use_tokenizer,
)
from rerank.api.dialects.tei.errors import RESPONSES
from rerank.api.dialects.texts import Texts
from rerank.api.services import ServicesDep
from rerank.core import TextTokenizer, TextTokens

TOKENIZE_ANSWER_EXAMPLE = [
    [
        {"id": 101, "text": "[CLS]", "special": True, "start": None, "stop": None},
        {"id": 3000, "text": "Paris", "special": False, "start": 0, "stop": 5},
        {"id": 102, "text": "[SEP]", "special": True, "start": None, "stop": None},
    ]
]


def _several(value: Any) -> Any:
    """One text's ids as those of several texts. Raises ValueError for more than are decoded at once."""
    if not isinstance(value, list):
        return value
    sequences = value if all(isinstance(item, list) for item in value) else [value]
    check_length(sequences, "ids")
    if sum(map(len, sequences)) > MAX_TOKENS:
        raise PydanticCustomError("too_many_ids", "At most {most} ids are decoded at once", {"most": MAX_TOKENS})
    return sequences


class TokenizeBody(ModelBody):
    """One text, or several, to be tokenised."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": "Paris"}]})

    inputs: Texts
    add_special_tokens: bool = Field(default=True, description="false: without the model's special tokens.")


class DecodeBody(ModelBody):
    """Token ids of one text, or of several."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ids": [2054, 2003]}]})

    ids: Annotated[
        list[Annotated[list[TokenId], FailFast()]],
        FailFast(),
        BeforeValidator(_several, json_schema_input_type=list[TokenId] | list[list[TokenId]]),
    ]
    skip_special_tokens: bool = True


class SimpleToken(TypedDict):
    """A token, and the characters of the text it stands for; null for one that the tokenizer adds."""

    id: int
    text: str
    special: bool
    start: int | None
    stop: int | None


router = APIRouter(route_class=JsonRoute, tags=["TEI"], dependencies=[Depends(require_json)])


@router.post(
    "/tei/tokenize",
    summary="Texts' tokens, as text-embeddings-inference has them",
    response_model=list[list[SimpleToken]],
    responses=RESPONSES | answers(TEI=TOKENIZE_ANSWER_EXAMPLE),
)
async def tokenize(body: TokenizeBody, request: Request, services: ServicesDep) -> Response:
    """An array for each text, even for one alone."""
    work = tokenizer_work(body.inputs, "inputs")
    result = await use_tokenizer(request, services, body.model_name, work, lambda it: _tokens(it, body))
    return json_answer(result.value)


def _tokens(tokenizer: TextTokenizer, body: TokenizeBody) -> list[list[SimpleToken]]:
    return [_simple(tokenizer.tokens(text, special=body.add_special_tokens), text) for text in body.inputs]


def _simple(read: TextTokens, text: str) -> list[SimpleToken]:
    return [
        SimpleToken(id=number, text=piece, special=True, start=None, stop=None)
        if special
        else SimpleToken(id=number, text=text[start:stop], special=False, start=start, stop=stop)
        for number, piece, special, (start, stop) in zip(read.ids, read.pieces, read.special, read.spans, strict=True)
    ]


@router.post(
    "/tei/decode",
    summary="The texts that tokens stand for, as text-embeddings-inference has them",
    response_model=list[str],
    responses=RESPONSES | answers(TEI=["what is"]),
)
async def decode(body: DecodeBody, request: Request, services: ServicesDep) -> Response:
    """An array of texts, even for one alone."""
    work = (len(body.ids), sum(map(len, body.ids)))
    result = await use_tokenizer(request, services, body.model_name, work, lambda it: _texts(it, body))
    return json_answer(result.value)


def _texts(tokenizer: TextTokenizer, body: DecodeBody) -> list[str]:
    special = not body.skip_special_tokens
    return [tokenizer.text(ids, special=special, field=f"ids.{index}") for index, ids in enumerate(body.ids)]
