"""Failed calls as errors: what the caller sees, what the log says, and whether a retry may help."""

from __future__ import annotations

import logging

from pydantic import SecretStr

from rerank.backends.remote.answers import Reason, read_reason
from rerank.backends.remote.http import CONNECT_SECONDS, HttpAnswer
from rerank.backends.remote.retries import CallFailed, parse_retry_after
from rerank.errors import DocumentRefused, InvalidRequest, Overloaded, RerankError, UpstreamFailed, UpstreamLoop

logger = logging.getLogger(__name__)

_RETRIED = frozenset({429, 502, 503, 504})
_ABOUT_THE_REQUEST = frozenset({400, 413, 422})
_LOOP = 508
NEARLY = 0.9
"""Share of a timeout that counts as all of it."""
_RETRY_SECONDS = 5.0
"""Retry-After where an overloaded upstream names no time."""
_HINTS = {
    401: "it does not accept the key (key_env or key_file in models.toml)",
    402: "its account has no credit",
    403: "the key does not allow this model, or the address is not for this server",
    404: "it has no such address or model (url and model in models.toml)",
    405: "its address takes no such requests (url in models.toml)",
}
"""For operators; a caller can do nothing about them."""


class Failures:
    """Failures of one upstream. No message holds its key."""

    def __init__(self, model: str, key: SecretStr | None) -> None:
        self._model = model
        self._key = key.get_secret_value() if key else None

    def of_answer(self, answer: HttpAnswer, documents: int) -> CallFailed:
        """An answer to a call with a number of ``documents`` whose status is not 200."""
        reason = read_reason(answer.content, documents, self._mask)
        logger.warning("%s: the upstream answered %d: %s", self._model, answer.status, reason.text or "no reason")
        after = parse_retry_after(answer.headers.get("Retry-After"))
        if answer.status in _ABOUT_THE_REQUEST:
            return CallFailed(self._refusal(reason), "refused", healthy=True)
        if answer.status == _LOOP:
            how = "answered 508: servers that are each other's upstreams form a loop"
            return CallFailed(UpstreamLoop(f"The server that has {self._model} {how}."), healthy=True)
        again = answer.status in _RETRIED
        if answer.status == 429:
            return CallFailed(self._overloaded(after), "overloaded", again=again, after=after, healthy=True)
        return CallFailed(self._failed(_meaning(answer.status), after), again=again, after=after)

    def of_exception(self, error: Exception, seconds: float, timeout: float) -> CallFailed:
        """A call without an answer: ``error`` is what the HTTP client raised, ``seconds`` how long it had.

        Less than the ``timeout`` is what was left of it after earlier attempts, or after waiting for other calls.
        """
        import aiohttp

        logger.warning("%s: the upstream did not answer: %s", self._model, self._mask(str(error) or repr(error)))
        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            return CallFailed(self._failed("has no certificate that is trusted"), "unreachable")
        if isinstance(error, aiohttp.ClientSSLError):
            return CallFailed(self._failed("does not answer with TLS (https:// in models.toml)"), "unreachable")
        unconnected = isinstance(error, aiohttp.ConnectionTimeoutError) and seconds >= CONNECT_SECONDS
        if unconnected or isinstance(error, aiohttp.ClientConnectorError):
            return CallFailed(self._failed("cannot be reached"), "unreachable", again=True)
        if isinstance(error, TimeoutError):
            left = f", which were left of {timeout:g} s" if seconds < NEARLY * timeout else ""
            return CallFailed(self._failed(f"did not answer within {seconds:.3g} s{left}"), "timeout")
        return CallFailed(self._failed("broke the connection"), "broken", again=True)

    def of_nonsense(self, what: str) -> CallFailed:
        """An answer that cannot be right."""
        logger.warning("%s: the upstream answered with %s", self._model, what)
        return CallFailed(self._failed(f"answered with {what}"), "nonsense")

    def of_breaker(self, seconds: float) -> CallFailed:
        """A call that is not made, because the last ones failed."""
        how = "failed several times in a row and is not asked for a while"
        return CallFailed(self._failed(how, seconds), "skipped")

    def _refusal(self, reason: Reason) -> RerankError:
        said = f"by the server that has {self._model}: {reason.text or 'it gives no reason'}"
        if reason.document is not None:
            return DocumentRefused(reason.document, said)
        return InvalidRequest(f"The request was refused {said}", param="documents")

    def _overloaded(self, after: float | None) -> RerankError:
        return Overloaded(
            f"The server that has {self._model} takes no more requests at the moment.",
            retry_after=_RETRY_SECONDS if after is None else after,
        )

    def _failed(self, how: str, after: float | None = None) -> RerankError:
        return UpstreamFailed(f"The server that has {self._model} {how}.", retry_after=after)

    def _mask(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


def _meaning(status: int) -> str:
    if hint := _HINTS.get(status):
        return f"answered {status}: {hint}"
    if 300 <= status < 400:
        return f"answered {status}, a redirect, which is not followed: give its target as url in models.toml"
    return f"answered {status}"
