"""The route of every endpoint."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from fastapi.routing import APIRoute
from fastapi.utils import create_model_field


class Route(APIRoute):
    """A route that describes its answers to errors when the OpenAPI document is asked for.

    FastAPI does at once, and a start would build validators of hundreds of answers that are never read.
    """

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        responses: dict[int | str, dict[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        # a client that names no content type means JSON
        super().__init__(path, endpoint, **options | {"strict_content_type": False})
        self.responses = responses or {}
        # FastAPI's own: of no answer
        del self.response_fields

    @cached_property
    def response_fields(self) -> dict[int | str, Any]:  # type: ignore[override]
        """See FastAPI."""
        return {
            status: create_model_field(f"Response_{status}_{self.unique_id}", response["model"], mode="serialization")
            for status, response in self.responses.items()
            if "model" in response
        }
