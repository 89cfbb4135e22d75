"""The base of pydantic models whose validator is built when it is first needed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Schema(BaseModel):
    """An answer, or an entry of a file: costs little until something is read or described with it.

    Not for bodies of requests: routes build validators of those anyhow, several over the same fields.
    """

    model_config = ConfigDict(defer_build=True)
