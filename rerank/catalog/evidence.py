"""Evidence in a checkpoint's small files: how its model was saved, its modules, its template."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rerank.catalog.folder_files import MOST_BYTES, broken, reading
from rerank.catalog.ports import Port
from rerank.text_file import read_json, read_text

_ROLES = tuple(re.compile(rf"""(["']){role}\1""") for role in ("query", "document"))
"""A template of a reranker reads a message for each of them."""
_ANSWERS = tuple(re.compile(rf"\b{word}\b") for word in ("yes", "no"))


@dataclass(frozen=True, slots=True)
class Module:
    """One module of ``modules.json``."""

    type: str
    path: str

    @property
    def kind(self) -> str:
        """Name of its class."""
        return self.type.rsplit(".", 1)[-1]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a folder says of its model."""

    folder: Path
    config: Mapping[str, Any]
    architecture: str
    saved_as: str | None
    """The class of sentence-transformers that saved it, in versions that say so."""
    modules: tuple[Module, ...]
    template: str | None
    """The chat template of its tokenizer."""
    port: Port | None = None
    """The layout of other names that it is published in; ``config`` is in the words of transformers."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the modules' classes, in order."""
        return tuple(module.kind for module in self.modules)

    @property
    def asks(self) -> bool:
        """True if the template has a place for a query and for a document."""
        return self.template is not None and all(role.search(self.template) for role in _ROLES)

    @property
    def names_yes_and_no(self) -> bool:
        """True if the template asks, and says that the answer is yes or no."""
        return self.asks and all(answer.search(self.template or "") for answer in _ANSWERS)

    @property
    def late_interaction(self) -> bool:
        """True for a ColBERT, as PyLate, sentence-transformers or Stanford's own code saved it."""
        return (
            self.saved_as in ("MultiVectorEncoder", "ColBERT")
            or "colbert" in self.architecture.casefold()
            or any(module.type.startswith("pylate.") or "multi_vector" in module.type for module in self.modules)
        )

    @property
    def chain_scores(self) -> bool:
        """True if the modules end in one number per pair."""
        kinds = self.kinds
        if "LogitScore" in kinds:
            return True
        if "Dense" not in kinds[-1:]:
            return False
        return "Pooling" not in kinds or self._last_dense().get("out_features") == 1

    def _last_dense(self) -> Mapping[str, Any]:
        path = PurePosixPath(self.modules[-1].path)
        if path.is_absolute() or ".." in path.parts:
            return {}
        return _object(self.folder / path / "config.json")


def read_evidence(folder: Path, config: Mapping[str, Any], architecture: str, port: Port | None = None) -> Evidence:
    """The evidence next to a folder's ``config.json``. Raises WeightsBroken naming a file that makes no sense."""
    saved_as = _object(folder / "config_sentence_transformers.json").get("model_type")
    return Evidence(
        folder=folder,
        config=config,
        architecture=architecture,
        saved_as=saved_as if isinstance(saved_as, str) else None,
        modules=read_modules(folder),
        template=_template(folder),
        port=port,
    )


def read_modules(folder: Path) -> tuple[Module, ...]:
    """The modules that sentence-transformers saved, in order; none if it did not save any. Raises WeightsBroken."""
    file = folder / "modules.json"
    listed = _read(file)
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise broken(file, "is not a JSON list")
    return tuple(
        Module(str(module.get("type", "")), str(module.get("path", "")))
        for module in listed
        if isinstance(module, dict)
    )


def _template(folder: Path) -> str | None:
    """The default chat template, in the places where transformers looks for it."""
    file = folder / "chat_template.jinja"
    with reading(file):
        if file.is_file():
            return read_text(file, MOST_BYTES)
    template = _object(folder / "tokenizer_config.json").get("chat_template")
    if isinstance(template, list):
        named = (entry for entry in template if isinstance(entry, dict) and entry.get("name") == "default")
        template = next(named, {}).get("template")
    return template if isinstance(template, str) else None


def _object(file: Path) -> Mapping[str, Any]:
    content = _read(file)
    return content if isinstance(content, dict) else {}


def _read(file: Path) -> Any:
    """The file as JSON; None where there is none. Raises WeightsBroken."""
    with reading(file):
        return read_json(file, MOST_BYTES) if file.is_file() else None
