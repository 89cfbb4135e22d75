"""Errors of downloads, each with what to do next."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    OfflineModeIsEnabled,
    RevisionNotFoundError,
)

from rerank.catalog.catalog import download_command
from rerank.errors import FetchFailure, WeightsMissing

_MIRROR = "HF_ENDPOINT=https://hf-mirror.com"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk or an exhausted quota."""
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class CorruptFile(Exception):
    """A file's bytes are not those the Hub states; ``args[0]`` is its path in the repository."""


class MissingFile(Exception):
    """The Hub lists a file and does not have it; ``args[0]`` is its path in the repository."""


@dataclass(frozen=True, slots=True)
class Source:
    """Source and destination of a download, for messages."""

    model_id: str
    repo: str
    revision: str | None
    endpoint: str
    folder: str
    """Folder of the model, as shown to clients."""
    token: str | None = field(default=None, repr=False)
    """Token of the user; None reads anonymously."""

    @property
    def site(self) -> str:
        """The Hub's address without path and without credentials."""
        parts = urlsplit(self.endpoint)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{host}" if host else self.endpoint.rpartition("@")[2]

    def unreachable(self, why: str) -> WeightsMissing:
        """The Hub gave no answer, or none of use; ``why`` continues "the Hub at ..."."""
        return self._missing(
            f"{self.model_id} could not be fetched: the Hub at {self.site} {why}. Fetch it, or resume, "
            f"with `{download_command(self.model_id)}`, perhaps through a mirror ({_MIRROR}); or {self._copy}.",
            FetchFailure.UNREACHABLE,
        )

    def offline(self) -> WeightsMissing:
        """huggingface_hub is in offline mode."""
        return self._missing(
            f"{self.model_id} could not be fetched: offline mode is on (HF_HUB_OFFLINE). Unset it and run "
            f"`{download_command(self.model_id)}`, through a mirror if the Hub is out of reach ({_MIRROR}); "
            f"or {self._copy}.",
            FetchFailure.UNREACHABLE,
        )

    def gated(self) -> WeightsMissing:
        """The licence of the repository has not been accepted by the token's account."""
        return self._missing(
            f"{self.repo} is gated: accept its licence on {self.site}/{self.repo}, set HF_TOKEN to a token of that "
            f"account and run `{download_command(self.model_id)}`; or {self._copy}.",
            FetchFailure.NO_ACCESS,
        )

    def no_access(self) -> WeightsMissing:
        """The Hub answers the same to a private repository and to a misspelt one."""
        return self._missing(
            f"The Hub at {self.site} refuses access to {self.repo}: check how it is spelt, and if it is private or "
            f"gated, accept the licence on its page and set HF_TOKEN to a valid token. Or {self._copy}.",
            FetchFailure.NO_ACCESS,
        )

    def token_refused(self) -> WeightsMissing:
        """The token is not valid, and without one the repository is not shown either."""
        return self._missing(
            f"The Hub at {self.site} refuses the token of HF_TOKEN: it has expired, was revoked, or is another Hub's; "
            f"and without it {self.repo} is not shown. Set HF_TOKEN to a valid one, or unset it; or {self._copy}.",
            FetchFailure.NO_ACCESS,
        )

    def not_found(self) -> WeightsMissing:
        """No such repository, or no such revision of it."""
        what = (
            f"revision {self.revision!r} of the repository {self.repo}" if self.revision else f"repository {self.repo}"
        )
        return self._missing(
            f"The Hub at {self.site} has no {what}: check how it is spelt; if it is private, set HF_TOKEN to a token "
            f"that may read it. Or {self._copy}.",
            FetchFailure.NOT_FOUND,
        )

    def incomplete(self, path: str) -> WeightsMissing:
        """``path`` is the path in the repository of a file that is listed there."""
        return self._missing(
            f"The Hub at {self.site} lists {path} of {self.repo}, but does not have it (404). Run "
            f"`{download_command(self.model_id)}` later, or through another endpoint ({_MIRROR}); or {self._copy}.",
            FetchFailure.NOT_FOUND,
        )

    def no_safetensors(self, what: str) -> WeightsMissing:
        """The repository holds nothing that this server would load; ``what``, sentences, continues its name."""
        return self._missing(
            f"{self.repo} at {self.site} {what} Or put a folder with safetensors into {self.folder}.",
            FetchFailure.NO_SAFETENSORS,
        )

    def disk_full(self, what: str) -> WeightsMissing:
        """``what`` is a whole sentence without its full stop."""
        return self._missing(
            f"{what}: make room, or choose another disk with RERANK_MODELS_DIR, then run "
            f"`{download_command(self.model_id)}` again; it resumes.",
            FetchFailure.DISK_FULL,
        )

    def corrupt(self, path: str) -> WeightsMissing:
        """``path`` is the file's path in the repository."""
        return self._missing(
            f"{path} of {self.repo} arrived without the size and hash that the Hub at {self.site} states, and was "
            f"deleted. Run `{download_command(self.model_id)}` to fetch it again, perhaps through another endpoint "
            f"({_MIRROR}); or {self._copy}.",
            FetchFailure.CORRUPT,
        )

    def unexpected(self, path: str, actual: str | None, expected: str) -> WeightsMissing:
        """The Hub's own hash is not the one the model's card asks for; nothing was fetched."""
        return self._missing(
            f"{path} of {self.repo} has sha256 {actual} on the Hub at {self.site}, but the models file expects "
            f"{expected}: correct `sha256` or `revision` there, try another endpoint ({_MIRROR}), or {self._copy}.",
            FetchFailure.CORRUPT,
        )

    @property
    def _copy(self) -> str:
        return f"copy the folder from another machine into {self.folder}"

    def _missing(self, message: str, failure: FetchFailure) -> WeightsMissing:
        return WeightsMissing(message, failure)


