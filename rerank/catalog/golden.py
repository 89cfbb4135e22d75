"""Scores that real models are known to give: what `rerank-server verify` compares a machine with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GoldenPair:
    """A pair and its raw logit as somebody else measured it."""

    query: str
    document: str
    logit: float
    tolerance: float
    """Allowed difference in fp32."""

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
_BERLIN = "How many people live in Berlin?"

GOLDEN: dict[str, tuple[GoldenPair, ...]] = {
    # qdrant/fastembed, tests/test_text_cross_encoder.py (ONNX, fp32)
    "BAAI/bge-reranker-base": (
        GoldenPair(_FRANCE, "Paris is the capital of France.", 6.15733337, 2e-3),
        GoldenPair(_FRANCE, "Berlin is the capital of Germany.", -3.65939403, 2e-3),
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
    ),
    # FlagOpen/FlagEmbedding, README (measured in fp16, hence the wider tolerance)
    "BAAI/bge-reranker-v2-m3": (
        GoldenPair("query", "passage", -5.65234375, 2e-2),
        GoldenPair(_PANDA, "hi", -8.1875, 2e-2),
        GoldenPair(_PANDA, _GIANT_PANDA, 5.26171875, 2e-2),
    ),
    # UKPLab/sentence-transformers, tests/cross_encoder/test_model.py (fp32)
    "Qwen/Qwen3-Reranker-0.6B": (
        GoldenPair(
            _RED,
            "Venus is often called Earth's twin because of its similar size and proximity.",
            -3.109297752380371,
            2e-3,
        ),
        GoldenPair(
            _RED,
            "Mars, known for its reddish appearance, is often referred to as the Red Planet.",
            7.120389938354492,
            2e-3,
        ),
        GoldenPair(
            _RED,
            "Jupiter, the largest planet in our solar system, has a prominent red spot.",
            -0.3787546157836914,
            2e-3,
        ),
        GoldenPair(
            _RED, "Saturn, famous for its rings, is sometimes mistaken for the Red Planet.", 3.541637420654297, 2e-3
        ),
    ),
    # UKPLab/sentence-transformers, documentation of the ms-marco models (fp32)
    "cross-encoder/ms-marco-MiniLM-L-6-v2": (
        GoldenPair(
            _BERLIN,
            "Berlin had a population of 3,520,031 registered inhabitants in an area of 891.82 square kilometers.",
            8.607138,
            2e-3,
        ),
        GoldenPair(_BERLIN, "Berlin is well known for its museums.", -4.3200774, 2e-3),
    ),
    # cosines of sentence-transformers 6.2 on the embedded weights (fp32)
    "sentence-transformers/all-MiniLM-L6-v2": (
        GoldenPair(_FRANCE, "Berlin is the capital of Germany.", 0.4033600389957428, 1e-4),
        GoldenPair(_FRANCE, "Paris is the capital of France.", 0.8560698032379150, 1e-4),
        GoldenPair(_FRANCE, "I like cheese.", 0.1021664738655090, 1e-4),
    ),
}
"""By model id."""
