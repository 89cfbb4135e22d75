"""Model cards: what is known of a model before it is loaded. Data only; nothing is guessed from a name."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal

from rerank.activations import SIGMOID, Activation
from rerank.catalog.families import BI_ENCODER
from rerank.catalog.prompts import (
    BGE_RERANKER_V2_GEMMA,
    CTXL_RERANK_V2,
    LLAMA_NEMOTRON_RERANK,
    MXBAI_RERANK_V2,
    QWEN3_RERANKER,
    ZERANK_1,
    ZERANK_2,
    PromptFormat,
)
from rerank.errors import SettingsError

Precision = Literal["auto", "fp32", "bf16", "fp16", "int8"]

EMBEDDED_MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
LARGE_MODEL_ID = "BAAI/bge-reranker-large"
MULTILINGUAL_MODEL_ID = "BAAI/bge-reranker-v2-m3"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """One model: its names, where it comes from, and what overrides its checkpoint."""

    id: str
    """The name the model is served under, for example ``BAAI/bge-reranker-base``."""
    aliases: tuple[str, ...] = ()
    repo: str | None = None
    """Hub repository; None for a model that exists only on disk."""
    revision: str | None = None
    """Branch, tag or commit of the repository; None means its default branch."""
    path: Path | None = None
    """Folder of the weights; None means ``<models_dir>/<basename>``, then the Hub."""
    family: str | None = None
    """Name in ``FAMILIES``; None lets the checkpoint's ``config.json`` decide."""
    max_length: int | None = None
    """Maximum tokens per pair; None means what the checkpoint supports."""
    instruction: str | None = None
    """The default instruction, for models that take one."""
    prompt: PromptFormat | None = None
    """How a causal reranker is asked; None lets the checkpoint decide."""
    activation: Activation | None = None
    """How logits become relevance, with the scale of the models file; None means as the checkpoint says."""
    precision: Precision | None = None
    """None means the server's; ``auto`` what suits the device."""
    shorter_vectors: bool = False
    """True allows ``dimensions`` to cut an embedding model's vectors: it was trained so (Matryoshka)."""
    special_tokens_in_text: bool = False
    """True reads ``<|im_end|>`` in a user's text as the special token, as the reference does: it can forge a prompt."""
    sha256: str | None = None
    """Expected hash of ``model.safetensors``; a mismatch refuses the load."""
    trust_remote_code: bool = False
    """True runs the checkpoint's own Python files."""
    pinned: bool = False
    """True keeps the model in memory even if another model needs the room."""
    keep_alive: float | None = None
    """Seconds without a request until the model is unloaded; 0 means never, None the server's setting."""
    download_bytes: int | None = None
    """Rough size of the download, for people choosing from a list."""
    languages: str = ""
    """Languages and purpose, for people choosing from a list."""

    @property
    def basename(self) -> str:
        """Last component of the id: the name of the model's folder."""
        return self.id.rsplit("/", 1)[-1]

    def loads_like(self, other: ModelCard) -> bool:
        """True if a model loaded for one card is what the other describes."""
        return all(getattr(self, name) == getattr(other, name) for name in _LOADED_BY)


_LOADED_BY = {field.name for field in fields(ModelCard)} - {
    *("aliases", "pinned", "keep_alive", "download_bytes", "languages"),
}
"""Fields that a load depends on; the others concern names, people and residency."""

EMBEDDED = ModelCard(
    id=EMBEDDED_MODEL_ID,
    family=BI_ENCODER,
    max_length=256,
    # of the published model; the package that carries the files is not its publisher
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    languages="English only; bundled with the server",
)

