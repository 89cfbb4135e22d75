"""The HTTP client for the Hub: no telemetry, proxies from the environment, bounded answers.

Importing it sets huggingface_hub up for the whole process.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import httpx2
from httpx2._utils import get_environment_proxies
from huggingface_hub import constants, get_session, get_token, hf_raise_for_status, set_client_factory
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils._http import hf_request_event_hook

from rerank.text_file import UnfitFile, read_text

logger = logging.getLogger(__name__)

_REDIRECTS = 10
_TOKEN_BYTES = 10_000
_ANSWER_BYTES = 16_000_000
"""Of a description of a repository; those of thousands of files have a few million."""
_ERROR_BYTES = 64_000
_ERROR_SECONDS = 5.0
T = TypeVar("T")

# it asks the Hub for a list of coding agents, and its own default Hub even where another endpoint is set
constants.HF_HUB_DISABLE_TELEMETRY = True


class _UnfitProxy(httpx2.BaseTransport):
    """A proxy that cannot be used; only requests through it fail."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self._shown = f"{scheme}://{rest.rpartition('@')[2]}"

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ProxyError(
            f"the proxy {self._shown} is none for HTTP; set HTTPS_PROXY or ALL_PROXY to an http:// address, or list "
            f"{request.url.host} in NO_PROXY"
        )


def _client() -> httpx2.Client:
    # httpx2 opens every proxy at once, and fails over one that the Hub is not even reached by
    mounts = {pattern: _proxy(url) if url else None for pattern, url in get_environment_proxies().items()}
    return httpx2.Client(
        transport=httpx2.HTTPTransport(),
        mounts=mounts,
        event_hooks={"request": [hf_request_event_hook]},
        follow_redirects=True,
    )


def _proxy(url: str) -> httpx2.BaseTransport:
    try:
        return httpx2.HTTPTransport(proxy=httpx2.Proxy(url))
    except (ImportError, ValueError, httpx2.InvalidURL):
        return _UnfitProxy(url)


set_client_factory(_client)


def token_for(endpoint: str) -> str | None:
    """The user's token, if there is one.

    For another endpoint than huggingface_hub's own it is only read: renewing one of a login would contact that.
    """
    if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        return None
    try:
        token = get_token() if endpoint == constants.ENDPOINT else _own_token()
    except (OSError, UnicodeDecodeError, UnfitFile) as error:
        # other errors' text may hold the token
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        logger.warning("the token in %s cannot be read (%s); none is sent", constants.HF_TOKEN_PATH, why)
        return None
    if token and not (token.isascii() and token.isprintable()):
        logger.warning("HF_TOKEN holds characters that no token has; it is not sent")
        return None
    return token


def _own_token() -> str | None:
    token = os.environ.get("HF_TOKEN") or os.environ.get("HUGGING_FACE_HUB_TOKEN")
    try:
        token = token or read_text(Path(constants.HF_TOKEN_PATH), _TOKEN_BYTES)
    except FileNotFoundError:
        return None
    return token.strip() or None


@contextmanager
def answer(url: str, token: str | None, timeout: float, seconds: float, **headers: str) -> Iterator[httpx2.Response]:
    """The answer to a GET, its body still to be read. Raises HfHubHTTPError, OfflineModeIsEnabled and HTTPError.

    ``timeout`` applies to each address of the host's name, and to each part of the answer that comes; ``seconds`` to
    all until the body begins.
    """
    sent = build_hf_headers(token=token or False) | {"Accept-Encoding": "identity"} | headers
    request = _session().build_request("GET", url, headers=sent, timeout=timeout)
    response = _within(seconds, partial(_begun, request), late=httpx2.Response.close)
    try:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise httpx2.DecodingError("the answer is compressed, which was not asked for")
        yield response
    finally:
        response.close()


def _session() -> httpx2.Client:
    try:
        return get_session()
    except OSError as error:
        raise httpx2.ConnectError(f"SSL_CERT_FILE or SSL_CERT_DIR: {error.strerror or error}") from error


def _within(seconds: float, work: Callable[[], T], late: Callable[[T], None]) -> T:
    """The outcome of ``work``. Raises ReadTimeout after ``seconds``; ``late`` gets what comes after that.

    On a thread, because looking up a name, trying its addresses in turn, and headers that trickle know no common limit.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except Exception as error:
            outcome.set_exception(error)

    threading.Thread(target=run, name="hub-read", daemon=True).start()
    try:
        return outcome.result(seconds)
    except TimeoutError as error:
        outcome.add_done_callback(partial(_hand_over, late))
        raise httpx2.ReadTimeout(f"no whole answer within {seconds:g} s") from error


def _hand_over(late: Callable[[T], None], outcome: Future[T]) -> None:
    if outcome.exception() is None:
        late(outcome.result())


def _begun(request: httpx2.Request) -> httpx2.Response:
    """The answer at the end of the redirects, its body still to be read. Raises HfHubHTTPError."""
    response = _follow(request)
    with ExitStack() as failed:
        failed.callback(response.close)
        _raise_for_status(response)
        failed.pop_all()
    return response


def _follow(request: httpx2.Request) -> httpx2.Response:
    """The answer at the end of the redirects. httpx2 would read the body of each, however long that is."""
    for _ in range(_REDIRECTS):
        response = _session().send(request, stream=True, follow_redirects=False)
        if response.next_request is None:
            return response
        request = response.next_request
        response.close()
    raise httpx2.TooManyRedirects(f"more than {_REDIRECTS} redirects", request=request)


def read(url: str, token: str | None, timeout: float, seconds: float) -> bytes:
    """The whole answer, at most 16 MB. Raises ReadTimeout after ``seconds``, and ValueError where it is longer.

    ``timeout`` applies to each address of the host's name.
    """
    return _within(seconds, partial(_content, url, token, timeout, seconds), late=lambda _: None)


def _content(url: str, token: str | None, timeout: float, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    with answer(url, token, timeout, seconds) as response:
        content = bytearray()
        for chunk in response.iter_raw(65536):
            content += chunk
            if len(content) > _ANSWER_BYTES:
                raise ValueError("the answer does not end")
            if time.monotonic() > deadline:
                raise TimeoutError
    return bytes(content)


def _raise_for_status(response: httpx2.Response) -> None:
    """Raise HfHubHTTPError for an error, of whose body only the beginning is read: it may have no end, or trickle."""
    if response.is_success or response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return
    content, ends = b"", time.monotonic() + _ERROR_SECONDS
    for chunk in response.iter_raw():
        content += chunk
        if len(content) >= _ERROR_BYTES or time.monotonic() >= ends:
            break
    kept = {name: response.headers[name] for name in ("X-Error-Code", "X-Error-Message") if name in response.headers}
    hf_raise_for_status(httpx2.Response(response.status_code, headers=kept, content=content, request=response.request))
    raise httpx2.RemoteProtocolError(f"the answer has status {response.status_code}")
