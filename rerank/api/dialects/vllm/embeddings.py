"""OpenAI's embeddings, as vLLM's clients ask for them too."""

from __future__ import annotations

import base64
import time
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from fastapi import Request, Response
from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError, to_json

from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS
from rerank.api.dialects.scoring import dialect_router, embed, json_list
from rerank.api.dialects.texts import Texts
from rerank.api.dialects.vectors import VectorsBody
from rerank.api.dialects.vllm import strict
from rerank.api.dialects.vllm.answers import ScoreUsage
from rerank.api.services import ServicesDep
from rerank.core import EmbeddingRequest, EmbeddingResult, Truncation, Vector
from rerank.schemas import Schema
from rerank.telemetry import request_id_var

EXAMPLE: JsonDict = {"input": [*EXAMPLE_DOCUMENTS]}
ANSWER_EXAMPLE = {
    "id": "embd-8a2f0c",
    "object": "list",
    "created": 1795184233,
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "data": [
        {"index": 0, "object": "embedding", "embedding": [0.0561, 0.0437, -0.0352]},
        {"index": 1, "object": "embedding", "embedding": [0.1032, 0.0304, -0.0026]},
    ],
    "usage": {
        "prompt_tokens": 18,
        "total_tokens": 18,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    },
}


def _no_token_ids(value: Any) -> Any:
    """Refuse token ids: nothing tells whether they are of the model's vocabulary, and others would be other words."""
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, list | int):
        raise PydanticCustomError(
            "token_ids",
            "Input should be a text or a list of texts, no token ids: those of another vocabulary would stand for "
            "other words (LangChain's OpenAIEmbeddings sends texts with check_embedding_ctx_length=False)",
        )
    return value


class EmbeddingsBody(VectorsBody):
    """Texts to embed."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    input: Annotated[Texts, BeforeValidator(_no_token_ids)] = Field(
        validation_alias=AliasChoices("input", "inputs"), description="A text, or a list of texts."
    )
    endianness: Literal["native", "little"] = Field(
        default="little", description="Order of the bytes in base64; no other is given."
    )

    def embedding_request(self) -> EmbeddingRequest:
        """The request in the gateway's terms."""
        return EmbeddingRequest(tuple(self.input), self.model_name, self.options())


class StrictEmbeddingsBody(EmbeddingsBody):
    """The same, which like vLLM refuses a text that is too long unless `truncate_prompt_tokens` allows to cut it."""

    def truncation(self) -> Truncation:
        """See ``VectorsBody.truncation``."""
        limit = self.truncate_prompt_tokens
        return Truncation(limit, allowed=limit is not None, side=self.truncation_side)


class EmbeddedText(Schema):
    """A text's vector; a string where the request asks for base64."""

    index: int
    object: Literal["embedding"] = "embedding"
    embedding: list[float] | str


class EmbeddingsAnswer(Schema):
    """Vectors in request order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[EmbeddedText]
    usage: ScoreUsage


async def embeddings(body: EmbeddingsBody, request: Request, services: ServicesDep) -> Response:
    """A vector for each text, in order."""
    encoding = body.encoding
    return answer(await embed(request, services, body.embedding_request()), encoding)


async def strict_embeddings(body: StrictEmbeddingsBody, request: Request, services: ServicesDep) -> Response:
    """A vector for each text, in order."""
    return await embeddings(body, request, services)


def answer(result: EmbeddingResult, encoding: str) -> Response:
    """The vectors, each made of its numbers when its turn comes."""
    head = {
        "id": f"embd-{request_id_var.get()}",
        "object": "list",
        "created": int(time.time()),
        "model": result.model,
        "usage": ScoreUsage(prompt_tokens=result.tokens, total_tokens=result.tokens),
    }
    return json_list(to_json(head).removesuffix(b"}") + b',"data":[', _embedded(result.vectors, encoding), b"]}")


def _embedded(vectors: Sequence[Vector], encoding: str) -> Iterator[dict[str, Any]]:
    for index, vector in enumerate(vectors):
        numbers = base64.b64encode(vector).decode() if encoding == "base64" else vector.tolist()
        yield {"index": index, "object": "embedding", "embedding": numbers}


router = dialect_router("embeddings", OpenAI=ANSWER_EXAMPLE)
strict_router = dialect_router("embeddings", errors=strict.RESPONSES, OpenAI=ANSWER_EXAMPLE)
for _path, _summary in {
    "/v1/embeddings": "Vectors of texts",
    "/embeddings": "The same, without a version",
}.items():
    router.post(_path, summary=_summary, response_model=EmbeddingsAnswer)(embeddings)
    strict_router.post(_path, summary=_summary, response_model=EmbeddingsAnswer)(strict_embeddings)

DIALECT = Dialect("embeddings", (router,))
STRICT_DIALECT = Dialect("embeddings", (strict_router,))
