"""What the files of a late-interaction model say of how it reads texts, in the three layouts they are published in."""

from __future__ import annotations

import string
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.weight_files import WEIGHTS_FILE
from rerank.errors import ModelUnsupported
from rerank.scorers.pretrained import read_json
from rerank.scorers.saved_modules import SavedModules, saved_modules, saved_prompts

_METADATA = "artifact.metadata"
_SETTINGS = "config_sentence_transformers.json"
_PUNCTUATION = tuple(string.punctuation)
_MAX_SIM = (None, "maxsim", "cosine")
"""Names of the similarity; PyLate called it cosine once."""
_IDENTITIES = (None, "torch.nn.modules.linear.Identity")
_PYLATE_SETTINGS = {
    "__version__",
    "attend_to_expansion_tokens",
    "default_prompt_name",
    "do_query_expansion",
    "document_length",
    "document_prefix",
    "model_type",
    "prompts",
    "query_length",
    "query_prefix",
    "similarity_fn_name",
    "skiplist_words",
}
_ROLE_SETTINGS = {"query_length", "document_length", "query_expansion"}
"""Of the first module, which sentence-transformers saves with a late-interaction model only."""
_DENSE_SETTINGS = {
    "activation_function",
    "bias",
    "in_features",
    "module_input_name",
    "module_output_name",
    "out_features",
    "use_residual",
}
_TOKENS = (None, "token_embeddings")


@dataclass(frozen=True, slots=True)
class Side:
    """How the texts of one side, queries or documents, are read."""

    length: int | None
    """Tokens that are kept; None for as many as the tokenizer says."""
    marker: str | None = None
    """The token behind the first one."""
    prompt: str = ""
    """Put in front of the text."""


@dataclass(frozen=True, slots=True)
class Expansion:
    """Tokens that are added to a query, each with a vector of its own."""

    length: int
    """Tokens of a query with them."""
    attended: bool
    """True if other tokens see them, as they see the others."""
    cuts: bool = True
    """True if a longer query is cut to that length."""
    token: str | None = None
    """None for the tokenizer's mask."""


@dataclass(frozen=True, slots=True)
class Projection:
    """One linear layer behind the body."""

    files: tuple[Path, ...]
    bias: bool = False
    residual: bool = False
    """True if its input is added to its output, itself or through a layer of its own."""


@dataclass(frozen=True, slots=True)
class Procedure:
    """How a late-interaction model reads texts, and what makes vectors of its tokens."""

    query: Side
    document: Side
    expansion: Expansion | None
    skipped: tuple[str, ...]
    """Tokens of a document that do not count."""
    skips_first: bool
    """True if ``skipped`` are texts, of which the first token does not count, in place of tokens."""
    projections: tuple[Projection, ...]


def unfit(folder: Path, why: str) -> ModelUnsupported:
    """The error for a late-interaction model that is not scored, because of what continues ``it``."""
    return ModelUnsupported(
        f"{folder.name} is a late-interaction model (ColBERT), and it {why}, which this server does not support for "
        "such models. Use another late-interaction model, such as lightonai/GTE-ModernColBERT-v1, or a reranker that "
        "scores each pair alone, such as BAAI/bge-reranker-v2-m3."
    )


def read_procedure(checkpoint: Checkpoint) -> Procedure:
    """The procedure of the checkpoint's folder. Raises ModelUnsupported for what is not understood."""
    folder = checkpoint.folder
    saved = saved_modules(folder)
    if saved is None:
        return _stanford(checkpoint)
    if "MultiVectorMask" in saved.kinds:
        return _sentence_transformers(folder, saved)
    return _pylate(folder, saved)


def _stanford(checkpoint: Checkpoint) -> Procedure:
    folder = checkpoint.folder
    if not (folder / _METADATA).is_file():
        raise unfit(folder, f"has neither modules of sentence-transformers nor {_METADATA}")
    metadata = read_json(folder / _METADATA)
    if metadata.get("similarity", "cosine") != "cosine":
        raise unfit(folder, f"compares tokens by {metadata['similarity']}")
    return Procedure(
        query=Side(metadata.get("query_maxlen") or 32, marker=metadata.get("query_token_id") or "[unused0]"),
        document=Side(metadata.get("doc_maxlen") or 220, marker=metadata.get("doc_token_id") or "[unused1]"),
        expansion=Expansion(metadata.get("query_maxlen") or 32, bool(metadata.get("attend_to_mask_tokens"))),
        skipped=_PUNCTUATION if metadata.get("mask_punctuation", True) else (),
        # stanford-futuredata/ColBERT, colbert/modeling/colbert.py
        skips_first=True,
        projections=(Projection(checkpoint.weight_files),),
    )


