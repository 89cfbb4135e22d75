"""Cards of the models that the server knows by itself.

Facts are those of the models' own pages. Sizes without a published figure follow from the published configurations:
parameters x 4 bytes (fp32), for language models x 2 (bf16).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TypeVar

from rerank.activations import SIGMOID
from rerank.catalog.cards import MANY, About, ModelCard
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, LEXICAL
from rerank.catalog.prompts import (
    BGE_RERANKER_V2_GEMMA,
    CTXL_RERANK_V2,
    LLAMA_NEMOTRON_RERANK,
    MONOPTT5,
    MONOT5,
    MT5_MMARCO,
    MT5_TRUE,
    MXBAI_RERANK_V2,
    PTT5_MSMARCO,
    QWEN3_RERANKER,
    ZERANK_1,
    ZERANK_2,
    PromptFormat,
)
from rerank.catalog.text_prompts import KNOWN_TEXT_PROMPTS, TextPrompts

T = TypeVar("T")

EMBEDDED_MODEL_ID = "sentence-transformers/all-MiniLM-L6-v2"
LARGE_MODEL_ID = "BAAI/bge-reranker-large"
LEXICAL_MODEL_ID = "lexical"
MULTILINGUAL_MODEL_ID = "BAAI/bge-reranker-v2-m3"

_APACHE, _MIT = "Apache-2.0", "MIT"
_NC, _NC_SA = "CC-BY-NC-4.0", "CC-BY-NC-SA-4.0"
_INSTRUCTED = "takes an instruction"
_CHINESE, _ENGLISH, _JAPANESE = ("zh", "en"), ("en",), ("ja",)
_OF_MMARCO = ("en", "zh", "ar", "de", "es", "fr", "hi", "id", "it", "ja", "nl", "pt", "ru", "vi")
_OF_NEMOTRON = (
    "en", "zh", "ar", "bn", "cs", "da", "de", "es", "fa", "fi", "fr", "he", "hi", "hu", "id", "it", "ja", "ko", "nl",
    "no", "pl", "pt", "ru", "sv", "th", "tr",
)  # fmt: skip
_CTXL = "ContextualAI/ctxl-rerank-v2-instruct-multilingual"


def _hub(name: str, max_length: int | None, about: About, family: str = CROSS_ENCODER) -> ModelCard:
    return ModelCard(id=name, repo=name, max_length=max_length, family=family, about=about)


def _encoders() -> Iterator[ModelCard]:
    yield _hub("BAAI/bge-reranker-base", 512, About(_CHINESE, _MIT, 278, 1_110_000_000))
    yield _hub(LARGE_MODEL_ID, 512, About(_CHINESE, _MIT, 560, 2_240_000_000))
    # fine-tuned at 1024 and recommended so by its authors, though positions reach 8192
    yield _hub(MULTILINGUAL_MODEL_ID, 1024, About(MANY, _APACHE, 568, 2_270_000_000))
    # its default branch has no safetensors
    bce = _hub("maidalun1020/bce-reranker-base_v1", 512, About(("zh", "en", "ja", "ko"), _APACHE, 279, 1_110_000_000))
    yield replace(bce, revision="refs/pr/1")
    for size, parameters in (("17m", 17), ("32m", 32), ("68m", 68), ("150m", 150), ("400m", 401), ("1b", 1000)):
        about = About(_ENGLISH, _APACHE, parameters, 4_000_000 * parameters)
        yield _hub(f"cross-encoder/ettin-reranker-{size}-v1", 7999, about)
    # their own code never runs (``ports``)
    yield _hub("Alibaba-NLP/gte-multilingual-reranker-base", 8192, About(MANY, _APACHE, 306, 612_000_000))
    jina = About(MANY, _NC, 278, 562_000_000, commercial=False)
    yield _hub("jinaai/jina-reranker-v2-base-multilingual", 1024, jina)
    yield _hub("Alibaba-NLP/gte-reranker-modernbert-base", 8192, About(_ENGLISH, _APACHE, 149, 598_000_000))
    granite = About(_ENGLISH, _APACHE, 149, 600_000_000)
    yield _hub("ibm-granite/granite-embedding-reranker-english-r2", 8192, granite)
    yield _hub("mixedbread-ai/mxbai-rerank-xsmall-v1", 512, About(_ENGLISH, _APACHE, 71, 142_000_000))
    yield _hub("mixedbread-ai/mxbai-rerank-base-v1", 512, About(_ENGLISH, _APACHE, 184, 369_000_000))
    yield _hub("mixedbread-ai/mxbai-rerank-large-v1", 512, About(_ENGLISH, _APACHE, 435, 870_000_000))
    for size, parameters in (("tiny", 29), ("xsmall", 37), ("small", 70), ("base", 130)):
        about = About(_JAPANESE, _MIT, parameters, 4_000_000 * parameters)
        yield _hub(f"hotchpotch/japanese-reranker-{size}-v2", None, about)
    yield _hub("cross-encoder/ms-marco-TinyBERT-L2-v2", 512, About(_ENGLISH, _APACHE, 4, 18_000_000))
    yield _hub("cross-encoder/ms-marco-MiniLM-L6-v2", 512, About(_ENGLISH, _APACHE, 23, 91_000_000))
    yield _hub("cross-encoder/ms-marco-MiniLM-L12-v2", 512, About(_ENGLISH, _APACHE, 33, 133_000_000))
    yield _hub("cross-encoder/mmarco-mMiniLMv2-L12-H384-v1", 512, About(_OF_MMARCO, _APACHE, 118, 471_000_000))


def _asked(name: str, prompt: PromptFormat, about: About, max_length: int = 8192) -> ModelCard:
    return replace(_hub(name, max_length, about), prompt=prompt)


def _language_models() -> Iterator[ModelCard]:
    for size, parameters in (("0.6B", 596), ("4B", 4020), ("8B", 8190)):
        about = About(MANY, _APACHE, parameters, 2_000_000 * parameters, _INSTRUCTED)
        # its authors take the sigmoid, though what sentence-transformers saved with it asks for raw logits
        yield replace(_asked(f"Qwen/Qwen3-Reranker-{size}", QWEN3_RERANKER, about), activation=SIGMOID)
    for size, parameters in (("base", 494), ("large", 1540)):
        about = About(MANY, _APACHE, parameters, 2_000_000 * parameters, _INSTRUCTED)
        yield _asked(f"mixedbread-ai/mxbai-rerank-{size}-v2", MXBAI_RERANK_V2, about)
    for name, prompt, about in (
        ("zerank-2", ZERANK_2, About(MANY, _NC, 4020, 8_040_000_000, commercial=False)),
        ("zerank-1", ZERANK_1, About(_ENGLISH, _NC, 4020, 8_040_000_000, commercial=False)),
        ("zerank-1-small", ZERANK_1, About(_ENGLISH, _APACHE, 1720, 3_440_000_000)),
    ):
        # the Hub's newer name
        yield replace(_asked(f"zeroentropy/{name}", prompt, about), aliases=(f"zeroentropy/{name}-reranker",))
    for size, parameters in (("1b", 1000), ("2b", 2000), ("6b", 7250)):
        about = About(MANY, _NC_SA, parameters, 2_000_000 * parameters, _INSTRUCTED, commercial=False)
        yield _asked(f"{_CTXL}-{size}", CTXL_RERANK_V2, about)
    gemma = About(MANY, "Apache-2.0, base under Gemma's terms", 2510, 10_020_000_000)
    yield _asked("BAAI/bge-reranker-v2-gemma", BGE_RERANKER_V2_GEMMA, gemma, max_length=1024)
    nemotron = About(_OF_NEMOTRON, "NVIDIA Open Model, Llama 3.2", 1240, 2_470_000_000)
    yield _asked("nvidia/llama-nemotron-rerank-1b-v2", LLAMA_NEMOTRON_RERANK, nemotron)


def _embedding_models() -> Iterator[ModelCard]:
    for size, parameters in (("0.6B", 596), ("4B", 4022), ("8B", 7567)):
        about = About(MANY, _APACHE, parameters, 2_000_000 * parameters, "embedding model")
        yield replace(_hub(f"Qwen/Qwen3-Embedding-{size}", 8192, about, BI_ENCODER), shorter_vectors=True)
    # its default branch has no safetensors
    bge = About(MANY, _MIT, 568, 2_270_000_000, "embedding model")
    yield replace(_hub("BAAI/bge-m3", 8192, bge, BI_ENCODER), revision="refs/pr/38")
    gte = About(MANY, _APACHE, 305, 611_000_000, "embedding model")
    yield replace(_hub("Alibaba-NLP/gte-multilingual-base", 8192, gte, BI_ENCODER), shorter_vectors=True)
    gemma = About(MANY, "Gemma", 308, 1_230_000_000, "embedding model; gated")
    yield replace(_hub("google/embeddinggemma-300m", 2048, gemma, BI_ENCODER), shorter_vectors=True)


EMBEDDED = ModelCard(
    id=EMBEDDED_MODEL_ID,
    # its name in fallbacks
    aliases=("cosine",),
    family=BI_ENCODER,
    max_length=256,
    # of the published model; the package that carries the files is not its publisher
    sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    about=About(_ENGLISH, _APACHE, 23, 91_000_000, "embedding model; bundled with the server"),
)
LEXICAL_CARD = ModelCard(id=LEXICAL_MODEL_ID, family=LEXICAL)
BUILT_IN: tuple[ModelCard, ...] = (*_encoders(), *_language_models(), *_embedding_models(), EMBEDDED, LEXICAL_CARD)

_MONOT5 = ("small-msmarco-10k", "small-msmarco-100k", "base-msmarco", "base-msmarco-10k", "base-med-msmarco")
_MONOT5_LARGE = ("large-msmarco", "large-msmarco-10k", "3b-msmarco", "3b-msmarco-10k", "3b-med-msmarco")
_MT5 = ("mmarco-v1", "mmarco-v2", "en-msmarco", "multi-msmarco", "en-pt-msmarco-v1", "en-pt-msmarco-v2")
_PTT5 = (
    "pt-msmarco-10k-v1", "pt-msmarco-10k-v2", "pt-msmarco-100k-v1", "pt-msmarco-100k-v2", "en-pt-msmarco-10k-v1",
    "en-pt-msmarco-100k-v2",
)  # fmt: skip
_KNOWN_PROMPTS = (
    {card.repo.casefold(): card.prompt for card in BUILT_IN if card.repo and card.prompt}
    | {f"tomaarsen/qwen3-reranker-{size}-seq-cls": QWEN3_RERANKER for size in ("0.6b", "4b", "8b")}
    | {f"castorini/monot5-{name}": MONOT5 for name in (*_MONOT5, *_MONOT5_LARGE)}
    | {f"unicamp-dl/mt5-base-{name}": MT5_MMARCO for name in _MT5}
    | {f"unicamp-dl/inranker-{size}": MONOT5 for size in ("small", "base", "3b")}
    | {f"unicamp-dl/mt5-{name}": MT5_TRUE for name in ("3b-mmarco-en-pt", "13b-mmarco-100k")}
    | {f"unicamp-dl/ptt5-base-{name}": PTT5_MSMARCO for name in _PTT5}
    | {f"unicamp-dl/monoptt5-{size}": MONOPTT5 for size in ("small", "base", "large", "3b")}
)
"""By repositories whose files do not always say how their models are asked."""


_DOT = (
    "msmarco-bert-base-dot-v5", "msmarco-bert-co-condensor", "msmarco-distilbert-base-dot-prod-v3",
    "msmarco-distilbert-base-tas-b", "msmarco-distilbert-dot-v5", "msmarco-roberta-base-ance-firstp",
    "multi-qa-distilbert-dot-v1", "multi-qa-minilm-l6-dot-v1", "multi-qa-mpnet-base-dot-v1",
)  # fmt: skip
_CONTRIEVERS = ("contriever", "contriever-msmarco", "mcontriever", "mcontriever-msmarco")
_COMPARED_BY_DOT = frozenset(
    (*(f"sentence-transformers/{name}" for name in _DOT), *(f"facebook/{name}" for name in _CONTRIEVERS))
)
"""Models whose pages compare vectors by their dot product, by repository."""


def known_prompt(card: ModelCard) -> PromptFormat | None:
    """How the model of a card is asked where neither card nor folder say so; None for models that are not known."""
    return _known(_KNOWN_PROMPTS, card)


def known_text_prompts(card: ModelCard) -> TextPrompts | None:
    """What an embedding model reads before texts where neither card nor folder say so; None if it is not known."""
    return _known(KNOWN_TEXT_PROMPTS, card)


def compares_by_dot(card: ModelCard) -> bool:
    """True for an embedding model whose page compares vectors by their dot product, which its files do not say."""
    return any(name in _COMPARED_BY_DOT for name in _names(card))


def _known(found: Mapping[str, T], card: ModelCard) -> T | None:
    return next((found[name] for name in _names(card) if name in found), None)


def _names(card: ModelCard) -> Iterator[str]:
    """The repositories that a card may be of."""
    return (name.casefold() for name in (card.repo, card.id) if name)
