"""The server that is fuzzed: its keys, its settings, and how it is asked."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rerank.access.keyring import key_hash
from rerank.catalog.built_in import EMBEDDED_MODEL_ID
from tests.abuse.fuzz.strategies import BODY, EMBEDDER, EMBEDDING
from tests.abuse.support import SECONDS, RawClient, post_bytes
from tests.process.server import ServerProcess
from tests.support.waiting import wait_until

MODEL = "tiny"
KEY = "sk-fuzz-of-an-ordinary-caller-0000"
LIMITED_KEY = "sk-fuzz-of-a-limited-caller-00000"
ADMIN_KEY = "sk-fuzz-of-an-operator-0000000000"
_KEYS_FILE = f"""
[[key]]
name = "limited"
sha256 = "{key_hash(LIMITED_KEY)}"
models = ["{MODEL}"]
requests_per_minute = 300
"""
_LOAD_SECONDS = 120
_SETTINGS = {
    "RERANK_DEFAULT_MODEL": MODEL,
    # the one that the documentation's examples name, too
    "RERANK_PRELOAD": f"{MODEL},{EMBEDDER},{EMBEDDED_MODEL_ID}",
    "HOST": "127.0.0.1",
    # small, so that made-up requests meet the limits
    "MAX_BODY_BYTES": "100000",
    "MAX_DOCUMENTS": "150",
    "RECEIVE_TIMEOUT": "5",
    "TIMEOUT": "20",
    "LOG_LEVEL": "INFO",
}
_PLAIN = {"/v1/rerank": BODY} | EMBEDDING


@dataclass(frozen=True, slots=True)
class Target:
    """A running server."""

    url: str
    pid: int
    guarded: bool

    @property
    def keys(self) -> tuple[str, ...]:
        """What may be sent as a key: right ones and wrong ones."""
        right = (KEY, LIMITED_KEY, ADMIN_KEY) if self.guarded else ()
        return (*right, "", "wrong")

    @property
    def raw(self) -> RawClient:
        """A client that sends bytes as they are."""
        return RawClient.of(self.url)

    def trouble(self) -> str:
        """Why the server no longer serves an ordinary caller; empty if it does."""
        if not self.raw.is_served():
            return "/health is not answered with 200"
        for path, body in _PLAIN.items():
            asked = post_bytes(path, json.dumps(body).encode(), f"Authorization: Bearer {KEY}")
            statuses = self.raw.exchange(asked).statuses
            if statuses != [200]:
                return f"a plain request to {path} is answered with {statuses}"
        return ""


class Connection:
    """Requests one after another over one connection, opened again whenever the server has closed it."""

    def __init__(self, target: Target) -> None:
        self._raw = target.raw
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        """Status and body of the answer. Raises TimeoutError or another OSError where there is none."""
        fresh = self._connection is None
        try:
            return self._ask(method, path, content, headers)
        except TimeoutError:
            self.close()
            raise
        except (OSError, http.client.HTTPException) as error:
            self.close()
            if fresh:
                raise ConnectionError(f"the connection broke: {error!r}") from error
            # the server may close an idle connection whenever it likes
            return self.ask(method, path, content, headers)

    def _ask(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self._raw.host, self._raw.port, timeout=SECONDS)
        self._connection.request(method, path, content, headers)
        answer = self._connection.getresponse()
        return answer.status, answer.read()

    def close(self) -> None:
        """Close the connection, if one is open."""
        if self._connection:
            self._connection.close()
        self._connection = None


def make_models(folder: Path) -> None:
    """A reranker and an embedding model, the same each time."""
    # the processes that send import this module too, and need no torch
    from tests.support.tiny_checkpoints import make_embedding_model, make_xlm_roberta
    from tests.support.tiny_language_models import change_config

    make_xlm_roberta(folder / MODEL)
    change_config(make_embedding_model(folder / EMBEDDER, prompts={"query": "find: "}), is_matryoshka=True)


@contextmanager
def serving(folder: Path, *, guarded: bool) -> Iterator[tuple[Target, ServerProcess]]:
    """A server in a folder of its own, with keys or without."""
    make_models(folder / "models")
    settings = _SETTINGS | {"RERANK_MODELS_DIR": str(folder / "models")}
    if guarded:
        (folder / "keys.toml").write_text(_KEYS_FILE)
        settings |= {"RERANK_API_KEY": KEY, "RERANK_ADMIN_KEY": ADMIN_KEY}
        settings |= {"RERANK_KEYS_FILE": str(folder / "keys.toml")}
    with ServerProcess(folder, settings) as server:
        target = Target(server.url, server.pid, guarded)
        wait_until(lambda: target.raw.is_served("/ready"), _LOAD_SECONDS)
        yield target, server
