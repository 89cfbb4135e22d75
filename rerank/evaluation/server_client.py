"""Client of a server for the evaluation: what one model is, and vectors."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy

from rerank.catalog.families import BI_ENCODER
from rerank.catalog.names import shown
from rerank.core import Vector
from rerank.errors import RerankError
from rerank_client import BadRequestError, NotFoundError, RerankClient, parse_models


class ServerClient(RerankClient):
    """Asks for more than the documents' ranking."""

    async def model(self, name: str) -> dict[str, Any] | None:
        """The model of this name, with its ``id``; None if the server does not tell. Raises the client's errors."""
        try:
            reply = await self._send(self._request("GET", f"/v1/models/{quote(name, safe='/')}"))
        except NotFoundError:
            return None
        try:
            found = json.loads(reply.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) and isinstance(found.get("id"), str) else None

    async def embed(self, name: str, texts: Sequence[str]) -> list[Vector] | None:
        """A vector of each text; None for a model or a server without. Raises the client's errors and RerankError."""
        family = (await self.model(name) or {}).get("family")
        if family not in (None, BI_ENCODER):
            return None
        body = {"model": name, "input": [*texts], "encoding_format": "base64"}
        try:
            reply = await self._send(self._request("POST", "/v1/embeddings", json.dumps(body).encode()))
        except (BadRequestError, NotFoundError):
            if family:
                raise
            return None
        # a list under the same name
        rows = sorted(parse_models(reply), key=lambda row: _index(row, name))
        if [row["index"] for row in rows] != [*range(len(texts))]:
            raise RerankError(f"the server: {len(rows)} vectors of {shown(name)} for {len(texts)} texts")
        return [_vector(row.get("embedding"), name) for row in rows]


def _index(row: dict[str, Any], name: str) -> int:
    if not isinstance(index := row.get("index"), int):
        raise RerankError(f"the server: a vector of {shown(name)} has no index")
    return index


def _vector(value: Any, name: str) -> Vector:
    """The numbers, which servers that know no base64 send as a list."""
    try:
        if isinstance(value, str):
            return numpy.frombuffer(base64.b64decode(value, validate=True), "<f4").data
        return numpy.array(value, "<f4", ndmin=1).data
    except (ValueError, TypeError, binascii.Error) as error:
        raise RerankError(f"the server: a vector of {shown(name)} is not a list of numbers") from error