@contextmanager
def explaining(source: Source) -> Iterator[None]:
    """Turn what huggingface_hub, httpx and the disk raise into WeightsMissing; anything else passes unchanged."""
    try:
        yield
    except CorruptFile as error:
        raise source.corrupt(error.args[0]) from error
    except MissingFile as error:
        raise source.incomplete(error.args[0]) from error
    except OfflineModeIsEnabled as error:
        raise source.offline() from error
    except HfHubHTTPError as error:
        raise _of_status(error, source) from error
    except HFValidationError as error:
        raise source.not_found() from error
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        raise source.unreachable(_what_broke(error)) from error
    except OSError as error:
        if error.errno in NO_ROOM:
            raise source.disk_full(f"The disk filled up before {source.model_id} was fetched") from error
        if error.errno in _NOT_WRITABLE:
            raise source.disk_full(f"The models folder cannot be written ({error.strerror})") from error
        raise


def _of_status(error: HfHubHTTPError, source: Source) -> WeightsMissing:
    status = error.response.status_code
    if isinstance(error, GatedRepoError):
        return source.gated()
    if status in (401, 403):
        return source.no_access()
    if status == 404 or isinstance(error, RevisionNotFoundError):
        return source.not_found()
    if status == 429:
        return source.unreachable("answered that it got too many requests from here (429); wait a few minutes")
    return source.unreachable(f"answered with status {status}")


def _what_broke(error: httpx2.HTTPError | httpx2.InvalidURL) -> str:
    if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
        return "is not an address; HF_ENDPOINT needs one such as https://hf-mirror.com"
    if isinstance(error, httpx2.TimeoutException):
        return "does not answer (timeout)"
    if isinstance(error, (httpx2.TooManyRedirects, httpx2.DecodingError)):
        return f"does not answer as a Hub does ({error})"
    if isinstance(error, (httpx2.ConnectError, httpx2.ProxyError)):
        return f"cannot be reached ({error})"
    return f"broke the connection ({type(error).__name__})"
