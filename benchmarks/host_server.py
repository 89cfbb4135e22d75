"""The whole application around tokenisers alone, no model: `python -m benchmarks.host_server PORT KIND FOLDER`.

``KIND`` is ``xlm-roberta`` or ``qwen3``: tokens are read and packed as for a GPU, and every score is 0.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from tokenizers import Tokenizer

from benchmarks.host_texts import tokenizer_of
from rerank import garbage
from rerank.activations import SIGMOID
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.core import Finished, Pair, PendingLogits, ScoringOptions
from rerank.runtimes.base import TokenIds
from rerank.runtimes.segments import Segment, pack_segments
from rerank.scheduling.batching import GPU_BATCH
from rerank.scorers.base import Embedder, Reading, ReadsInParts
from rerank.scorers.causal.prompt import Prompt, PromptTokenizer
from rerank.scorers.tokens import PairTokenizer, Vocabulary
from rerank.settings import Settings
from tests.support.app import AppUnderTest

MAX_LENGTH = 8192


class _Tokens(ReadsInParts):
    """What all such scorers have in common."""

    activation = SIGMOID
    takes_instruction = False
    embedder: Embedder | None = None
    runtime = "none"
    precision = "fp32"
    padded = False
    bytes_per_token = 0
    max_length = MAX_LENGTH

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = Vocabulary(lambda: tokenizer)


class PairTokens(_Tokens):
    """Pairs as an encoder reads them."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._pairs = PairTokenizer(tokenizer)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[TokenIds]]:
        """See ``Scorer.reading``."""
        return self._pairs.pairs(pairs, options.truncation, self.max_length)

    def start(self, batch: Sequence[TokenIds]) -> PendingLogits:
        """See ``Scorer.start``. The batch is laid out, and nothing computed."""
        pack_segments([Segment(pair.input_ids, range(pair.tokens), read=0) for pair in batch])
        return Finished([0.0] * len(batch))


class PromptTokens(_Tokens):
    """Pairs as Qwen3-Reranker reads them."""

    def __init__(self, folder: Path, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer)
        self._prompts = PromptTokenizer(folder, QWEN3_RERANKER, self.max_length)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``."""
        return self._prompts.reading(pairs, options.truncation, QWEN3_RERANKER.instruction)

    def start(self, batch: Sequence[Prompt]) -> PendingLogits:
        """See ``Scorer.start``. The batch is laid out, each prefix once, and nothing computed."""
        segments = [Segment(batch[0].prefix, range(len(batch[0].prefix)))]
        for prompt in batch:
            first = len(prompt.prefix)
            positions = range(first, first + len(prompt.rest))
            segments.append(Segment(prompt.rest, positions, read=len(prompt.rest) - 1, continues=0))
        pack_segments(segments)
        return Finished([0.0] * len(batch))


if __name__ == "__main__":
    port, kind, folder = int(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    tokenizer = tokenizer_of(kind, folder)
    scorer = PairTokens(tokenizer) if kind == "xlm-roberta" else PromptTokens(folder / kind, tokenizer)
    # as the server does when libraries are there; packing imports torch
    scorer.start(scorer.encode([Pair("", "")], ScoringOptions()))
    garbage.spare_what_is_there()
    garbage.search_rarely()
    settings = Settings(_env_file=None)
    app = AppUnderTest(
        Path("models"),
        scorer,
        batch=GPU_BATCH,
        max_inflight_documents=10**6,
        cache=settings.cache_place,
        cached_pairs=settings.cached_pairs,
    )
    uvicorn.run(app.asgi, host="127.0.0.1", port=port, log_config=None, access_log=False)
    app.release()
