"""Bodies for every dialect: odd values, odd encodings; and odd addresses, asked in every way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

from hypothesis import strategies as st

from tests.abuse.fuzz.judge import Note, Objection, fuzz, judge, shown
from tests.abuse.fuzz.strategies import EMBEDDING, FIELDS, SCORING, VALUES, WAYS, encoded
from tests.abuse.fuzz.target import Connection, Target
from tests.abuse.support import SECONDS

_SECONDS = ("0.001", "1e-320", "0", "-1", "nan", "inf", "1e999", "5", "٣", "1_0", "0x1", "")
_QUERIES = ("", "?", "?model=tiny", "?access_token=%ff%00", "?access_token=a&access_token=b", "?%00=%", "?a" * 50)
_METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
_PAGES = (
    *("/", "/health", "/ping", "/ready", "/metrics", "/version", "/load", "/info", "/tei/info", "/tei/health", "/meta"),
    *("/docs", "/redoc", "/openapi.json", "/v1/models", "/models", "/v1/cluster/auth", "/.well-known/ready"),
    *("/ready?model=", "/v1/models/", "/docs/", "/static-offline-docs/", "/static-offline-docs/../", "/models/", "/"),
    *(
        "/v1/models/tiny/unload",
        "/v1/retrieval/tiny/reranking",
        "//v1/rerank",
        "/v1//models",
        "/tokenizer_info",
        "/tei/info",
        "/nowhere",
    ),
)


_NAMES = ("..%2f..%2fetc%2fpasswd", "_" * 3000, "%", "%ff")


class Request(NamedTuple):
    """A request as the client library sends it."""

    method: str
    path: str
    content: bytes | None
    headers: dict[str, str]


@st.composite
def _bodies(draw: st.DrawFn, keys: tuple[str, ...], plain: Mapping[str, dict[str, Any]]) -> Request:
    path = draw(st.sampled_from(tuple(plain)))
    body = plain[path] | draw(st.dictionaries(FIELDS, VALUES, max_size=3))
    for field in draw(st.sets(FIELDS, max_size=1)):
        body.pop(field, None)
    content, said = encoded(body, draw(st.just("plain") | st.sampled_from(WAYS)))
    headers = {"Content-Type": "application/json"} | dict(line.split(": ", 1) for line in said)
    if within := draw(st.just("") | st.sampled_from(_SECONDS)):
        headers["X-Request-Timeout"] = within.encode().decode("latin-1")
    return Request("POST", path + draw(st.sampled_from(_QUERIES)), content, _with_key(headers, draw, keys))


@st.composite
def _pages(draw: st.DrawFn, keys: tuple[str, ...]) -> Request:
    path = draw(st.sampled_from(_PAGES))
    if path.endswith(("/", "=")):
        path += draw(st.text(max_size=30).map(_quoted) | st.sampled_from(_NAMES))
    return Request(draw(st.sampled_from(_METHODS)), path, None, _with_key({}, draw, keys))


def _quoted(text: str) -> str:
    return quote(text, errors="surrogatepass")


def _with_key(headers: dict[str, str], draw: st.DrawFn, keys: tuple[str, ...]) -> dict[str, str]:
    key = draw(st.just(keys[0]) | st.sampled_from(keys))
    return headers | ({"Authorization": f"Bearer {key}"} if key else {})


def bodies(target: Target, seed: int, cases: int, note: Note) -> None:
    """Bodies of odd values, sent in odd ways."""
    _send_all(target, _bodies(target.keys, SCORING), seed, cases, note)


def embeddings(target: Target, seed: int, cases: int, note: Note) -> None:
    """The same for an embedding model."""
    _send_all(target, _bodies(target.keys, EMBEDDING), seed, cases, note)


def pages(target: Target, seed: int, cases: int, note: Note) -> None:
    """Every address with every method, and names that are none."""
    _send_all(target, _pages(target.keys), seed, cases, note)


def _send_all(target: Target, wanted: st.SearchStrategy[Request], seed: int, cases: int, note: Note) -> None:
    connection = Connection(target)

    def send(request: Request) -> None:
        try:
            status, content = connection.ask(*request)
        except TimeoutError as error:
            raise Objection(f"no answer within {SECONDS:g} s: {shown(tuple(request))}") from error
        except OSError as error:
            raise Objection(f"{error}: {shown(tuple(request))}") from error
        note(status)
        judge(status, content, tuple(request))

    try:
        fuzz(wanted, send, seed, cases)
    finally:
        connection.close()
