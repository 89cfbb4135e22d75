"""Published scores of real models, the reference of `rerank verify`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class GoldenPair:
    """A pair and its published raw logit."""

    query: str
    document: str
    logit: float
    tolerance: float
    """Allowed difference in fp32; wide where the known score was measured in half precision."""

    @property
    def half_tolerance(self) -> float:
        """Allowed difference in bf16 and fp16, whose steps are thousands of times wider: 50 x, at most 0.1."""
        return max(self.tolerance, min(50 * self.tolerance, 0.1))


_FRANCE = "What is the capital of France?"
_PANDA = "what is panda?"
_GIANT_PANDA = (
    "The giant panda (Ailuropoda melanoleuca), sometimes called a panda bear or simply panda, is a bear species "
    "endemic to China."
)
_RED = "Which planet is known as the Red Planet?"
_VENUS = "Venus is often called Earth's twin because of its similar size and proximity."
_MARS = "Mars, known for its reddish appearance, is often referred to as the Red Planet."
_JUPITER = "Jupiter, the largest planet in our solar system, has a prominent red spot."
_SATURN = "Saturn, famous for its rings, is sometimes mistaken for the Red Planet."
_BERLIN = "How many people live in Berlin?"
_CHINA = "What is the capital of China?"
_BEIJING = "The capital of China is Beijing."
_GRAVITY = (
    "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and is "
    "responsible for the movement of planets around the sun."
)
_EXERCISE = "What are the health benefits of exercise? Prioritize recent medical research"
_PROTEIN = "how much protein should a female eat?"
_COLA = "What is the price of coca cola?"
_APPLE = "Where was Apple founded?"
_BREAD = "How do I bake sourdough bread?"
_M3 = "BGE M3 is an embedding model supporting dense retrieval, lexical matching and multi-vector interaction."
_BM25 = (
    "BM25 is a bag-of-words retrieval function that ranks a set of documents based on the query terms appearing in "
    "each document"
)


def _logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def _planets(*logits: float | None) -> tuple[GoldenPair, ...]:
    """What a model gives to Venus, Mars, Jupiter and Saturn; None for a probability too near to 0 or 1 to tell.

    UKPLab/sentence-transformers, tests/cross_encoder/test_pretrained.py (bf16).
    """
    documents = (_VENUS, _MARS, _JUPITER, _SATURN)
    return tuple(
        GoldenPair(_RED, document, logit, 0.3)
        for document, logit in zip(documents, logits, strict=True)
        if logit is not None
    )


def _gravity(*cosines: float) -> tuple[GoldenPair, ...]:
    """What an embedding model gives to two queries, each with the documents on Beijing and on gravity."""
    pairs = product((_CHINA, "Explain gravity"), (_BEIJING, _GRAVITY))
    return tuple(
        GoldenPair(query, document, cosine, 1e-2) for (query, document), cosine in zip(pairs, cosines, strict=True)
    )


_MINILM_L6 = (
    # UKPLab/sentence-transformers, documentation of the ms-marco models (fp32)
    GoldenPair(
        _BERLIN,
        "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
        8.607138,
        2e-3,
    ),
    GoldenPair(_BERLIN, "Berlin is well known for its museums.", -4.3200774, 2e-3),
    # qdrant/fastembed, tests/test_text_cross_encoder.py (ONNX, fp32)
    GoldenPair(_FRANCE, "Paris is the capital of France.", 8.500708, 2e-3),
    GoldenPair(_FRANCE, "Berlin is the capital of Germany.", -2.541011, 2e-3),
    *_planets(-6.53125, 9.6875, 6.90625, 6.6875),
)
_MINILM_L12 = (
    # qdrant/fastembed, tests/test_text_cross_encoder.py (ONNX, fp32)
    GoldenPair(_FRANCE, "Paris is the capital of France.", 9.330912, 2e-3),
    GoldenPair(_FRANCE, "Berlin is the capital of Germany.", -2.0380247, 2e-3),
    *_planets(-7.15625, 9.5, 5.71875, 6.84375),
)
_TINYBERT = _planets(-10.875, 7.0, 5.875, 5.6875)

GOLDEN: dict[str, tuple[GoldenPair, ...]] = {
    # qdrant/fastembed, tests/test_text_cross_encoder.py (ONNX, fp32)
    "BAAI/bge-reranker-base": (
        GoldenPair(_FRANCE, "Paris is the capital of France.", 6.15733337, 2e-3),
        GoldenPair(_FRANCE, "Berlin is the capital of Germany.", -3.65939403, 2e-3),
        *_planets(_logit(0.87891), None, None, _logit(0.05029)),
    ),
    # FlagOpen/FlagEmbedding, tutorial 5.1 (fp32)
    "BAAI/bge-reranker-large": (
        GoldenPair(_PANDA, "Today is a sunny day", -9.474676132202148, 2e-3),
        GoldenPair(
            _PANDA,
            "The tiger (Panthera tigris) is a member of the genus Panthera and the largest living cat species native "
            "to Asia.",
            -2.823843240737915,
            2e-3,
        ),
        GoldenPair(_PANDA, _GIANT_PANDA, 5.76226806640625, 2e-3),
        *_planets(_logit(0.69922), None, None, _logit(0.81641)),
    ),
    # FlagOpen/FlagEmbedding, README (measured in fp16, hence the wider tolerance)
    "BAAI/bge-reranker-v2-m3": (
        GoldenPair("query", "passage", -5.65234375, 2e-2),
        GoldenPair(_PANDA, "hi", -8.1875, 2e-2),
        GoldenPair(_PANDA, _GIANT_PANDA, 5.26171875, 2e-2),
        *_planets(_logit(0.01855), None, _logit(0.78906), None),
    ),
    # UKPLab/sentence-transformers, tests/cross_encoder/test_model.py (fp32)
    "Qwen/Qwen3-Reranker-0.6B": (
        GoldenPair(_RED, _VENUS, -3.109297752380371, 2e-3),
        GoldenPair(_RED, _MARS, 7.120389938354492, 2e-3),
        GoldenPair(_RED, _JUPITER, -0.3787546157836914, 2e-3),
        GoldenPair(_RED, _SATURN, 3.541637420654297, 2e-3),
        # the model's card (bf16)
        GoldenPair(_CHINA, _BEIJING, 7.625, 0.3),
        GoldenPair(_CHINA, _GRAVITY, -11.375, 0.3),
    ),
    # the model's card (bf16)
    "Qwen/Qwen3-Reranker-4B": (
        GoldenPair(_CHINA, _BEIJING, 6.4375, 0.3),
        GoldenPair(_CHINA, _GRAVITY, -14.375, 0.3),
    ),
    # QwenLM/Qwen3-Embedding, issue 71 (probabilities in bf16)
    "Qwen/Qwen3-Reranker-8B": (
        GoldenPair(_COLA, "The price of coca cola is 400 dollars.", _logit(0.962890625), 0.3),
        GoldenPair(_COLA, "Coca cola is my favorite drink", _logit(9.840726852416992e-05), 0.3),
        GoldenPair(_COLA, "Sprite is my favorite drink", _logit(3.933906555175781e-06), 0.3),
        GoldenPair(_COLA, "Qwen3 is powerful", _logit(2.2292137145996094e-05), 0.3),
    ),
    # the model's card (bf16)
    "zeroentropy/zerank-2": (
        GoldenPair("What is 2+2?", "4", 5.4062, 0.3),
        GoldenPair("What is 2+2?", "The answer is definitely 1 million", -4.5, 0.3),
    ),
    # UKPLab/sentence-transformers, tests/cross_encoder/test_pretrained.py (bf16; sigmoid of a fifth)
    "zeroentropy/zerank-1-small": tuple(
        GoldenPair(_RED, document, 5 * _logit(score), 0.5)
        for document, score in ((_VENUS, 0.09428), (_MARS, 0.83889), (_JUPITER, 0.12052), (_SATURN, 0.2184))
    ),
    # the model's card (bf16), where the end of the query is an instruction
    "ContextualAI/ctxl-rerank-v2-instruct-multilingual-6b": (
        GoldenPair(_EXERCISE, "A 2024 study shows exercise enhances cognitive function in older adults.", -2.2969, 0.3),
        GoldenPair(
            _EXERCISE, "Regular exercise reduces risk of heart disease and improves mental health.", -4.6875, 0.3
        ),
        GoldenPair(_EXERCISE, "Ancient Greeks valued physical fitness for military training.", -12.375, 0.3),
    ),
    # FlagOpen/FlagEmbedding, tutorial 5.2 (fp16)
    "BAAI/bge-reranker-v2-gemma": (GoldenPair("query", "passage", 1.974609375, 0.1),),
    # the model's card (bf16)
    "nvidia/llama-nemotron-rerank-1b-v2": (
        GoldenPair(
            _PROTEIN,
            "As a general guideline, the CDC's average requirement of protein for women ages 19 to 70 is 46 grams per "
            "day. But, as you can see from this chart, you'll need to increase that if you're expecting or training "
            "for a marathon. Check out the chart below to see how much protein you should be eating each day.",
            20.625,
            0.5,
        ),
        GoldenPair(
            _PROTEIN,
            "Calorie intake should not fall below 1,200 a day in women or 1,500 a day in men, except under the "
            "supervision of a health professional.",
            -0.2617,
            0.5,
        ),
    ),
    # each under both of its names on the Hub
    "cross-encoder/ms-marco-MiniLM-L6-v2": _MINILM_L6,
    "cross-encoder/ms-marco-MiniLM-L-6-v2": _MINILM_L6,
    "cross-encoder/ms-marco-MiniLM-L12-v2": _MINILM_L12,
    "cross-encoder/ms-marco-MiniLM-L-12-v2": _MINILM_L12,
    "cross-encoder/ms-marco-TinyBERT-L2-v2": _TINYBERT,
    "cross-encoder/ms-marco-TinyBERT-L-2-v2": _TINYBERT,
    "cross-encoder/mmarco-mMiniLMv2-L12-H384-v1": _planets(-3.28125, 10.1875, 3.4375, 7.46875),
    "Alibaba-NLP/gte-reranker-modernbert-base": (
        # huggingface/text-embeddings-inference, snapshots of its tests (fp32)
        GoldenPair("What is Deep Learning?", "Deep Learning is not...", 2.13616, 5e-3),
        *_planets(_logit(0.80859), _logit(0.95312), _logit(0.875), _logit(0.91797)),
    ),
    "Alibaba-NLP/gte-multilingual-reranker-base": (
        # huggingface/text-embeddings-inference, snapshots of its tests (fp32)
        GoldenPair("What is Deep Learning?", "Deep Learning is not...", -0.74173266, 5e-3),
        # the model's card (fp16)
        GoldenPair("中国的首都在哪儿", "北京", 1.2315, 2e-2),
        GoldenPair("what is the capital of China?", "北京", 0.5923, 2e-2),
        GoldenPair("how to implement quick sort in python?", "Introduction of quick sort", 0.3041, 2e-2),
        *_planets(_logit(0.38672), _logit(0.85156), _logit(0.70312), _logit(0.65234)),
    ),
    "jinaai/jina-reranker-v2-base-multilingual": (
        # qdrant/fastembed, tests/test_text_cross_encoder.py (ONNX)
        GoldenPair(_FRANCE, "Paris is the capital of France.", 1.6533, 5e-2),
        GoldenPair(_FRANCE, "Berlin is the capital of Germany.", -1.6455, 5e-2),
        *_planets(_logit(0.23633), _logit(0.71484), _logit(0.50391), _logit(0.31055)),
    ),
    "mixedbread-ai/mxbai-rerank-xsmall-v1": _planets(_logit(0.21484), _logit(0.9375), _logit(0.57031), _logit(0.72656)),
    "mixedbread-ai/mxbai-rerank-base-v1": _planets(_logit(0.05176), None, _logit(0.71484), _logit(0.16895)),
    "mixedbread-ai/mxbai-rerank-large-v1": _planets(None, None, _logit(0.80469), _logit(0.3418)),
    "ibm-granite/granite-embedding-reranker-english-r2": _planets(
        _logit(0.78906), None, _logit(0.89062), _logit(0.94141)
    ),
    # huggingface/blog, ettin-reranker.md (precision not said)
    "cross-encoder/ettin-reranker-32m-v1": _planets(6.21, 10.82, 8.55, 9.86),
    "cross-encoder/ettin-reranker-150m-v1": _planets(4.875, 11.625, 7.375, 10.3125),
    "cross-encoder/ettin-reranker-68m-v1": (
        # the model's card (bf16)
        *_planets(6.375, 11.5, 7.625, 10.4375),
        GoldenPair(_APPLE, "Steve Jobs introduced the iPhone in 2007 at Macworld.", 4.71, 0.3),
        GoldenPair(_APPLE, "The Fuji apple is an apple cultivar developed in the late 1930s.", 1.96, 0.3),
        GoldenPair(_APPLE, "Macintosh computers were sold by Apple from 1984 onward.", 1.49, 0.3),
    ),
    # huggingface/blog on sentence-transformers 5.4 (precision not said)
    "mixedbread-ai/mxbai-rerank-base-v2": (
        GoldenPair(_BREAD, "The history of bread dates back to ancient Egypt around 8000 BCE.", -2.6217823, 0.3),
        GoldenPair(
            _BREAD,
            "To bake sourdough, mix your starter with flour, water, and salt, then let it rise overnight.",
            8.724761,
            0.3,
        ),
    ),
    # cosines of the models' cards (precision not said)
    "Qwen/Qwen3-Embedding-0.6B": _gravity(0.76456, 0.14143, 0.1355, 0.59995),
    "Qwen/Qwen3-Embedding-4B": _gravity(0.7534, 0.1147, 0.0320, 0.6258),
    "Qwen/Qwen3-Embedding-8B": _gravity(0.7493, 0.0751, 0.0880, 0.6318),
    "Alibaba-NLP/gte-multilingual-base": tuple(
        GoldenPair("what is the capital of China?", document, cosine, 1e-3)
        for document, cosine in (
            ("how to implement quick sort in python?", 0.3016997),
            ("北京", 0.750387),
            ("快排算法介绍", 0.3203085),
        )
    ),
    # the same in fp16
    "BAAI/bge-m3": tuple(
        GoldenPair(query, document, cosine, 5e-3)
        for query, document, cosine in (
            ("What is BGE M3?", _M3, 0.6265),
            ("What is BGE M3?", _BM25, 0.3477),
            ("Defination of BM25", _M3, 0.3499),
            ("Defination of BM25", _BM25, 0.678),
        )
    ),
    "google/embeddinggemma-300m": tuple(
        GoldenPair(_RED, document, cosine, 1e-2)
        for document, cosine in ((_VENUS, 0.3011), (_MARS, 0.6359), (_JUPITER, 0.493), (_SATURN, 0.4889))
    ),
    # cosines of sentence-transformers 6.2 on the embedded weights (fp32)
    "sentence-transformers/all-MiniLM-L6-v2": (
        GoldenPair(_FRANCE, "Berlin is the capital of Germany.", 0.4033600389957428, 1e-4),
        GoldenPair(_FRANCE, "Paris is the capital of France.", 0.8560698032379150, 1e-4),
        GoldenPair(_FRANCE, "I like cheese.", 0.1021664738655090, 1e-4),
    ),
}
"""By model id."""


def known_scores(model_id: str) -> tuple[GoldenPair, ...]:
    """Of a model, which may go without its publisher's name, as a folder's does; empty if there are none."""
    names = (name for name in GOLDEN if model_id in (name, name.rsplit("/", 1)[-1]))
    return next((GOLDEN[name] for name in names), ())