_ASKED = "takes an instruction"
_CTXL = "ContextualAI/ctxl-rerank-v2-instruct-multilingual"
# Qwen3-Reranker's authors take the sigmoid, though what sentence-transformers saved with it asks for raw logits.
# Sizes follow from the published configurations: parameters x 4 bytes (fp32), for language models x 2 (bf16).
BUILT_IN: tuple[ModelCard, ...] = (
    ModelCard(
        id="BAAI/bge-reranker-base",
        repo="BAAI/bge-reranker-base",
        max_length=512,
        download_bytes=1_130_000_000,
        languages="Chinese and English",
    ),
    ModelCard(
        id=LARGE_MODEL_ID,
        repo=LARGE_MODEL_ID,
        max_length=512,
        download_bytes=2_260_000_000,
        languages="Chinese and English",
    ),
    ModelCard(
        id=MULTILINGUAL_MODEL_ID,
        repo=MULTILINGUAL_MODEL_ID,
        # fine-tuned at 1024 and recommended so by its authors, though positions reach 8192
        max_length=1024,
        download_bytes=2_290_000_000,
        languages="100+ languages",
    ),
    ModelCard(
        id="Qwen/Qwen3-Reranker-0.6B",
        repo="Qwen/Qwen3-Reranker-0.6B",
        max_length=8192,
        prompt=QWEN3_RERANKER,
        activation=SIGMOID,
        download_bytes=1_200_000_000,
        languages="100+ languages; takes an instruction",
    ),
    ModelCard(
        id="Qwen/Qwen3-Reranker-4B",
        repo="Qwen/Qwen3-Reranker-4B",
        max_length=8192,
        prompt=QWEN3_RERANKER,
        activation=SIGMOID,
        download_bytes=8_100_000_000,
        languages="100+ languages; takes an instruction; for a GPU",
    ),
    ModelCard(
        id="Qwen/Qwen3-Reranker-8B",
        repo="Qwen/Qwen3-Reranker-8B",
        max_length=8192,
        prompt=QWEN3_RERANKER,
        activation=SIGMOID,
        download_bytes=16_400_000_000,
        languages="100+ languages; takes an instruction; for a GPU",
    ),
    *(
        ModelCard(
            id=name,
            # the Hub's newer name of some
            aliases=(f"{name}-reranker",) if name.startswith("zeroentropy/") else (),
            repo=name,
            max_length=tokens,
            prompt=prompt,
            download_bytes=size,
            languages=languages,
        )
        for name, prompt, tokens, size, languages in (
            ("mixedbread-ai/mxbai-rerank-base-v2", MXBAI_RERANK_V2, 8192, 990_000_000, f"100+ languages; {_ASKED}"),
            ("mixedbread-ai/mxbai-rerank-large-v2", MXBAI_RERANK_V2, 8192, 3_090_000_000, f"100+ languages; {_ASKED}"),
            ("zeroentropy/zerank-2", ZERANK_2, 8192, 8_040_000_000, "100+ languages; for a GPU"),
            ("zeroentropy/zerank-1", ZERANK_1, 8192, 8_040_000_000, "English; for a GPU"),
            ("zeroentropy/zerank-1-small", ZERANK_1, 8192, 3_440_000_000, "English; for a GPU"),
            (f"{_CTXL}-1b", CTXL_RERANK_V2, 8192, 2_000_000_000, f"100+ languages; {_ASKED}"),
            (f"{_CTXL}-2b", CTXL_RERANK_V2, 8192, 4_000_000_000, f"100+ languages; {_ASKED}; for a GPU"),
            (f"{_CTXL}-6b", CTXL_RERANK_V2, 8192, 14_500_000_000, f"100+ languages; {_ASKED}; for a GPU"),
            ("BAAI/bge-reranker-v2-gemma", BGE_RERANKER_V2_GEMMA, 1024, 10_000_000_000, "100+ languages; for a GPU"),
            ("nvidia/llama-nemotron-rerank-1b-v2", LLAMA_NEMOTRON_RERANK, 8192, 2_470_000_000, "26 languages"),
        )
    ),
    EMBEDDED,
)


_KNOWN_PROMPTS = {card.repo.casefold(): card.prompt for card in BUILT_IN if card.repo and card.prompt} | {
    f"tomaarsen/qwen3-reranker-{size}-seq-cls": QWEN3_RERANKER for size in ("0.6b", "4b", "8b")
}
"""By repositories whose files do not always say how their models are asked."""


def known_prompt(card: ModelCard) -> PromptFormat | None:
    """How the model of a card is asked where neither card nor folder say so; None for models that are not known."""
    names = (name.casefold() for name in (card.repo, card.id) if name)
    return next((_KNOWN_PROMPTS[name] for name in names if name in _KNOWN_PROMPTS), None)


def merge_cards(built_in: tuple[ModelCard, ...], added: tuple[ModelCard, ...]) -> tuple[ModelCard, ...]:
    """The user's cards first; one with a built-in id replaces that card.

    It keeps what people read, and the built-in prompt and activation unless it names its own. Raises SettingsError
    where a name of the user's means two cards.
    """
    described = {card.id.casefold(): card for card in built_in}
    merged = []
    for card in added:
        known = described.pop(card.id.casefold(), None)
        merged.append(_completed(card, known) if known else card)
    merged += described.values()
    _refuse_doubles(merged)
    return tuple(merged)


def _completed(card: ModelCard, known: ModelCard) -> ModelCard:
    return replace(
        card,
        prompt=card.prompt or known.prompt,
        activation=card.activation or known.activation,
        languages=known.languages,
        download_bytes=known.download_bytes,
    )


def _refuse_doubles(cards: list[ModelCard]) -> None:
    seen: set[str] = set()
    for card in cards:
        names = {name.casefold() for name in (card.id, *card.aliases)}
        if shared := names & seen:
            raise SettingsError(f"the models file gives the name {min(shared)!r} to two models")
        seen |= names
