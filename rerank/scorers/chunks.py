"""Chunks of long documents, each as much as a model reads at once.

The scorer itself tells how much that is: of a document that it cuts, an encoded pair knows which characters are read.
So prompts, special tokens and limits of a request count as they will when the chunk is scored.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rerank.core import Chunking, Pair, ScoringOptions, Span
from rerank.errors import placed_by
from rerank.scorers.base import EncodedPair, Reading, Scorer
from rerank.scorers.excerpts import Side
from rerank.spans import chunk_end, chunk_start, even_starts, next_start

_PER_TOKEN = 64
"""Maximum characters per token of a last chunk; what has fewer tokens is mostly white space."""


def read_chunks(
    scorer: Scorer, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking
) -> Reading[list[list[Span]]]:
    """See ``Backend.chunks``.

    One chunk at most is the whole document, which is cut when it is scored. So is a document that takes too many of
    them where cutting is not allowed: its score is refused.
    """
    found = [[Span(0, len(pair.document))] for pair in pairs]
    if chunking.most == 1:
        return found
    finder = _Finder(scorer, options, pairs)
    firsts = yield from finder.first_chunks(pairs)
    documents = {index: _Long(part.pair, [part.span]) for index, part in firsts.items()}
    yield from _follow(finder, documents.values(), chunking)
    for index, document in documents.items():
        if document.done:
            found[index] = document.spans
        elif options.truncation.allowed:
            found[index] = yield from _spread(finder, document, chunking.most)
    return found


class _Part(NamedTuple):
    """A part of a pair's document."""

    pair: Pair
    span: Span

    def alone(self) -> Pair:
        """The part as a document of its own."""
        return Pair(self.pair.query, self.pair.document[self.span.start : self.span.end])

    def longer(self) -> _Part:
        """Twice as much of the document from the same place on; as it is if there is no more."""
        start, end = self.span
        return self._replace(span=Span(start, min(2 * end - start, len(self.pair.document))))

    def shortened(self, cut: Span, by: int, side: Side) -> _Part:
        """The part without what is not read of it, and at least ``by`` characters shorter."""
        (start, end), text = self.span, self.pair.document
        if side == "right":
            limit = max(min(start + cut.end, end - by), start + 1)
            return _Part(self.pair, Span(start, chunk_end(text, start, limit)))
        limit = min(max(start + cut.start, start + by), end - 1)
        return _Part(self.pair, Span(chunk_start(text, end, limit), end))


@dataclass(frozen=True, slots=True)
class _Long:
    """A document that is longer than the model reads, and its chunks so far."""

    pair: Pair
    spans: list[Span]

    @property
    def last(self) -> _Part:
        """Its last chunk."""
        return _Part(self.pair, self.spans[-1])

    @property
    def done(self) -> bool:
        """True if its chunks reach its end."""
        return self.spans[-1].end == len(self.pair.document)


def _follow(finder: _Finder, documents: Collection[_Long], chunking: Chunking) -> Reading[None]:
    """Add one chunk after another, to all documents at once, as many as are allowed."""
    growing = list(documents)
    while growing := [each for each in growing if not each.done and len(each.spans) < chunking.most]:
        starts = yield from finder.next_starts([each.last for each in growing], chunking.overlap)
        stuck = yield from _extend(finder, growing, starts)
        # where what is shared fills a chunk, nothing is
        yield from _extend(finder, stuck, [each.spans[-1].end for each in stuck])


def _extend(finder: _Finder, documents: Sequence[_Long], starts: Sequence[int]) -> Reading[list[_Long]]:
    """Add a chunk to each document; those where it would reach no further than the last."""
    lasts = [document.last for document in documents]
    chunks = yield from finder.chunks_from(lasts, starts)
    stuck = []
    for document, chunk in zip(documents, chunks, strict=True):
        if chunk.end > document.spans[-1].end:
            document.spans.append(chunk)
        else:
            stuck.append(document)
    return stuck


