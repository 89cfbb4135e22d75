"""vLLM's tokenizing endpoints."""

from __future__ import annotations

from typing import Annotated

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import ConfigDict, FailFast, Field
from pydantic.config import JsonDict

from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import ModelBody, Name, TokenId
from rerank.api.dialects.scoring import MAX_TOKENS, answers, dialect_router, json_answer, tokenizer_work, use_tokenizer
from rerank.api.dialects.texts import Encodable
from rerank.api.dialects.vllm.strict import EITHER
from rerank.api.services import ServicesDep, caller_of
from rerank.catalog.checkpoint import read_tokenizer_config
from rerank.core import TextTokenizer
from rerank.errors import ModelUnavailable
from rerank.schemas import Schema

TOKENIZE_EXAMPLE: JsonDict = {"prompt": "The capital of France"}
TOKENIZE_ANSWER_EXAMPLE = {
    "count": 6,
    "max_model_len": 256,
    "tokens": [101, 1996, 3007, 1997, 2605, 102],
    "token_strs": None,  # nosec B105  # tokens of a text
}
DETOKENIZE_EXAMPLE: JsonDict = {"tokens": [1996, 3007, 1997, 2605]}
DETOKENIZE_ANSWER_EXAMPLE = {"prompt": "the capital of france"}


class TokenizeBody(ModelBody):
    """A text to be tokenised. Chats (`messages`) are not rendered."""

    model_config = ConfigDict(json_schema_extra={"examples": [TOKENIZE_EXAMPLE]})

    prompt: Encodable
    add_special_tokens: bool = Field(default=True, description="false: without the model's special tokens.")
    return_token_strs: bool = Field(default=False, description="true: the tokens as the vocabulary spells them, too.")


class TokenizeAnswer(Schema):
    """The text's tokens."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class DetokenizeBody(ModelBody):
    """Token ids to be turned into text."""

    model_config = ConfigDict(json_schema_extra={"examples": [DETOKENIZE_EXAMPLE]})

    tokens: Annotated[list[TokenId], FailFast()] = Field(max_length=MAX_TOKENS)


class DetokenizeAnswer(Schema):
    """The text."""

    prompt: str


class TokenizerInfo(Schema):
    """The checkpoint's `tokenizer_config.json`."""

    model_config = ConfigDict(extra="allow")

    tokenizer_class: str


router = dialect_router("tokens", errors=EITHER)
info_router = dialect_router(
    "tokens", errors=EITHER, vLLM={"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512}
)


@router.post(
    "/tokenize",
    summary="A text's tokens",
    response_model=TokenizeAnswer,
    responses=answers(vLLM=TOKENIZE_ANSWER_EXAMPLE),
)
async def tokenize(body: TokenizeBody, request: Request, services: ServicesDep) -> Response:
    """As the model's tokenizer reads a text that stands alone; a pair is laid out by the model's own rules."""
    result = await use_tokenizer(
        request,
        services,
        body.model_name,
        tokenizer_work([body.prompt], "prompt"),
        lambda tokenizer: _columns(tokenizer, body),
    )
    ids, pieces = result.value
    return json_answer(
        TokenizeAnswer.model_construct(count=len(ids), max_model_len=result.max_length, tokens=ids, token_strs=pieces)
    )


def _columns(tokenizer: TextTokenizer, body: TokenizeBody) -> tuple[list[int], list[str] | None]:
    read = tokenizer.tokens(body.prompt, special=body.add_special_tokens)
    return read.ids, read.pieces if body.return_token_strs else None


@router.post(
    "/detokenize",
    summary="The text that tokens stand for",
    response_model=DetokenizeAnswer,
    responses=answers(vLLM=DETOKENIZE_ANSWER_EXAMPLE),
)
async def detokenize(body: DetokenizeBody, request: Request, services: ServicesDep) -> Response:
    """Special tokens are written out, as vLLM does."""
    result = await use_tokenizer(
        request,
        services,
        body.model_name,
        (1, len(body.tokens)),
        lambda tokenizer: tokenizer.text(body.tokens, special=True, field="tokens"),
    )
    return json_answer(DetokenizeAnswer(prompt=result.value))


@info_router.get("/tokenizer_info", summary="How a model's tokenizer is set up", response_model=TokenizerInfo)
async def tokenizer_info(request: Request, services: ServicesDep, model: Name | None = None) -> Response:
    """The default model's, or with `?model=NAME` another's. Only there with RERANK_ENABLE_TOKENIZER_INFO_ENDPOINT."""
    caller, gateway = caller_of(request), services.gateway
    card = gateway.default_for(caller).card if not model else await run_in_threadpool(gateway.find, model, caller)
    folder = await run_in_threadpool(services.catalog.folder, card)
    if folder is None:
        raise ModelUnavailable(f"{card.id} is not on disk.")
    config = await run_in_threadpool(read_tokenizer_config, folder)
    return json_answer({"tokenizer_class": "PreTrainedTokenizerFast"} | config)


DIALECT = Dialect("tokens", (router,))
INFO_DIALECT = Dialect("tokens", (info_router,))
