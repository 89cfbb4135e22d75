"""A Hub for tests: a real HTTP server that answers what huggingface_hub asks, and misbehaves on demand.

    with FakeHub() as hub:
        repository = hub.add_repository("org/name", tiny_checkpoint())
        repository.files["model.safetensors"].breaks = 2
        ...  # HF_ENDPOINT=hub.url
        assert hub.requests

Large files are redirected to another origin, as the Hub redirects to its CDN.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import numpy
from safetensors.numpy import save

_LARGE = (".safetensors", ".bin", ".onnx", ".gguf", ".h5", ".msgpack")
_DRIP_SECONDS = 5


@dataclass
class FakeFile:
    """One file, and what goes wrong with it."""

    content: bytes
    large: bool = False
    """Stated by sha256 and served from the other origin, as files under LFS or Xet are."""
    served: bytes | None = None
    """Sent instead of ``content``, while size and hash stay those of ``content``."""
    breaks: int = 0
    """How many more times the connection breaks half way through what was asked for."""
    ranges: bool = True
    """False ignores the Range header, as some mirrors do."""
    status: int | None = None
    """Answered instead of the file."""
    encoding: str | None = None
    """Said to be the encoding of the content."""
    holding: bool = False
    """Send half, set ``held``, and go on when ``release`` is set; till then drip, so that nobody gives up."""
    held: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()

    @property
    def git_sha1(self) -> str:
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class FakeRepository:
    """A repository of one commit."""

    name: str
    files: dict[str, FakeFile]
    commit: str
    branches: tuple[str, ...] = ("main",)
    status: int | None = None
    """Answered to every request, for example 401, 404 or 500."""
    gated: bool = False
    """Described to everybody, but its files are for those with a token."""
    private_to: str | None = None
    """The one token that sees it; to others it is not there."""
    parameters: int | None = None
    """What it says of its size, as the real Hub does."""


@dataclass(frozen=True)
class Request:
    """What arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""


