"""Client of a rerank server: ``POST /v1/rerank``, as vLLM, Jina and Cohere speak it. One file; copy it anywhere.

    from rerank_client import RerankClient, SyncRerankClient

    with SyncRerankClient("http://localhost:8000") as client:                # pip install requests
        for result in client.rerank("what is a panda?", ["a bear", "a tool"], top_n=1):
            print(result.relevance_score, result.document)

    async with RerankClient("http://localhost:8000", api_key="...") as client:     # pip install "aiohttp>=3.10"
        results = await client.rerank("what is a panda?", ["a bear", "a tool"])

    $ python rerank_client.py "what is a panda?" "a bear" "a tool"            # see --help

Errors:

    RerankError                  .status, .message, .request_id, .retry_after
    ├── BadRequestError          400, 413 and every other 4xx: the request cannot be served as it stands
    ├── AuthenticationError      401, 403: no key, a wrong one, or one that does not allow this
    ├── NotFoundError            404: unknown model, or no rerank server at this URL
    ├── OverloadedError          429: no room now, or nothing left of the key's minute (after retries)
    ├── UnavailableError         503: cannot answer now (after retries)
    ├── ServerError              500 and every other 5xx
    ├── ConnectionFailedError    nothing answered (after retries)
    ├── TimeoutFailedError       connected, but no answer in time; also a TimeoutError (asyncio.TimeoutError)
    └── InvalidResponseError     an answer, but not one of a rerank server, or too large

Wrong arguments are ``ValueError`` or ``TypeError`` before anything is sent; use after ``close()`` is ``RuntimeError``.

Both clients connect directly: proxy variables and ``~/.netrc`` are not read. Neither follows redirects.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import importlib
import io
import itertools
import json
import math
import os
import random
import re
import reprlib
import shutil
import sys
import time
import unicodedata
import zlib
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypedDict, Unpack
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import aiohttp
    import requests

Document = str | Mapping[str, Any]

DEFAULT_BASE_URL = "http://localhost:8000"
CONNECT_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 0.5
BACKOFF_CAP_S = 8.0
RETRY_AFTER_CAP_S = 30.0
MAX_TIMEOUT_S = 1_000_000.0  # eleven days; beyond 24 the calls of the operating system overflow
MAX_ANSWER_BYTES = 64 * 1024 * 1024  # twice the largest request that a server takes by default
POOL_SIZE = 100
KEEPALIVE_S = 4.0  # below the 5 s after which uvicorn drops an idle connection

_CHUNK_BYTES = 65_536
_MESSAGE_CHARS = 2000

_sleep = time.sleep
_async_sleep = asyncio.sleep
_jitter = random.random


# ---------------------------------------------------------------- errors and results


class RerankError(Exception):
    """Base of every failure. ``status`` is the HTTP status, None when there was no answer.

    ``retry_after`` is how many seconds the server asked to wait, None when it did not say.
    """

    def __init__(
        self,
        message: str,
        status: int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.request_id = request_id
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message, self.status, self.request_id, self.retry_after), self.__dict__

    def __str__(self) -> str:
        status = "" if self.status is None else f"HTTP {self.status}: "
        request_id = "" if self.request_id is None else f" (request id {self.request_id})"
        return f"{status}{self.message}{request_id}"


class BadRequestError(RerankError):
    """400, 413 or another 4xx: the request cannot be served as it stands."""


class AuthenticationError(RerankError):
    """401 or 403: no key, a wrong one, or one that does not allow this."""


class NotFoundError(RerankError):
    """404: the server has no such model, or this is no rerank server."""


class OverloadedError(RerankError):
    """429: the server has no room now, or the key has nothing left of its minute."""


class UnavailableError(RerankError):
    """503: the server or the model cannot answer now."""


class ServerError(RerankError):
    """500 or another 5xx: the server failed."""


class ConnectionFailedError(RerankError):
    """Nothing answered: no route, connection refused or dropped, no connection in time."""


class TimeoutFailedError(RerankError, TimeoutError):
    """The server was reached but did not answer within ``timeout`` seconds. Also a ``TimeoutError``."""


class InvalidResponseError(RerankError):
    """An answer that is not one of a rerank server: HTML from a proxy, a redirect, an index out of range, too large."""


@dataclass(frozen=True, slots=True)
class RerankResult:
    """One scored document: ``index`` into the documents sent, and its text where the server sent it back."""

    index: int
    relevance_score: float
    document: str | None
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)
    """What else the server says of it: ``tokens``, ``truncated``, ``stage``, ``scored``, ``best_chunk``, ``chunks``."""


class RerankResults(list[RerankResult]):
    """The results in the server's order, and what the answer says about itself."""

    def __init__(self, results: Sequence[RerankResult], model: str | None = None, meta: Mapping[str, Any] = {}) -> None:
        """``model``: the one that answered. ``meta``: ``degraded``, ``partial``, ``cached``, ``route`` ..."""
        super().__init__(results)
        self.model = model
        self.meta = meta

    @property
    def degraded(self) -> bool:
        """True if another model answered than the first choice."""
        return self.meta.get("degraded") is True

    @property
    def partial(self) -> bool:
        """True if the time budget did not suffice for every document."""
        return self.meta.get("partial") is True