def _pylate(folder: Path, saved: SavedModules) -> Procedure:
    settings = read_json(folder / _SETTINGS)
    _check_names(folder, settings, _PYLATE_SETTINGS)
    _check_similarity(folder, settings)
    if set(saved.kinds[1:]) != {"Dense"}:
        raise unfit(folder, f"has the modules {', '.join(saved.kinds)}")
    if any(saved_prompts(folder).values()):
        raise unfit(folder, "has prompts next to its prefixes")
    _check_body(folder, saved)
    length = settings.get("query_length") or 32
    expands = settings.get("do_query_expansion") is not False
    skipped = settings.get("skiplist_words")
    return Procedure(
        query=Side(length, marker=settings.get("query_prefix") or "[Q] "),
        document=Side(settings.get("document_length") or 180, marker=settings.get("document_prefix") or "[D] "),
        expansion=Expansion(length, bool(settings.get("attend_to_expansion_tokens"))) if expands else None,
        skipped=_PUNCTUATION if skipped is None else tuple(skipped),
        skips_first=False,
        projections=_projections(folder, saved),
    )


def _sentence_transformers(folder: Path, saved: SavedModules) -> Procedure:
    _check_similarity(folder, read_json(folder / _SETTINGS))
    if sorted(kind for kind in saved.kinds[1:] if kind != "Dense") != ["MultiVectorMask", "Normalize"]:
        raise unfit(folder, f"has the modules {', '.join(saved.kinds)}")
    others = {name: value for name, value in saved.settings.items() if name not in _ROLE_SETTINGS}
    _check_body(folder, replace(saved, settings=others))
    prompts = saved_prompts(folder)
    return Procedure(
        query=Side(saved.settings.get("query_length"), prompt=prompts["query"] or ""),
        document=Side(saved.settings.get("document_length"), prompt=prompts["document"] or ""),
        expansion=_saved_expansion(folder, saved.settings.get("query_expansion")),
        skipped=_saved_mask(folder, saved),
        skips_first=False,
        projections=_projections(folder, saved),
    )


def _saved_expansion(folder: Path, settings: Mapping[str, Any] | None) -> Expansion | None:
    if settings is None:
        return None
    if settings.get("strategy") not in ("fixed", "min"):
        raise unfit(folder, f"expands queries in the way {settings.get('strategy')}")
    cuts = settings["strategy"] == "fixed"
    return Expansion(int(settings["length"]), bool(settings.get("attend")), cuts, settings.get("token"))


def _saved_mask(folder: Path, saved: SavedModules) -> tuple[str, ...]:
    mask = read_json(folder / saved.folders[saved.kinds.index("MultiVectorMask")] / "config.json")
    if mask.get("keep_only_token_ids") or mask.get("skiplist_tasks", ["document"]) != ["document"]:
        raise unfit(folder, "leaves out tokens other than some of its documents'")
    return tuple(mask.get("skiplist_words") or ())


def _check_body(folder: Path, saved: SavedModules) -> None:
    # its own lengths of queries and documents would not count
    if not saved.is_plain("feature-extraction") or "processing_kwargs" in saved.settings:
        raise unfit(folder, "reads texts in another way than its tokenizer does")


def _check_similarity(folder: Path, settings: Mapping[str, Any]) -> None:
    name = settings.get("similarity_fn_name")
    if (name and name.casefold()) not in _MAX_SIM:
        raise unfit(folder, f"compares by {name}")


def _check_names(folder: Path, settings: Mapping[str, Any], known: set[str]) -> None:
    if unknown := sorted(settings.keys() - known):
        raise unfit(folder, f"has the setting {unknown[0]}")


def _projections(folder: Path, saved: SavedModules) -> tuple[Projection, ...]:
    modules = zip(saved.kinds[1:], saved.folders[1:], strict=True)
    found = tuple(_projection(folder, path) for kind, path in modules if kind == "Dense")
    if not found or "Dense" in saved.kinds[len(found) + 1 :]:
        raise unfit(folder, f"has the modules {', '.join(saved.kinds)}")
    return found


def _projection(folder: Path, path: str) -> Projection:
    settings = read_json(folder / path / "config.json")
    _check_names(folder, settings, _DENSE_SETTINGS)
    function = settings.get("activation_function")
    if function not in _IDENTITIES:
        raise unfit(folder, f"has the function {function} behind a projection")
    if settings.get("module_input_name") not in _TOKENS or settings.get("module_output_name") not in _TOKENS:
        raise unfit(folder, "projects something else than its tokens")
    return Projection((folder / path / WEIGHTS_FILE,), settings.get("bias", True), settings.get("use_residual", False))