class FakeHub:
    """Listens on a free port between ``with`` and its end."""

    def __init__(self) -> None:
        self.repositories: dict[str, list[FakeRepository]] = {}
        self.requests: list[Request] = []
        self.conversions: dict[str, tuple[int, ...]] = {}
        """By repository, numbers of pull requests that the Hub's bot opened."""
        self.refused_tokens: set[str] = set()
        """Tokens that have expired: every request with one is answered 401, as the real Hub does."""
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.hub = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for versions in self.repositories.values():
            for repository in versions:
                for file in repository.files.values():
                    file.release.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """What HF_ENDPOINT is to be."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def cdn(self) -> str:
        """The same server under another origin."""
        return f"http://localhost:{self._server.server_port}"

    @property
    def ranges(self) -> list[str]:
        """The Range headers that came, in order."""
        return [request.headers["range"] for request in self.requests if "range" in request.headers]

    def add_repository(
        self, name: str, files: Mapping[str, bytes], branches: tuple[str, ...] = ("main",), **options: Any
    ) -> FakeRepository:
        """Publish files. A name may be published again under other branches, as another commit of it."""
        versions = self.repositories.setdefault(name, [])
        commit = hashlib.sha1(f"{name}{len(versions)}".encode()).hexdigest()
        fakes = {path: FakeFile(content, large=path.endswith(_LARGE)) for path, content in files.items()}
        repository = FakeRepository(name, fakes, commit, branches, **options)
        versions.append(repository)
        return repository

    def add_folder(self, name: str, folder: Path, **options: Any) -> FakeRepository:
        """Publish what lies in a folder."""
        files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        return self.add_repository(name, files, **options)

    def requests_of(self, path: str) -> list[Request]:
        """The requests whose path ends so."""
        return [request for request in self.requests if request.path.endswith(path)]


def _at_revision(path: str) -> tuple[str, str]:
    """The revision that a path begins with, such as ``main`` or ``refs/pr/1``, and the rest."""
    names = path.split("/")
    length = 3 if names[0] == "refs" else 1
    return "/".join(names[:length]), "/".join(names[length:])


def tiny_checkpoint(seed: int = 0, size: int = 4096) -> dict[str, bytes]:
    """The files of a model that passes for whole; ``size`` is the number of its float32 weights."""
    weights = numpy.random.default_rng(seed).random(size, dtype=numpy.float32)
    config = {"architectures": ["XLMRobertaForSequenceClassification"], "model_type": "xlm-roberta"}
    return {
        "config.json": json.dumps(config).encode(),
        "tokenizer.json": b'{"version": "1.0"}',
        "model.safetensors": save({"weight": weights}),
    }


class _Server(ThreadingHTTPServer):
    hub: FakeHub
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    """HTTP/1.0: one request a connection, so a broken connection breaks one answer."""

    server: _Server

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.hub.requests.append(Request(self.command, path, headers))
        token = headers.get("authorization", "").removeprefix("Bearer ")
        try:
            if token in self.server.hub.refused_tokens:
                self._fail(401, None)
            else:
                self._route(path.strip("/"))
        except ConnectionError:
            # the client left, which is what some tests are about
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Tests read ``FakeHub.requests`` instead."""

    def _route(self, path: str) -> None:
        if path.startswith("cdn/"):
            _, name, commit, file = path.split("|")
            repository = next(one for one in self.server.hub.repositories[name] if one.commit == commit)
            self._send_file(repository, file, from_cdn=True)
        elif path.startswith("api/models/"):
            self._describe(path.removeprefix("api/models/"))
        elif "/resolve/" in path:
            name, _, rest = path.partition("/resolve/")
            self._resolve(name, *_at_revision(rest))
        else:
            self._fail(404, "EntryNotFound")

    def _describe(self, path: str) -> None:
        """``<name>``, ``<name>/revision/<revision>`` or ``<name>/discussions``."""
        organisation, base, *rest = path.split("/")
        name = f"{organisation}/{base}"
        if rest == ["discussions"]:
            self._list_conversions(name)
            return
        revision = "/".join(rest[1:]) or "main"
        repository = self._found(name, revision)
        if repository is None:
            return
        siblings = [_sibling(path, file) for path, file in repository.files.items()]
        described: dict[str, object] = {"id": name, "modelId": name, "sha": repository.commit, "siblings": siblings}
        if repository.parameters is not None:
            described["safetensors"] = {"parameters": {"F32": repository.parameters}, "total": repository.parameters}
        self._send_json(described)

    def _list_conversions(self, name: str) -> None:
        if name not in self.server.hub.conversions:
            self._fail(404, None)
            return
        listed = [{"num": number, "isPullRequest": True} for number in self.server.hub.conversions[name]]
        self._send_json({"discussions": listed, "count": len(listed), "start": 0})

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._found(name, revision)
        if repository is None:
            return
        if repository.gated and "authorization" not in self.headers:
            self._fail(403, "GatedRepo")
        elif path not in repository.files:
            self._fail(404, "EntryNotFound")
        elif repository.files[path].large:
            file = repository.files[path]
            self.send_response(302)
            self.send_header("Location", f"{self.server.hub.cdn}/cdn/|{name}|{repository.commit}|{path}")
            self.send_header("X-Repo-Commit", repository.commit)
            self.send_header("X-Linked-Etag", f'"{file.sha256}"')
            self.send_header("X-Linked-Size", str(len(file.content)))
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self._send_file(repository, path, from_cdn=False)

    def _found(self, name: str, revision: str) -> FakeRepository | None:
        """The repository; where there is none to give, answer so."""
        versions = self.server.hub.repositories.get(name, [])
        repository = next((one for one in versions if revision in (*one.branches, one.commit)), None)
        if repository is None:
            self._fail(404, "RevisionNotFound" if versions else "RepoNotFound")
        elif repository.private_to and self.headers.get("authorization") != f"Bearer {repository.private_to}":
            # as the Hub: who shows no token might have one, to another's token the repository does not exist
            self._fail(404 if "authorization" in self.headers else 401, "RepoNotFound")
            return None
        elif repository.status is not None:
            self._fail(repository.status, None)
            return None
        return repository

    def _send_file(self, repository: FakeRepository, path: str, *, from_cdn: bool) -> None:
        file = repository.files[path]
        if file.status is not None:
            self._fail(file.status, None)
            return
        body = file.content if file.served is None else file.served
        start = self._start(file)
        if start and start >= len(body):
            self._fail(416, None)
            return
        self.send_response(206 if start is not None else 200)
        if start is not None:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        if not from_cdn:
            self.send_header("X-Repo-Commit", repository.commit)
        if file.encoding:
            self.send_header("Content-Encoding", file.encoding)
        self.send_header("ETag", f'"{file.sha256 if file.large else file.git_sha1}"')
        self.send_header("Content-Length", str(len(body) - (start or 0)))
        self.end_headers()
        if self.command == "GET":
            self._send_body(file, body[start or 0 :])

    def _start(self, file: FakeFile) -> int | None:
        """Where the Range header says to begin; None for the whole file."""
        asked = self.headers.get("Range")
        if asked is None or not file.ranges:
            return None
        return int(asked.removeprefix("bytes=").partition("-")[0])

    def _send_body(self, file: FakeFile, body: bytes) -> None:
        half = len(body) // 2
        if file.breaks > 0:
            file.breaks -= 1
            self.wfile.write(body[:half])
            return
        if file.holding:
            self.wfile.write(body[:half])
            file.held.set()
            body = body[half:]
            while not file.release.wait(_DRIP_SECONDS):
                self.wfile.write(body[:1])
                body = body[1:]
        self.wfile.write(body)

    def _send_json(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, status: int, code: str | None) -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


def _sibling(path: str, file: FakeFile) -> dict[str, Any]:
    described: dict[str, Any] = {"rfilename": path, "size": len(file.content), "blobId": file.git_sha1}
    if file.large:
        described["lfs"] = {"sha256": file.sha256, "size": len(file.content), "pointerSize": 134}
    return described
