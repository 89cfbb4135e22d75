"""What the examples share: the handbook and its questions, the server's address, and a measure of rankings."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))  # rerank_client.py is one file; your own project has a copy of it

from rerank_client import RerankClient, SyncRerankClient  # noqa: E402

EMBEDDING_MODEL = "all-MiniLM-L6-v2"
"""The bundled model: its vectors find passages, and their cosine ranks them."""
PATIENCE = 300
"""Seconds for an answer: the first one waits until the model is loaded."""


@dataclass(frozen=True)
class Passage:
    """A paragraph of the handbook."""

    id: str
    chapter: str
    text: str


@dataclass(frozen=True)
class Question:
    """A question, and the passages that answer it: 2 in full, 1 in part."""

    question: str
    answers: Mapping[str, int]


def handbook() -> list[Passage]:
    """The forty passages of a coffee machine's handbook."""
    return [Passage(**row) for row in _rows("handbook.jsonl")]


def questions() -> list[Question]:
    """A dozen questions about it, with known answers."""
    return [Question(**row) for row in _rows("questions.jsonl")]


def _rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


def server_url() -> str:
    """The address of the server, after a look whether it is there; ends the program if it is not."""
    url = os.environ.get("RERANK_BASE_URL") or "http://127.0.0.1:8000"
    with SyncRerankClient(url) as client:
        if not client.health():
            raise SystemExit(
                f"No rerank server at {url}. Start one in another terminal, in the project's folder:\n"
                "    RERANK_MODELS_FILE=examples/models.toml make serve\n"
                "or name yours: RERANK_BASE_URL=http://host:port"
            )
    return url


def api_key() -> str:
    """The key to send; a server without keys takes any."""
    return os.environ.get("RERANK_API_KEY") or "none"


def connect() -> SyncRerankClient:
    """A client of the server."""
    return SyncRerankClient(server_url(), api_key(), PATIENCE)


def connect_async() -> RerankClient:
    """The same for asyncio, which tries patiently where the server has no room."""
    return RerankClient(server_url(), api_key(), PATIENCE, max_retries=8)


def ndcg(ranked: Sequence[str], answers: Mapping[str, int], depth: int = 10) -> float:
    """How good the first places of a ranking of ids are: 1 is the best order there can be."""

    def gain(grades: Sequence[int]) -> float:
        return sum((2.0**grade - 1) / math.log2(place + 2) for place, grade in enumerate(grades[:depth]))

    return gain([answers.get(one, 0) for one in ranked]) / gain(sorted(answers.values(), reverse=True))
