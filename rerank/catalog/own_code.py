"""Detection of Python code in a checkpoint, and permission to run it. Runs none."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rerank.catalog.cards import ModelCard
from rerank.catalog.families import BI_ENCODER
from rerank.catalog.ports import find_port
from rerank.errors import ModelUnavailable, WeightsBroken
from rerank.text_file import UnfitFile, read_json

_BYTES = 32_000_000

_CONFIGURATIONS = ("config.json", "tokenizer_config.json", "*/config.json", "*/tokenizer_config.json")
"""Files whose ``auto_map`` tells transformers to import a class from a file of the checkpoint."""


_NEVER_RUN = ("sentence_transformers.", "pylate.models.Dense.")
"""How names of modules begin whose code is installed here, or whose weights are all that is read."""
_OUTDATED = (".XLMRobertaFlashConfig", ".JinaBertConfig", "new-impl--configuration.NewConfig")
"""Classes of jina-reranker-v1, jina-embeddings and variants of those in ``ports``.

The tests of sentence-transformers skip them.
"""
_OTHER_RERANKER = (
    "Use a reranker without code of its own, such as BAAI/bge-reranker-v2-m3 or "
    "Alibaba-NLP/gte-reranker-modernbert-base."
)
_OTHER_EMBEDDINGS = "Use an embedding model without code of its own, such as BAAI/bge-m3."


def refuse_untrusted_code(folder: Path, card: ModelCard) -> None:
    """Raise ModelUnavailable if the checkpoint asks for code of its own that its card does not let run, or that cannot.

    A card with a prompt says how the model is asked; its code never runs.
    """
    asked = [] if card.prompt else [*_mapped_classes(folder), *_own_modules(folder)]
    # files in the folder may have been rewritten since they were published
    as_published = [name for name in asked if "--" in name] if card.trust_remote_code else asked
    if sentences := outdated_code(as_published, embeds=_embeds(folder, card)):
        raise ModelUnavailable(f"{card.id} cannot be used: it {sentences}")
    if not asked or card.trust_remote_code:
        return
    raise ModelUnavailable(
        f"{card.id} cannot be used: it needs Python code of its own ({', '.join(asked[:3])}), which runs only if "
        "the model's card in models.toml says `trust_remote_code = true`. Read the code first."
    )


def outdated_code(classes: Iterable[str], *, embeds: bool) -> str | None:
    """Why none of the classes runs, in sentences that continue the model's name; None if nothing is known.

    ``embeds`` is true for an embedding model, for which another one is named.
    """
    found = next((name for name in classes if name.endswith(_OUTDATED)), None)
    return found and (
        f"needs Python code of its own ({found}), which was written for version 4 of transformers and does not run "
        f"with version 5. {_OTHER_EMBEDDINGS if embeds else _OTHER_RERANKER}"
    )


def runs_own_code(folder: Path, card: ModelCard) -> bool:
    """True if the checkpoint brings code of its own and its card lets it run.

    Raises ModelUnavailable if the card does not, or if the code would come from elsewhere than the folder, and
    WeightsBroken naming a file that is not there.
    """
    refuse_untrusted_code(folder, card)
    if card.prompt:
        return False
    classes = list(_mapped_classes(folder))
    for name in classes:
        _check_local(folder, card, name)
    return bool(classes) or any(_own_modules(folder))


def _check_local(folder: Path, card: ModelCard, name: str) -> None:
    repository, _, local = name.rpartition("--")
    if repository:
        raise ModelUnavailable(
            f"{card.id} cannot be used: its code lies in another repository ({repository}), which is never fetched. "
            f"Copy the Python files into the model's folder and write `{local}` for `{name}` there."
        )
    file = f"{local.split('.', maxsplit=1)[0]}.py"
    if not (folder / file).is_file():
        raise WeightsBroken(f"{folder.name}/{file} is missing, which holds {local}")


def mapped_classes(config: Mapping[str, Any]) -> Iterator[str]:
    """The classes of its own that a configuration asks for."""
    mapped = config.get("auto_map")
    for names in mapped.values() if isinstance(mapped, dict) else ():
        # a tokenizer has two classes, of which one may be null
        yield from (name for name in (names if isinstance(names, list) else [names]) if isinstance(name, str))


def _mapped_classes(folder: Path) -> Iterator[str]:
    for pattern in _CONFIGURATIONS:
        for file in sorted(folder.glob(pattern)):
            content = _read(file)
            if isinstance(content, dict) and not find_port(content):
                yield from mapped_classes(content)


def _embeds(folder: Path, card: ModelCard) -> bool:
    """True for an embedding model, by its card or by the architecture of a body."""
    if stated := card.stated_family:
        return stated == BI_ENCODER
    config = _read(folder / "config.json")
    named = config.get("architectures") if isinstance(config, dict) else None
    return isinstance(named, list) and any(str(name).endswith(("Model", "ForMaskedLM")) for name in named[:1])


def _own_modules(folder: Path) -> Iterator[str]:
    modules = _read(folder / "modules.json")
    for module in modules if isinstance(modules, list) else ():
        kind = str(module.get("type", "")) if isinstance(module, dict) else ""
        if kind and not kind.startswith(_NEVER_RUN):
            yield kind


def _read(file: Path) -> Any:
    """The file as JSON; None if it is missing or invalid, which its reader reports."""
    try:
        return read_json(file, _BYTES)
    except (OSError, UnfitFile):
        return None
