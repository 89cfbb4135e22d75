"""All errors, as one tree.

    RerankError
    ├── InvalidRequest          the caller's request cannot be served as it stands
    │   ├── BodyTooLarge        ... because it holds more bytes than the server takes
    │   ├── BodyTooSlow         ... because its body does not arrive in time
    │   ├── UnknownEncoding     ... because its body is compressed in a way that is not read here
    │   ├── AddressTooLong      ... because its path and query string are
    │   ├── NotOffered          ... by this model, though another may do it
    │   ├── PairTooLong         ... because a pair is too long for the model and may not be cut
    │   ├── DocumentRefused     ... because the server that has the model refuses a document
    │   ├── TokenUnknown        ... because a document names a token that the model has no vector for
    │   ├── NothingToScore      ... because it holds no documents
    │   └── TooManyDocuments    ... because it holds more than the server takes at once
    ├── Unauthorized            no key, or a wrong one
    ├── Forbidden               the key is known, or none is asked for, but it does not allow this (also: this model)
    │   └── DownloadForbidden   ... because the model would have to be fetched
    ├── ModelNotFound           no such model; lists those there are, the nearest first
    ├── Overloaded              no capacity now; says when to retry
    │   └── RateLimited         ... for this key
    ├── ModelUnavailable        the model is known, but its weights are unavailable
    │   ├── WeightsMissing      not on disk, and the Hub did not give them; says why
    │   ├── WeightsBroken       on disk, but not a whole checkpoint; names the file
    │   ├── StillLoading        the load goes on; retry
    │   └── ModelTooLarge       it does not fit, whatever else is unloaded
    ├── DeadlineExceeded        the answer did not come in time
    ├── PairTooLarge            this single pair does not fit into the device's memory
    ├── ServerStopping          the server is shutting down
    ├── OutOfOrder              scoring is no longer possible in this process; says why
    ├── UpstreamFailed          another server, which has the model, failed or answered nonsense
    │   └── UpstreamLoop        ... because it has sent the request here
    └── ScoringFailed           our fault: the model raised, or answered nonsense
    SettingsError               the start-up configuration is wrong; never reaches a caller

``message`` is safe to show to a caller. The HTTP status of each class stands in one table, in ``rerank.api.errors``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum

_RESTART_SECONDS = 10
"""Estimated duration of a restart."""


class RerankError(Exception):
    """Base of every error a caller may see. ``falls_back``: another model may answer the request instead."""

    falls_back = False

    def __init__(self, message: str, *, param: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after = retry_after


class InvalidRequest(RerankError):
    """The request is wrong; ``param`` names the field, with the document's index where there is one."""


class BodyTooLarge(InvalidRequest):
    """The request body holds more bytes than the server accepts."""


class BodyTooSlow(InvalidRequest):
    """The request body did not come in time."""


class UnknownEncoding(InvalidRequest):
    """The request body has a Content-Encoding that is not supported."""


class AddressTooLong(InvalidRequest):
    """Path and query string hold more bytes than the server accepts."""


class WrongTask(InvalidRequest):
    """The model cannot do what this address is for."""

    def __init__(self, task: str, model: str, noun: str, *, gives_vectors: bool = False) -> None:
        """``noun``: what the model is."""
        more = ", or texts to /v1/embeddings" if gives_vectors else ""
        super().__init__(
            f"Unsupported task: {task!r}. `{model}` is {noun}: send a query and documents to /v1/rerank, or pairs of "
            f"texts to /v1/score{more}.",
            param="model",
        )


class NotOffered(InvalidRequest):
    """The request asks for what this model cannot do, though another may."""

    falls_back = True


class PairTooLong(InvalidRequest):
    """A pair would have to be cut although the request forbids it; ``index`` is its place in the request."""

    def __init__(self, index: int, message: str) -> None:
        """``message`` has ``{}`` where the document is named."""
        super().__init__(message.format(f"documents.{index}"), param="input_tokens")
        self.index = index
        self._message = message

    def at(self, index: int) -> PairTooLong:
        """The same error for another place."""
        return PairTooLong(index, self._message)