class RerankOptions(TypedDict, total=False):
    """Options of a request, in addition to its texts, ``top_n`` and ``model``."""

    instruction: str | None
    return_documents: bool | None
    truncate_prompt_tokens: int | None
    max_tokens_per_doc: int | None
    raw_scores: bool | None
    """True asks for logits instead of relevance."""
    fallbacks: Sequence[str] | None
    """Models to try in order when the first is unavailable."""
    calibrated: bool | None
    """True asks for calibrated relevance, False for the model's own; by default as the model's card says."""
    min_score: float | None
    """Leave out results with less relevance."""
    budget_ms: float | None
    """Milliseconds until the best answer that can be had by then."""
    max_chunks_per_doc: int | None
    """Above 1: read long documents in at most this number of chunks instead of cutting them."""
    overlap_tokens: int | None
    aggregate: Literal["max", "mean", "first"] | None
    return_chunks: bool | None
    cache: bool | None
    """False computes every score again."""


# ---------------------------------------------------------------- pure functions that both clients share


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _Body:
    """The body of an answer while it comes in: unpacked, and never more than ``limit`` bytes of it."""

    def __init__(self, status: int, headers: Mapping[str, str], limit: int) -> None:
        self._head = _Reply(status, headers, b"")
        self._limit = limit
        self._bytes = bytearray()
        encoding = headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise _invalid(self._head, f"the answer is compressed as {encoding[:20]}, which was not asked for")
        # a header of either format is recognised
        self._unpacker = None if encoding in ("", "identity") else zlib.decompressobj(32 + zlib.MAX_WBITS)

    def add(self, chunk: bytes) -> None:
        """The next bytes as they were sent. Raises InvalidResponseError for too many of them, or broken ones."""
        if self._unpacker:
            try:
                chunk = self._unpacker.decompress(chunk, self._limit - len(self._bytes) + 1)
            except zlib.error as error:
                raise _invalid(self._head, f"the answer cannot be decompressed: {error}") from error
        if len(self._bytes) + len(chunk) > self._limit:
            raise _invalid(self._head, f"the answer has more than {self._limit} bytes (max_answer_bytes)")
        self._bytes += chunk

    def reply(self) -> _Reply:
        """The whole answer."""
        return _Reply(self._head.status, self._head.headers, bytes(self._bytes))


