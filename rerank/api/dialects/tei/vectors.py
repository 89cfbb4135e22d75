"""Embeddings as in text-embeddings-inference: ``inputs`` in, an array of vectors out."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field

from rerank.api.bodies import JsonRoute
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS
from rerank.api.dialects.scoring import answers, embed, json_list, require_json
from rerank.api.dialects.tei.errors import RESPONSES
from rerank.api.dialects.texts import Texts
from rerank.api.dialects.vectors import ENCODING_FIELDS, VectorsBody
from rerank.api.services import ServicesDep
from rerank.core import EmbeddingRequest
from rerank.errors import InvalidRequest


class EmbedBody(VectorsBody):
    """Texts to embed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"inputs": [*EXAMPLE_DOCUMENTS]}]})

    inputs: Texts = Field(description="A text, or a list of texts.")
    normalize: bool | None = Field(
        default=None, description="false: vectors as they are before any is made of length 1; absent: true."
    )

    def embedding_request(self) -> EmbeddingRequest:
        """The request in the gateway's terms. Raises InvalidRequest for vectors that are no numbers."""
        if self.encoding == "base64":
            field = next(name for name in ENCODING_FIELDS if getattr(self, name) == "base64")
            raise InvalidRequest(f"{field} is base64: this address gives numbers, /v1/embeddings both.", param=field)
        return EmbeddingRequest(tuple(self.inputs), self.model_name, self.options(normalised=True))


Vectors = list[list[float]]
router = APIRouter(
    route_class=JsonRoute,
    tags=["TEI"],
    responses=RESPONSES | answers(TEI=[[0.0561, 0.0437, -0.0352], [0.1032, 0.0304, -0.0026]]),
    dependencies=[Depends(require_json)],
)


@router.post("/embed", summary="Vectors of texts, as text-embeddings-inference has them", response_model=Vectors)
@router.post("/tei/embed", summary="The same, under TEI's prefix", response_model=Vectors)
async def embed_texts(body: EmbedBody, request: Request, services: ServicesDep) -> Response:
    """An array of vectors, even for one text."""
    result = await embed(request, services, body.embedding_request())
    return json_list(b"[", (vector.tolist() for vector in result.vectors), b"]")
