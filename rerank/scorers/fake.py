"""A scorer without a model: deterministic, instant, free of torch. For tests."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from rerank.activations import SIGMOID
from rerank.core import DEFAULT_OPTIONS, Finished, Pair, PendingLogits, ScoringOptions, Span, TextTokens
from rerank.errors import InvalidRequest
from rerank.scorers.base import Embedder, Part, Reading, document_limit, pair_limit, too_long


@dataclass(frozen=True, slots=True)
class EncodedWords:
    """Words of a query and of a document."""

    query: tuple[str, ...]
    document: tuple[str, ...]
    cut: Span | None = field(default=None, compare=False)
    """See ``EncodedPair.cut``."""

    @property
    def tokens(self) -> int:
        """Words of both, and three for the special tokens a real model would add."""
        return len(self.query) + len(self.document) + 3

    @property
    def computed(self) -> int:
        """The same: it shares nothing."""
        return self.tokens


_VOCABULARY = 30_000


@dataclass(frozen=True, slots=True)
class ReadWords:
    """See ``TextTokens``."""

    ids: list[int]
    pieces: list[str]
    special: list[int]
    spans: list[tuple[int, int]]


class Words:
    """A tokenizer with one token per word, numbered in order of appearance; 0 and 1 enclose a text."""

    def __init__(self) -> None:
        self._known = ["<s>", "</s>"]

    def tokens(self, text: str, *, special: bool) -> TextTokens:
        """See ``TextTokenizer.tokens``."""
        words = list(re.finditer(r"\S+", text))
        ids = [self._number(word[0]) for word in words]
        spans = [word.span() for word in words]
        if not special:
            return ReadWords(ids, [word[0] for word in words], [0] * len(words), spans)
        return ReadWords(
            [0, *ids, 1],
            ["<s>", *(word[0] for word in words), "</s>"],
            [1, *[0] * len(words), 1],
            [(0, 0), *spans, (0, 0)],
        )

    def text(self, ids: Sequence[int], *, special: bool, field: str) -> str:
        """See ``TextTokenizer.text``."""
        for place, number in enumerate(ids):
            if number >= _VOCABULARY:
                raise InvalidRequest(f"{field}.{place}: the model has no token {number}.", param=f"{field}.{place}")
        return " ".join(self._word(number) for number in ids if special or number > 1)

    def _word(self, number: int) -> str:
        return self._known[number] if number < len(self._known) else f"word{number}"

    def _number(self, word: str) -> int:
        if word not in self._known:
            self._known.append(word)
        return self._known.index(word)


class WordOverlapScorer:
    """Logit = 4 x (share of the query's words that the document holds) - 2. One word is one token."""

    activation = SIGMOID
    takes_instruction = False
    embedder: Embedder | None = None
    runtime = "none"
    precision = "fp32"
    padded = True
    bytes_per_token = 0

    def __init__(self, max_length: int = 512) -> None:
        self.max_length = max_length
        self.tokenizer = Words()
        self.batches: list[int] = []
        """Size of every batch scored so far."""

    def encode(self, pairs: Sequence[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[EncodedWords]:
        """See ``Scorer.encode``."""
        truncation = options.truncation
        limit = pair_limit(truncation, self.max_length)
        encoded = []
        for index, pair in enumerate(pairs):
            query = tuple(pair.query.casefold().split())
            words = list(re.finditer(r"\S+", pair.document))
            document = words[truncation.kept(len(words), truncation.max_tokens_per_document or len(words))]
            room = document_limit(len(query) + 3, limit, self.max_length)
            if len(document) > room and not truncation.allowed:
                raise too_long(index, len(query) + 3 + len(document), limit)
            kept = document[truncation.kept(len(document), room)]
            cut = Span(kept[0].start(), kept[-1].end()) if len(kept) < len(words) else None
            encoded.append(EncodedWords(query, tuple(word[0].casefold() for word in kept), cut))
        return encoded

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[EncodedWords]]:
        """See ``Scorer.reading``. In one part."""
        yield Part(sum(len(pair.document) for pair in pairs))
        return self.encode(pairs, options)

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        """See ``Scorer.start``."""
        self.batches.append(len(batch))
        return Finished([4 * self._overlap(pair) - 2 for pair in batch])

    @staticmethod
    def _overlap(pair: EncodedWords) -> float:
        words = set(pair.query)
        return len(words & set(pair.document)) / len(words) if words else 0.0