def _spread(finder: _Finder, document: _Long, most: int) -> Reading[list[Span]]:
    """``most`` chunks evenly spread over a document that is longer than as many in a row."""
    last = yield from finder.last_chunk(document.pair)
    _, *starts, _ = even_starts(document.pair.document, last.start, most)
    between = yield from finder.chunks_from([document.last] * len(starts), starts)
    return [document.spans[0], *between, last]


class _Finder:
    """Reads parts of documents to find how much of them is a chunk."""

    def __init__(self, scorer: Scorer, options: ScoringOptions, pairs: Sequence[Pair]) -> None:
        self._scorer = scorer
        self._pairs = pairs
        self._options = options
        self._reach = _PER_TOKEN * scorer.max_length

    def first_chunks(self, pairs: Sequence[Pair]) -> Reading[dict[int, _Part]]:
        """The first chunk of each document that the model does not read whole, by index."""
        parts = [_Part(pair, Span(0, len(pair.document))) for pair in pairs]
        encoded = yield from self._read(parts, "right")
        cut = {
            index: part.shortened(read.cut, 1, "right")
            for index, (part, read) in enumerate(zip(parts, encoded, strict=True))
            if read.cut
        }
        fitting = yield from self._fitted(list(cut.values()), "right")
        return dict(zip(cut, fitting, strict=True))

    def chunks_from(self, known: Sequence[_Part], starts: Sequence[int]) -> Reading[list[Span]]:
        """For each start the chunk of a document of which one is ``known``: it tells how long they may be."""
        parts = [
            _Part(pair, Span(start, min(start + (end - begin) * 3 // 2 + 1, len(pair.document))))
            for (pair, (begin, end)), start in zip(known, starts, strict=True)
        ]
        fitting = yield from self._fitted(parts, "right", grows=True)
        return [part.span for part in fitting]

    def last_chunk(self, pair: Pair) -> Reading[Span]:
        """The chunk that ends with the document."""
        end = len(pair.document)
        (part,) = yield from self._fitted([_Part(pair, Span(max(0, end - self._reach), end))], "left")
        return part.span

    def next_starts(self, chunks: Sequence[_Part], overlap: int) -> Reading[list[int]]:
        """For each chunk the start of the next: ``overlap`` tokens before the end of the chunk."""
        if not overlap:
            return [chunk.span.end for chunk in chunks]
        encoded = yield from self._read(chunks, "left", overlap)
        wanted = [
            chunk.span.start + (read.cut.start if read.cut else 0) for chunk, read in zip(chunks, encoded, strict=True)
        ]
        return [next_start(chunk.pair.document, chunk.span, start) for chunk, start in zip(chunks, wanted, strict=True)]

    def _fitted(self, parts: Sequence[_Part], side: Side, *, grows: bool = False) -> Reading[list[_Part]]:
        """Each part without as much of this side as keeps it from being read whole, as a document of its own.

        A part that tokens are cut from may have others when it is read again, so what is left is read, too. A single
        character may still be more than fits. ``grows``: one that is read whole at once may be longer.
        """
        fitting = list(parts)
        growing = set(range(len(parts))) if grows else set()
        places, by = list(range(len(parts))), 1
        while places:
            encoded = yield from self._read([fitting[place] for place in places], side)
            changed = []
            for place, read in zip(places, encoded, strict=True):
                part = fitting[place]
                if read.cut:
                    growing.discard(place)
                    fitting[place] = part.shortened(read.cut, by, side)
                elif place in growing:
                    fitting[place] = part.longer()
                if fitting[place] != part:
                    changed.append(place)
            places, by = changed, 2 * by
        return fitting

    def _read(self, parts: Sequence[_Part], side: Side, tokens: int | None = None) -> Reading[list[EncodedPair]]:
        """The parts as tokens, with this side cut, and no more tokens of a document than these."""
        asked = self._options.truncation
        truncation = replace(
            asked, allowed=True, side=side, max_tokens_per_document=tokens or asked.max_tokens_per_document
        )
        options = replace(self._options, truncation=truncation)
        with placed_by(lambda place: self._pairs.index(parts[place].pair)):
            encoded: list[EncodedPair] = yield from self._scorer.reading([part.alone() for part in parts], options)
        return encoded