def normalize_base_url(base_url: str) -> str:
    """The server's root without a trailing slash, from its root, its ``/v1`` or its ``/v1/rerank`` URL."""
    parts = urlsplit(base_url.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0:
        raise ValueError("base_url must be like http://host:8000")
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError("base_url takes no user, query or fragment; a key goes into api_key")
    path = re.sub(r"(/+v1(/+rerank)?)*/*$", "", parts.path)
    return f"{parts.scheme}://{parts.netloc}{path}"


def build_rerank_body(
    query: str,
    documents: Sequence[Document],
    model: str | None = None,
    top_n: int | None = None,
    **options: Unpack[RerankOptions],
) -> bytes:
    """The request as UTF-8 JSON; options that are None are left out."""
    if unknown := options.keys() - RerankOptions.__annotations__.keys():
        raise TypeError(f"unknown option {min(unknown)!r}")
    if isinstance(documents, str | bytes | Mapping) or not isinstance(documents, Sized):
        raise TypeError(f"documents must be a list of texts, not {type(documents).__name__}")
    texts = [dict(document) if isinstance(document, Mapping) else document for document in documents]
    raw = options.pop("raw_scores", None)
    activation = None if raw is None else not raw  # vLLM's name for it
    wanted = {"model": model, "top_n": top_n, **options, "use_activation": activation}
    given = {name: value for name, value in wanted.items() if value is not None}
    return json.dumps({"query": query, "documents": texts, **given}, ensure_ascii=False, allow_nan=False).encode()


def parse_rerank(reply: _Reply, document_count: int) -> RerankResults:
    """The results in the server's order (descending score). Raises InvalidResponseError."""
    results = [_parse_result(reply, result, document_count) for result in _list_of_objects(reply, "results")]
    indices = sorted(result.index for result in results)
    if twice := [index for index, following in itertools.pairwise(indices) if index == following]:
        raise _invalid(reply, f"two results have index {twice[0]}")
    content = _json_or_none(reply.body)
    model, meta = content.get("model"), content.get("meta")
    return RerankResults(results, model if isinstance(model, str) else None, meta if isinstance(meta, dict) else {})


def parse_models(reply: _Reply) -> list[dict[str, Any]]:
    """The ``data`` list of ``GET /v1/models``. Raises InvalidResponseError."""
    return _list_of_objects(reply, "data")


def _list_of_objects(reply: _Reply, name: str) -> list[dict[str, Any]]:
    content = _json_or_none(reply.body)
    rows = content.get(name) if isinstance(content, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _invalid(reply, f"expected JSON with a list of {name}, got: {_excerpt(reply.body) or 'nothing'}")
    return rows


def _parse_result(reply: _Reply, result: dict[str, Any], document_count: int) -> RerankResult:
    index, score, document = result.get("index"), result.get("relevance_score"), result.get("document")
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < document_count:
        raise _invalid(reply, f"a result has index {reprlib.repr(index)}, but {document_count} documents were sent")
    number = _finite(score)
    if number is None:
        raise _invalid(reply, f"the result with index {index} has relevance_score {reprlib.repr(score)}")
    text = document.get("text") if isinstance(document, dict) else document
    if text is not None and not isinstance(text, str):
        raise _invalid(reply, f"the result with index {index} has a document that is not text")
    details = {name: value for name, value in result.items() if name not in _RESULT_FIELDS}
    return RerankResult(index, number, text, details)


_RESULT_FIELDS = frozenset({"index", "relevance_score", "document"})


def _finite(value: Any) -> float | None:
    """The value as a number, None if it is none or infinite."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except OverflowError:  # JSON knows integers of any size
        return None
    return number if math.isfinite(number) else None


def _invalid(reply: _Reply, message: str) -> InvalidResponseError:
    return InvalidResponseError(message, reply.status, reply.headers.get("X-Request-Id"))


def check_reply(reply: _Reply) -> _Reply:
    """The reply itself when it is a 2xx, otherwise raises the RerankError that its status stands for."""
    if 200 <= reply.status < 300:
        return reply
    raise _error_class(reply.status)(
        _error_message(reply),
        reply.status,
        reply.headers.get("X-Request-Id"),
        parse_retry_after(reply.headers.get("Retry-After"), datetime.now(UTC)),
    )


def _error_class(status: int) -> type[RerankError]:
    named: dict[int, type[RerankError]] = {
        401: AuthenticationError,
        403: AuthenticationError,
        404: NotFoundError,
        429: OverloadedError,
        503: UnavailableError,
    }
    if status in named:
        return named[status]
    if status >= 500:
        return ServerError
    return BadRequestError if status >= 400 else InvalidResponseError


def _error_message(reply: _Reply) -> str:
    content = _json_or_none(reply.body)
    if isinstance(content, dict):
        error = content.get("error")
        nested = error.get("message") if isinstance(error, dict) else None
        for message in (nested, content.get("message"), content.get("detail"), error):
            if isinstance(message, str) and message:
                return message[:_MESSAGE_CHARS]
    if 300 <= reply.status < 400:
        return f"the server redirects to {reply.headers.get('Location')}; use that as base_url"
    return _excerpt(reply.body) or http.client.responses.get(reply.status, "no message")


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _excerpt(body: bytes) -> str:
    return body.decode("utf-8", "replace").strip()[:200]


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Seconds to wait by a ``Retry-After`` header (a number of seconds or an HTTP date); None when it says nothing.

    Never more than can be slept.
    """
    if value is None:
        return None
    if number := re.fullmatch(r"\s*([0-9]+(\.[0-9]+)?)\s*", value):
        return min(float(number[1]), MAX_TIMEOUT_S)
    try:
        date = parsedate_to_datetime(value)
        moment = date if date.tzinfo else date.replace(tzinfo=UTC)
        return min(max(0.0, (moment - now).total_seconds()), MAX_TIMEOUT_S)
    except (ValueError, OverflowError):
        return None


def retry_delay(error: RerankError, attempt: int, max_retries: int, jitter: float) -> float | None:
    """Seconds to wait before the next attempt, None to give up.

    ``attempt`` counts the retries already made, ``jitter`` in [0, 1) is random: it spreads the backoff over half to
    all of 0.5, 1, 2, 4, 8, 8... s. A ``Retry-After`` is honoured up to 30 s. A read timeout is not retried: the server
    may still be scoring.
    """
    if attempt >= max_retries or not isinstance(error, OverloadedError | UnavailableError | ConnectionFailedError):
        return None
    if error.retry_after is not None:
        return min(error.retry_after, RETRY_AFTER_CAP_S)
    backoff = min(BACKOFF_FIRST_S * 2.0 ** min(attempt, 10), BACKOFF_CAP_S)
    return backoff * (1 + jitter) / 2


def _innermost(error: BaseException) -> BaseException:
    # not __context__: it may lead to an exception that the caller was handling when the request was made
    for _ in range(10):
        inside = (*error.args, getattr(error, "reason", None), error.__cause__)
        inner = next((item for item in inside if isinstance(item, BaseException)), None)
        if inner is None:
            break
        error = inner
    return error


# ---------------------------------------------------------------- the clients


class _Client(ABC):
    """What both clients hold: where the server is, how long to wait, how often to try."""

    _library: ClassVar[str]

    def __init__(
        self,
        base_url: str = DEFAULT_BASE_URL,
        api_key: str | None = None,
        timeout: float = 60.0,
        max_retries: int = 2,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
    ) -> None:
        named = ("base_url", base_url, str), ("api_key", api_key or "", str), ("max_retries", max_retries, int)
        for name, value, kind in (*named, ("max_answer_bytes", max_answer_bytes, int)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be {kind.__name__}, not {type(value).__name__}")
        key = (api_key or "").strip()
        if not (key.isascii() and key.isprintable()):
            raise ValueError("api_key must be printable ASCII")
        if not 0 < timeout <= MAX_TIMEOUT_S:
            raise ValueError(f"timeout must be a positive number of seconds, {MAX_TIMEOUT_S:.0f} at most")
        if max_answer_bytes < 1:
            raise ValueError("max_answer_bytes must be at least 1")
        self.base_url = normalize_base_url(base_url)
        self.timeout = timeout
        self._connect_timeout = min(timeout, CONNECT_TIMEOUT_S)
        self.max_retries = max_retries
        self.max_answer_bytes = max_answer_bytes
        self._api_key = key
        self._closed = False
        self._prepare(_load(self._library, type(self).__name__))

    @abstractmethod
    def _prepare(self, library: Any) -> None:
        """Set up the client's own state; opens nothing."""

    def __repr__(self) -> str:
        settings = f"base_url={self.base_url!r}, timeout={self.timeout!r}, max_retries={self.max_retries!r}"
        return f"{type(self).__name__}({settings})"

    def _request(self, method: str, path: str, body: bytes | None = None) -> _Request:
        headers = {"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "rerank-client"}
        if body is not None:
            headers |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        if self._api_key:
            headers["Authorization"] = f"Bearer {self._api_key}"
        return _Request(method, self.base_url + path, headers, body)

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError(f"this {type(self).__name__} is closed")

    def _failure(self, error: Exception, url: str, timed_out: bool) -> RerankError:
        if timed_out:
            return TimeoutFailedError(f"{url} did not answer within {self.timeout:g} s")
        cause = _innermost(error)
        return ConnectionFailedError(f"cannot reach {url}: {str(cause) or type(cause).__name__}")


def _load(library: str, client: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise ImportError(f"{client} needs {library}: pip install {library}", name=library) from error


async def _keep(session: aiohttp.ClientSession) -> AsyncGenerator[None, None]:
    # Before an event loop ends it closes the async generators it has seen, and unreferenced ones sooner:
    # so no session outlives its loop, even where close() was forgotten.
    async with session:
        yield


class RerankClient(_Client):
    """Asynchronous client, over aiohttp. Share one among all tasks; each event loop that uses it gets a session.

    ``base_url``: the server's root, with or without ``/v1`` or ``/v1/rerank``. ``api_key``: sent as a bearer token.
    ``timeout``: seconds without progress after which a request is given up; connecting gets at most 10 of them, and
    waiting for one of the 100 pooled connections does not count. ``max_retries``: tries after the first, see
    ``retry_delay``. ``max_answer_bytes``: a larger answer, once decompressed, is an InvalidResponseError.
    """

    _library = "aiohttp"

    def _prepare(self, library: Any) -> None:
        self._aiohttp = library
        self._sessions: dict[asyncio.AbstractEventLoop, tuple[aiohttp.ClientSession, AsyncGenerator[None, None]]] = {}

    async def rerank(
        self,
        query: str,
        documents: Sequence[Document],
        top_n: int | None = None,
        model: str | None = None,
        **options: Unpack[RerankOptions],
    ) -> RerankResults:
        """Score each document (a text, or a mapping with "text") against the query; the best ``top_n``, best first.

        Options left out or None are the server's to choose. Raises RerankError.
        """
        body = build_rerank_body(query, documents, model=model, top_n=top_n, **options)
        return parse_rerank(await self._send(self._request("POST", "/v1/rerank", body)), len(documents))

    async def models(self) -> list[dict[str, Any]]:
        """The models the server has, one mapping each with at least "id". Raises RerankError."""
        return parse_models(await self._send(self._request("GET", "/v1/models")))

    async def health(self) -> bool:
        """Whether the server answers and says that it is well; asks once, without retries."""
        try:
            return (await self._exchange(self._request("GET", "/health"))).status == 200
        except RerankError:
            return False

    async def close(self) -> None:
        """Close every connection; the client cannot be used afterwards. Closing again does nothing."""
        self._closed = True
        kept = self._sessions.pop(asyncio.get_running_loop(), None)
        self._sessions.clear()  # the sessions of other loops are closed by these loops
        if kept is not None:
            await kept[1].aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _send(self, request: _Request) -> _Reply:
        attempt = 0
        while True:
            try:
                return check_reply(await self._exchange(request))
            except RerankError as error:
                delay = retry_delay(error, attempt, self.max_retries, _jitter())
                if delay is None:
                    raise
            await _async_sleep(delay)
            attempt += 1

    async def _exchange(self, request: _Request) -> _Reply:
        self._check_open()
        session = await self._session()
        try:
            async with (
                asyncio.timeout(None) as silence,
                session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=None if request.body is None else self._sent(request.body, silence),
                    allow_redirects=False,
                ) as response,
            ):
                self._progress(silence)
                body = _Body(response.status, response.headers, self.max_answer_bytes)
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    self._progress(silence)
                    body.add(chunk)
                return body.reply()
        except (self._aiohttp.ClientError, TimeoutError) as error:
            connecting = isinstance(error, self._aiohttp.ConnectionTimeoutError)
            raise self._failure(error, request.url, isinstance(error, TimeoutError) and not connecting) from error

    def _progress(self, silence: asyncio.Timeout) -> None:
        silence.reschedule(asyncio.get_running_loop().time() + self.timeout)

    async def _sent(self, body: bytes, silence: asyncio.Timeout) -> AsyncGenerator[bytes, None]:
        # aiohttp asks for a chunk when the one before is sent; its own timeout begins only after the last
        for start in range(0, len(body), _CHUNK_BYTES):
            self._progress(silence)
            yield body[start : start + _CHUNK_BYTES]
        self._progress(silence)

    async def _session(self) -> aiohttp.ClientSession:
        loop = asyncio.get_running_loop()
        if loop not in self._sessions:
            for ended in [other for other in list(self._sessions) if other.is_closed()]:
                self._sessions.pop(ended, None)
            session = self._aiohttp.ClientSession(
                auto_decompress=False,  # _Body does, within its limit
                connector=self._aiohttp.TCPConnector(limit=POOL_SIZE, keepalive_timeout=KEEPALIVE_S),
                timeout=self._aiohttp.ClientTimeout(
                    total=None, sock_connect=self._connect_timeout, sock_read=self.timeout
                ),
            )
            keeper = _keep(session)
            await anext(keeper)
            self._sessions[loop] = (session, keeper)
        return self._sessions[loop][0]


class SyncRerankClient(_Client):
    """Blocking client, over requests. Share one among threads; works in notebooks and inside a running event loop too.

    The arguments are those of RerankClient; of ``timeout``, sending gets at most 10 seconds, too.
    """

    _library = "requests"

    def _prepare(self, library: Any) -> None:
        self._requests = library
        self._urllib3 = importlib.import_module("urllib3")  # which requests is made on
        # else a redirect's body is read whole, and its address may be no URL, even where it is not followed
        kind = type("Session", (library.Session,), {"get_redirect_target": lambda *_: None})
        self._session: requests.Session = kind()
        # else ~/.netrc would replace the key and a proxy variable would catch even localhost
        self._session.trust_env = False
        self._session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, library.adapters.HTTPAdapter(pool_maxsize=POOL_SIZE))

    def rerank(
        self,
        query: str,
        documents: Sequence[Document],
        top_n: int | None = None,
        model: str | None = None,
        **options: Unpack[RerankOptions],
    ) -> RerankResults:
        """Score each document (a text, or a mapping with "text") against the query; the best ``top_n``, best first.

        Options left out or None are the server's to choose. Raises RerankError.
        """
        body = build_rerank_body(query, documents, model=model, top_n=top_n, **options)
        return parse_rerank(self._send(self._request("POST", "/v1/rerank", body)), len(documents))

    def models(self) -> list[dict[str, Any]]:
        """The models the server has, one mapping each with at least "id". Raises RerankError."""
        return parse_models(self._send(self._request("GET", "/v1/models")))

    def health(self) -> bool:
        """Whether the server answers and says that it is well; asks once, without retries."""
        try:
            return self._exchange(self._request("GET", "/health")).status == 200
        except RerankError:
            return False

    def close(self) -> None:
        """Close every connection; the client cannot be used afterwards. Closing again does nothing."""
        self._closed = True
        self._session.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, request: _Request) -> _Reply:
        attempt = 0
        while True:
            try:
                return check_reply(self._exchange(request))
            except RerankError as error:
                delay = retry_delay(error, attempt, self.max_retries, _jitter())
                if delay is None:
                    raise
            _sleep(delay)
            attempt += 1

    def _exchange(self, request: _Request) -> _Reply:
        self._check_open()
        failures = self._requests.exceptions
        try:
            response = self._session.request(
                request.method,
                request.url,
                headers=request.headers,
                data=None if request.body is None else io.BytesIO(request.body),  # whole, it would be one long wait
                timeout=(self._connect_timeout, self.timeout),
                allow_redirects=False,
                stream=True,
            )
            with response:
                body = _Body(response.status_code, response.headers, self.max_answer_bytes)
                for chunk in response.raw.stream(_CHUNK_BYTES, decode_content=False):
                    body.add(chunk)
                return body.reply()
        except (failures.RequestException, self._urllib3.exceptions.HTTPError) as error:
            silent = isinstance(error, failures.Timeout | self._urllib3.exceptions.ReadTimeoutError)
            if not silent and isinstance(_innermost(error), TimeoutError):
                message = f"{request.url} read nothing of the request for {self._connect_timeout:g} s"
                raise TimeoutFailedError(message) from error
            timed_out = silent and not isinstance(error, failures.ConnectTimeout)
            raise self._failure(error, request.url, timed_out) from error


# ---------------------------------------------------------------- the command line

# What moves the cursor, hides text or turns it around on a terminal: control characters and those of direction.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
_EXAMPLES = """\
examples:
  rerank_client.py "what is a panda?" "a bear of China" "a Python library"
  rerank_client.py "what is a panda?" --top-n 3 < documents.txt
  rerank_client.py "what is a panda?" --json --model bge < documents.txt | jq '.[0].document'

exit status: 0 scored, 1 failed (one line on stderr says why), 2 wrong usage"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] query [document ...]",
        description="Sort documents by their relevance to a query, on a rerank server.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("query", nargs="?", help="query that the documents are compared with")
    parser.add_argument("documents", nargs="*", metavar="document", help="default: standard input, one per line")
    parser.add_argument(
        "--base-url", metavar="URL", help=f"server (default: RERANK_BASE_URL, otherwise {DEFAULT_BASE_URL})"
    )
    parser.add_argument(
        "--api-key", metavar="KEY", help="bearer key (default: RERANK_API_KEY, which `ps` does not show)"
    )
    parser.add_argument("--model", help="model (default: the server's)")
    parser.add_argument("--top-n", metavar="N", type=int, help="show only the best N")
    parser.add_argument("--timeout", metavar="S", type=float, default=60.0, help="seconds to wait (default 60)")
    parser.add_argument("--json", action="store_true", help="print a JSON array of {index, relevance_score, document}")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status. Wrong usage raises SystemExit(2), as argparse does."""
    _prepare_streams()
    parser = _parser()
    words = list(sys.argv[1:] if argv is None else argv)
    options_end = words.index("--") if "--" in words else len(words)
    args = parser.parse_intermixed_args(words[:options_end])
    given = [word for word in (args.query, *args.documents, *words[options_end + 1 :]) if word is not None]
    if not given:
        parser.error("no query")
    query, *documents = map(_readable, given)
    documents = documents or _stdin_documents(parser)
    try:
        with _client_for(args, parser) as client:
            results = client.rerank(query, documents, args.top_n, args.model)
        print(_as_json(results, documents) if args.json else _as_table(results, documents), flush=True)
    except BrokenPipeError:  # the reader, say head, has seen enough; without this the interpreter complains at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (RerankError, ImportError, KeyboardInterrupt) as error:
        return _fail(error)
    return 0


def _client_for(args: argparse.Namespace, parser: argparse.ArgumentParser) -> SyncRerankClient:
    keys = (args.api_key or os.environ.get("RERANK_API_KEY") or "").split(",")
    base_url = args.base_url or os.environ.get("RERANK_BASE_URL") or DEFAULT_BASE_URL
    try:
        return SyncRerankClient(base_url, next((key for key in keys if key.strip()), None), args.timeout)
    except ValueError as error:
        parser.error(str(error))


def _fail(error: BaseException) -> int:
    print("rerank:", printable(" ".join(str(error).split())) or "interrupted", file=sys.stderr)
    return 1


def _prepare_streams() -> None:
    """UTF-8 in pipes and files, whatever the locale; on a terminal what it can show, the rest escaped."""
    for stream, encoding in ((sys.stdin, "utf-8-sig"), (sys.stdout, "utf-8"), (sys.stderr, "utf-8")):
        if isinstance(stream, io.TextIOWrapper):
            if stream.isatty():
                stream.reconfigure(errors="backslashreplace")
            else:
                stream.reconfigure(encoding=encoding, errors="replace")


def printable(text: str) -> str:
    """The text with ``\\u001b`` for what a terminal would obey instead of showing it; valid within JSON, too."""
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _readable(argument: str) -> str:
    return os.fsencode(argument).decode("utf-8", "replace")  # as typed, even where the locale cannot say it


def _stdin_documents(parser: argparse.ArgumentParser) -> list[str]:
    documents = [] if sys.stdin.isatty() else [line.rstrip("\r\n") for line in sys.stdin if line.strip()]
    if not documents:
        parser.error("no documents: give them as arguments, or one a line on standard input")
    return documents


def _as_json(results: Sequence[RerankResult], documents: Sequence[str]) -> str:
    rows = [{"index": r.index, "relevance_score": r.relevance_score, "document": documents[r.index]} for r in results]
    return printable(json.dumps(rows, ensure_ascii=False))


def _as_table(results: Sequence[RerankResult], documents: Sequence[str]) -> str:
    width = shutil.get_terminal_size(fallback=(sys.maxsize, 24)).columns  # a pipe has no width: nothing is cut
    lines = [f"{'rank':>4}  {'score':>8}  {'index':>5}  document"]
    for rank, result in enumerate(results, 1):
        start = f"{rank:>4}  {result.relevance_score:>8.4f}  {result.index:>5}  "
        lines.append(start + cut_to_width(documents[result.index], max(width - len(start), 1)))
    return "\n".join(lines)


def cut_to_width(text: str, width: int) -> str:
    """The text on one line of at most ``width`` terminal columns, with an ellipsis where it was cut."""
    line = printable(" ".join(text.split()))
    ends = list(itertools.accumulate(map(_columns, line)))
    if not ends or ends[-1] <= width:
        return line
    return line[: sum(end <= width - 1 for end in ends)] + "…"


def _columns(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


if __name__ == "__main__":
    sys.exit(main())
