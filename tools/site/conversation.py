"""Requests of the API's documentation with the answers that this version gives, asked when the site is built."""

from __future__ import annotations

import json
import os
import shlex
import tempfile
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from rerank.server import build
from rerank.settings import Settings, setting_names
from tools.site.surroundings import environment, own_log

ROOT = Path(__file__).resolve().parents[2]
_ADDRESS = "http://localhost:8000"
_LONGEST_LIST = 3
_QUERY = "What is the capital of France?"
_DOCUMENTS = ["Berlin is the capital of Germany.", "Paris is the capital of France.", "I like cheese."]


@dataclass(frozen=True, slots=True)
class Request:
    """One example."""

    title: str
    path: str
    body: dict[str, Any] | None = None


REQUESTS = (
    Request("Rerank", "/v1/rerank", {"query": _QUERY, "documents": _DOCUMENTS, "top_n": 2}),
    Request(
        "Rerank, with options of the gateway",
        "/v1/rerank",
        {
            "model": "lexical",
            "query": "capital of France",
            "documents": _DOCUMENTS,
            "min_score": 0.1,
            "return_documents": False,
        },
    ),
    Request("Score pairs", "/v1/score", {"text_1": _QUERY, "text_2": _DOCUMENTS[:2]}),
    Request("Embed", "/v1/embeddings", {"input": ["a bear of China"]}),
    Request("Tokens of a text", "/tokenize", {"prompt": "Paris is the capital of France."}),
    Request("TEI", "/rerank", {"query": _QUERY, "texts": _DOCUMENTS[:2]}),
    Request(
        "DashScope",
        "/api/v1/services/rerank/text-rerank/text-rerank",
        {
            "model": "lexical",
            "input": {"query": "capital of France", "documents": _DOCUMENTS[:2]},
            "parameters": {"top_n": 1, "return_documents": True},
        },
    ),
    Request("An unknown model", "/v1/rerank", {"model": "bge-rerank-base", "query": _QUERY, "documents": _DOCUMENTS}),
    Request("A wrong field", "/v1/rerank", {"query": _QUERY, "documents": _DOCUMENTS, "top_n": "many"}),
    Request("One model", "/v1/models/sentence-transformers/all-MiniLM-L6-v2"),
    Request("Readiness", "/ready"),
    Request("The server at a glance", "/"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said about itself and in answer to every request."""

    openapi: dict[str, Any]
    answers: tuple[tuple[int, Any], ...]


@cache
def said() -> Said:
    """A server of this project is asked everything, once per build."""
    with _client() as client:
        answers = tuple(_ask(client, request) for request in REQUESTS)
        return Said(client.get("/openapi.json").json(), answers)


def examples() -> str:
    """Every request with its answer, as Markdown."""
    return "\n\n".join(
        f"### {request.title}\n\n```bash\n{_curl(request)}\n```\n\n{_spelled(status, answer)}"
        for request, (status, answer) in zip(REQUESTS, said().answers, strict=True)
    )


@contextmanager
def _client() -> Iterator[TestClient]:
    """The bundled model on a CPU, whatever the environment says; converted once, and kept in the models folder."""
    settings = {name for names in setting_names().values() for name in names}
    models = Path(os.environ.get("RERANK_MODELS_DIR", ROOT / "models")).absolute()
    others = {name: value for name, value in os.environ.items() if name.upper() not in settings}
    # without keys.toml and models.toml of the project's folder
    with (
        tempfile.TemporaryDirectory() as folder,
        environment(others),
        own_log(),
        chdir(folder),
        TestClient(build.app_from_settings(_settings(models))) as client,
    ):
        yield client


def _settings(models: Path) -> Settings:
    given: dict[str, Any] = {
        "preload": "none",
        "models_dir": models,
        "model_device": "cpu",
        "model_precision": "fp32",
        "allowed_hosts": "testserver",
        "downloads": "off",
        "log_level": "error",
        "default_model": "sentence-transformers/all-MiniLM-L6-v2",
    }
    arguments: dict[str, Any] = {f"rerank_{name}": value for name, value in given.items()}
    return Settings(_env_file=None, **arguments)


def _ask(client: TestClient, request: Request) -> tuple[int, Any]:
    answer = client.get(request.path) if request.body is None else client.post(request.path, json=request.body)
    return answer.status_code, answer.json()


def _curl(request: Request) -> str:
    command = f"curl -s {_ADDRESS}{request.path}"
    if request.body is None:
        return command
    body = shlex.quote(json.dumps(request.body, ensure_ascii=False, indent=2))
    return f"{command} -H 'Content-Type: application/json' -d {body}"


def _spelled(status: int, answer: Any) -> str:
    return f'```json title="{status}"\n{json.dumps(_shortened(answer), ensure_ascii=False, indent=2)}\n```'


def _shortened(value: Any) -> Any:
    """The same, with an ellipsis for the rest of long lists."""
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        rest = ["..."] if len(value) > _LONGEST_LIST else []
        return [_shortened(item) for item in value[:_LONGEST_LIST]] + rest
    return value