class DocumentRefused(InvalidRequest):
    """The server that has the model refuses a document; ``index`` is its place in the request."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(f"documents.{index} was refused {reason}", param=f"documents.{index}")
        self.index = index
        self._reason = reason

    def at(self, index: int) -> DocumentRefused:
        """The same error for another place."""
        return DocumentRefused(index, self._reason)


class TokenUnknown(InvalidRequest):
    """A document names a token that the model has no vector for; ``index`` is its place in the request."""

    def __init__(self, index: int, message: str) -> None:
        """``message`` has ``{}`` where the document is named."""
        super().__init__(message.format(f"documents.{index}"), param=f"documents.{index}")
        self.index = index
        self._message = message

    def at(self, index: int) -> TokenUnknown:
        """The same error for another place."""
        return TokenUnknown(index, self._message)


class NothingToScore(InvalidRequest):
    """The request holds no documents."""


class TooManyDocuments(InvalidRequest):
    """The request holds more documents, or texts of another name, than the server takes at once."""

    def __init__(self, texts: int, most: int, param: str) -> None:
        noun = param if param in ("documents", "passages") else "texts"
        super().__init__(
            f"The request holds {texts} {noun}; this server takes at most {most} at once (MAX_DOCUMENTS). "
            "Send them in parts.",
            param=param,
        )


class Unauthorized(RerankError):
    """The key is missing or wrong."""


class Forbidden(RerankError):
    """The key, or the place the request comes from, does not allow this."""


class DownloadForbidden(Forbidden):
    """The model is not on disk, and the server's settings do not let this request fetch it."""

    falls_back = True


class ModelNotFound(RerankError):
    """No card has the requested name; ``elsewhere``, the end of the message, says where further names are listed."""

    def __init__(self, message: str, elsewhere: str = "") -> None:
        super().__init__(message + elsewhere)
        self.elsewhere = elsewhere


class Overloaded(RerankError):
    """Too much work is in flight; nothing was done for this request."""

    falls_back = True


class RateLimited(Overloaded):
    """The key has used up its limit per minute; nothing was done for this request."""

    falls_back = False


class ModelUnavailable(RerankError):
    """The model is known but cannot answer now."""

    falls_back = True


class FetchFailure(StrEnum):
    """Reason why weights could not be fetched from the Hub."""

    UNREACHABLE = "unreachable"
    NOT_FOUND = "not found"
    NO_ACCESS = "no access"
    NO_SAFETENSORS = "no safetensors"
    DISK_FULL = "disk full"
    CORRUPT = "corrupt"


class WeightsMissing(ModelUnavailable):
    """The weights are not on disk and could not be fetched; ``failure`` says why."""

    def __init__(self, message: str, failure: FetchFailure) -> None:
        super().__init__(message)
        self.failure = failure


class WeightsBroken(ModelUnavailable):
    """The model's folder is not a whole checkpoint; the message names the file."""


class ModelUnsupported(WeightsBroken):
    """The model's folder is whole, but this server does not run such a model; the message is whole sentences."""


class StillLoading(ModelUnavailable):
    """The load did not finish within the caller's time; it goes on."""


class ModelTooLarge(ModelUnavailable):
    """The model does not fit into the memory that models may take; the message holds both numbers."""


class DeadlineExceeded(RerankError):
    """Scoring did not finish within the caller's time."""

    falls_back = True


class PairTooLarge(RerankError):
    """A pair alone takes more memory than the device has; ``index`` is its place in the request."""

    def __init__(self, index: int, tokens: int) -> None:
        super().__init__(
            f"documents.{index} with the query ({tokens} tokens) does not fit into the memory of the device, even "
            "alone. Shorten it, or have it cut with truncate_prompt_tokens.",
            param=f"documents.{index}",
        )
        self.index = index
        self.tokens = tokens

    def at(self, index: int) -> PairTooLarge:
        """The same error for another place."""
        return PairTooLarge(index, self.tokens)


class ServerStopping(RerankError):
    """The server accepts no further work."""


class OutOfOrder(RerankError):
    """Every device failed, or the model registry crashed. ``/health`` is red, so that a supervisor restarts the server.

    Nothing was done for this request; after the restart, or on another server, it may succeed.
    """

    falls_back = True

    def __init__(self, trouble: str) -> None:
        super().__init__(f"The server is out of order: {trouble}.", retry_after=_RESTART_SECONDS)


class UpstreamFailed(RerankError):
    """The server that has the model cannot be reached, refuses us, or answers nonsense."""

    falls_back = True


class UpstreamLoop(UpstreamFailed):
    """The request has passed more servers of this kind than it may: they must be each other's upstreams."""

    falls_back = False


class ScoringFailed(RerankError):
    """The model raised, or returned something else than one finite number per pair."""

    falls_back = True


@contextmanager
def placed_by(place_of: Callable[[int], int]) -> Iterator[None]:
    """Make errors about a pair of a part of a request name its place in the whole: ``place_of`` the one in the part."""
    try:
        yield
    except (PairTooLong, PairTooLarge, DocumentRefused, TokenUnknown) as error:
        raise error.at(place_of(error.index)) from error


class SettingsError(Exception):
    """The configuration is wrong; the message names the setting."""
