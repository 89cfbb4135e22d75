"""The server that a soak is for: models that do not all fit, keys, and a models file that changes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contestants import ours
from benchmarks.processes import Contestant
from benchmarks.soak_helpers import Helpers
from benchmarks.soak_routes import ALWAYS, BLEND, CASCADE, ENSEMBLE, FALLBACK, KEEP, QUICK, UPSTREAMS
from benchmarks.soak_traffic import ADMIN_KEY, KEY, MAX_BODY_BYTES, MAX_DOCUMENTS
from benchmarks.workload import checkpoint
from rerank.catalog.built_in import EMBEDDED_MODEL_ID

FOUND = ("thin-64", "qwen3-thin")
"""Models that lie in the models folder."""
NAMED = ("thin-80",)
"""Models that only the models file names."""
TIMEOUT = 180
"""Seconds that a request may take."""
_BUDGET = "380MB"


def furnish(checkpoints: Path, home: Path, helpers: Helpers) -> tuple[Contestant, ModelsFile]:
    """A server with its models in a folder of its own, and its models file. Checkpoints are made once."""
    shutil.rmtree(home / "models", ignore_errors=True)
    for model in FOUND:
        shutil.copytree(checkpoint(model, checkpoints), home / "models" / model)
    named = [checkpoint(model, checkpoints) for model in NAMED]
    file = ModelsFile(home / "models.toml", named, upstream_cards(helpers) + _ROUTES)
    file.write()
    return _server(home, file, helpers.cache), file


def upstream_cards(helpers: Helpers) -> str:
    """Cards of models behind upstreams."""
    return "".join(
        f'[[model]]\nid = "{UPSTREAMS[manner]}"\n'
        f'upstream = {{ api = "vllm", url = "http://127.0.0.1:{helper.port}", timeout = {_UPSTREAM_SECONDS} }}\n'
        for manner, helper in helpers.upstreams.items()
    )


_UPSTREAM_SECONDS = 3
_ROUTES = f"""
[[model]]
id = "{ALWAYS}"
fallback = {json.dumps(FALLBACK)}
[[model]]
id = "{QUICK}"
cascade = [{{ model = "{CASCADE[0]}", keep = {KEEP} }}, {{ model = "{CASCADE[1]}" }}]
[[model]]
id = "{BLEND}"
ensemble = {{ models = {json.dumps(ENSEMBLE)}, fusion = "mean", missing = "degrade" }}
"""


class ModelsFile:
    """The models file, which changes whenever it is written: a model's card, a card that is never asked for, or all."""

    def __init__(self, path: Path, folders: Sequence[Path], others: str) -> None:
        """``others``: cards that are always there."""
        self.path = path
        self._folders = folders
        self._others = others
        self._turn = 0

    def write(self) -> bool:
        """The next content, whole at once; whether a server can read it."""
        wrong = self._turn % 4 == 3
        content = "[[model]\n" if wrong else "".join(self._cards()) + self._others
        fresh = self.path.with_suffix(".new")
        fresh.write_text(content, encoding="utf-8")
        fresh.replace(self.path)
        self._turn += 1
        return not wrong

    def _cards(self) -> list[str]:
        # another length has the model loaded again, and every text here is shorter
        length = 512 - self._turn % 2
        cards = [f'[[model]]\nid = "{one.name}"\npath = "{one}"\nmax_length = {length}\n' for one in self._folders]
        return cards + ['[[model]]\nid = "soak/nobody-asks"\n'] * (self._turn % 2)


def _server(home: Path, file: ModelsFile, cache: str) -> Contestant:
    plain = ours(home / "models" / FOUND[0], "fp32")
    environment = {
        "RERANK_DEFAULT_MODEL": EMBEDDED_MODEL_ID,
        "RERANK_PRELOAD": EMBEDDED_MODEL_ID,
        "RERANK_MODELS_FILE": str(file.path),
        "RERANK_MEMORY_BUDGET": _BUDGET,
        "RERANK_CACHE": cache,
        "RERANK_API_KEY": KEY,
        "RERANK_ADMIN_KEY": ADMIN_KEY,
        "RERANK_HOST": "127.0.0.1",
        "RERANK_TIMEOUT": str(TIMEOUT),
        "RERANK_RECEIVE_TIMEOUT": "3",
        "RERANK_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "RERANK_MAX_DOCUMENTS": str(MAX_DOCUMENTS),
    }
    return Contestant("server", plain.command, plain.environment | environment)
