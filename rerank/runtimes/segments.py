"""Packed batches: sequences end to end without padding, and which attends to which.

A *segment* is a stretch of tokens that attends to itself and, where it ``continues`` another segment, to that one
too: many documents may continue one query, whose keys and values are then computed once for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import TYPE_CHECKING, NamedTuple

import numpy

from rerank.runtimes.base import to_device
from rerank.runtimes.ids import Ids

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of tokens in a packed batch."""

    input_ids: Sequence[int]
    positions: Sequence[int]
    """Position of each token in its sequence, as the model counts them."""
    read: int | None = None
    """Which of its tokens gives the answer, counted from the segment's start; None where no single token does."""
    type_ids: Sequence[int] | None = None
    continues: int | None = None
    """Place in the batch of an earlier segment that this one goes on from."""
    seen: int | None = None
    """How many of its tokens, from its start, are attended to; None for all. The others only attend."""

    @property
    def keys(self) -> int:
        """The tokens that are attended to."""
        return len(self.input_ids) if self.seen is None else self.seen


@dataclass(frozen=True, slots=True)
class Spans:
    """Queries and their keys, span by span: query span i attends to key span i. int32 offsets of shape (spans + 1)."""

    query_offsets: torch.Tensor
    key_offsets: torch.Tensor
    longest_query: int
    longest_key: int
    key_places: torch.Tensor | None
    """Row of each key among the batch's tokens, int64; None where key spans are the batch's own rows in order."""


class TokenRow(NamedTuple):
    """The tokens of a batch end to end; int64, shape (tokens)."""

    input_ids: torch.Tensor
    positions: torch.Tensor
    type_ids: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """A batch as one row of tokens."""

    row: TokenRow
    spans: Spans
    read_at: torch.Tensor
    """Rows of the tokens that give answers, int64, shape (answers)."""
    read_spans: Spans
    """The same answers attending to their whole sequences: one query a span."""


def pack_segments(segments: Sequence[Segment], device: str = "cpu") -> PackedBatch:
    """Lay segments out one after another. Answers come in the order of their segments."""
    lengths = [len(segment.input_ids) for segment in segments]
    starts = [0, *accumulate(lengths)]
    readers = [place for place, segment in enumerate(segments) if segment.read is not None]
    rows = {name: to_device(row, device) for name, row in token_rows(segments).items()}
    return PackedBatch(
        row=TokenRow(rows["input_ids"], rows["positions"], rows.get("type_ids")),
        spans=_spans(segments, starts, range(len(segments)), lengths, device),
        read_at=rows["read_at"],
        read_spans=_spans(segments, starts, readers, [1] * len(readers), device),
    )


def token_rows(segments: Sequence[Segment]) -> dict[str, numpy.ndarray]:
    """The segments' tokens in one row, int64: ``input_ids``, ``positions`` and, where there are any, ``type_ids``.

    ``read_at`` tells which of them give answers.
    """
    starts = [0, *accumulate(len(segment.input_ids) for segment in segments[:-1])]
    readers = [(start, segment.read) for start, segment in zip(starts, segments, strict=True)]
    parts: dict[str, list[Sequence[int]]] = {
        "input_ids": [segment.input_ids for segment in segments],
        "positions": [segment.positions for segment in segments],
        "read_at": [[start + read for start, read in readers if read is not None]],
    }
    if types := [segment.type_ids for segment in segments if segment.type_ids is not None]:
        parts["type_ids"] = types
    return {name: numpy.concatenate([*map(_numbers, part)], dtype=numpy.int64) for name, part in parts.items()}


def _numbers(row: Sequence[int]) -> numpy.ndarray:
    if isinstance(row, Ids):
        return row.numbers
    return numpy.arange(row.start, row.stop) if isinstance(row, range) else numpy.array(row, numpy.int64)


def _spans(
    segments: Sequence[Segment], starts: Sequence[int], places: Sequence[int], queries: Sequence[int], device: str
) -> Spans:
    """The segments at ``places`` as key spans, each with its number of queries."""
    key_lengths, key_rows = _keys(segments, starts, places)
    return Spans(
        query_offsets=to_device(numpy.array([0, *accumulate(queries)], numpy.int32), device),
        key_offsets=to_device(numpy.array([0, *accumulate(key_lengths)], numpy.int32), device),
        longest_query=max(queries, default=0),
        longest_key=max(key_lengths, default=0),
        key_places=None if key_rows is None else to_device(key_rows, device),
    )


def _keys(
    segments: Sequence[Segment], starts: Sequence[int], places: Sequence[int]
) -> tuple[list[int], numpy.ndarray | None]:
    """Lengths of the key spans of the segments at ``places``, and their rows if those are not the batch's in order."""
    if len(places) == len(segments) and all(segment.continues is segment.seen is None for segment in segments):
        return [segment.keys for segment in segments], None
    keys = [segment.keys for segment in segments]
    seen = [_stretches(segments, place) for place in places]
    stretches = [*chain.from_iterable(seen)]
    rows = _ranges([starts[stretch] for stretch in stretches], [keys[stretch] for stretch in stretches])
    return [sum([keys[stretch] for stretch in stretches]) for stretches in seen], rows if stretches else None


def _stretches(segments: Sequence[Segment], place: int) -> list[int]:
    """The segments that one attends to: what it continues, then itself."""
    before = segments[place].continues
    return [place] if before is None else [before, place]


def _ranges(starts: Sequence[int], counts: Sequence[int]) -> numpy.ndarray:
    """From each start on as many numbers as it counts, one range after another."""
    before = [0, *accumulate(counts)]
    shifts = numpy.subtract(starts, before[:-1])
    rows: numpy.ndarray = numpy.arange(before[-1]) + numpy.repeat(shifts, counts)
    return rows
