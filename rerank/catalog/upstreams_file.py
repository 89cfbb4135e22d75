"""The table ``upstream`` of a card in the models file, validated."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from rerank.catalog.file_fields import Name, one_of, seconds
from rerank.catalog.rerank_apis import APIS
from rerank.catalog.upstreams import Upstream
from rerank.schemas import Schema
from rerank.units import expand_home


def _address(url: str) -> str:
    """The URL if it is one of HTTP without a user, a query or a fragment. Raises ValueError."""
    parts = urlsplit(url)
    # reading the port checks it
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("it has to be the http:// or https:// address of a server")
    if "@" in parts.netloc or "?" in url or "#" in url:
        raise ValueError("it has no place for a user, a query or a fragment; a key goes into key_env or key_file")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("it has to be printable ASCII without spaces")
    return url


class UpstreamInFile(Schema):
    """The server that has a card's model."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    api: Annotated[str, one_of(APIS)]
    url: Annotated[str, StringConstraints(max_length=2000), AfterValidator(_address)] | None = None
    model: Name | None = None
    key_env: Annotated[str, StringConstraints(pattern="^[A-Za-z_][A-Za-z0-9_]{0,127}$")] | None = None
    key_file: Annotated[Path, AfterValidator(expand_home)] | None = None
    timeout: Annotated[float, BeforeValidator(seconds), Field(ge=0.1, le=600)] = Upstream.timeout
    max_documents: int | None = Field(default=None, strict=True, ge=1, le=10_000)
    max_concurrency: int = Field(default=Upstream.max_concurrency, strict=True, ge=1, le=1000)
    trust_env: bool = Field(default=False, strict=True)

    @model_validator(mode="after")
    def _has_an_address_and_one_key(self) -> UpstreamInFile:
        if self.url is None and APIS[self.api].address is None:
            raise ValueError(f"`url` is missing: a server with the API {self.api} is where people run it")
        if self.key_env and self.key_file:
            raise ValueError("give `key_env` or `key_file`, not both")
        return self

    def upstream(self, folder: Path) -> Upstream:
        """What it describes; a relative ``key_file`` starts at the folder."""
        values = dict(self)
        values["key_file"] = (folder / self.key_file).resolve() if self.key_file else None
        return Upstream(**values)
