"""Vectors of the last tokens of prompts; what prompts share is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy

from rerank.runtimes.base import Runtime, Values, library, placed
from rerank.runtimes.ids import Ids
from rerank.runtimes.rectangle import KERNEL, RectangleRuntime, rectangle_inputs
from rerank.runtimes.segments import Segment
from rerank.scorers.causal.configuration import head_size
from rerank.scorers.causal.prompt import Prompt
from rerank.scorers.pretrained import Config

if TYPE_CHECKING:
    from rerank.runtimes.torch_packed import PackedRuntime

# bytes for keys and values of recent prefixes: 0.23 MB per token for the 0.6B model, 0.29 MB for the 8B
_KEPT_BYTES = 256 * 1024**2
# below this many documents, running the prefix apart costs more than it saves
_WORTH_SHARING = 2


class RectanglePrompts:
    """Prompts to fp32 vectors of shape (prompts, hidden): those of their last tokens.

    Documents are sequences that go on from their prefix, whose keys and values are kept.
    Those of the system text are computed once and built upon; a prefix that only one document needs is run together
    with it, because apart it would save nothing.
    """

    padded = True
    keeps_prefix = True

    def __init__(self, runtime: Runtime, system: Ids, config: Config, kept_bytes: int = _KEPT_BYTES) -> None:
        self.runtime = runtime
        self.description = f"{runtime.description}, {KERNEL}, shared prefix"
        self._system_ids = system
        self._nothing = placed(past_of(config, tokens=0), runtime.device)
        self._kept_bytes = kept_bytes
        self._system: Values | None = None
        # least recently used first
        self._prefixes: dict[Ids, Values] = {}

    def __call__(self, batch: Sequence[Prompt]) -> Values:
        vectors: list[Values] = [None] * len(batch)
        for prefix, places in _by_prefix(batch).items():
            rests = [batch[place].rest for place in places]
            sharers = max(batch[place].sharers for place in places)
            if sharers < _WORTH_SHARING and prefix not in self._prefixes:
                found, _ = self._run([self._own(prefix) + rest for rest in rests], self._of_system())
            else:
                found, _ = self._run(rests, self._of_prefix(prefix))
            for place, vector in zip(places, found, strict=True):
                vectors[place] = vector
        return library(vectors[0]).stack(vectors)

    def _run(self, rows: Sequence[Ids], past: Values, kept: int = 0) -> tuple[Values, Values]:
        """Vectors of rows that follow ``past``, and keys and values of the first row's first ``kept`` tokens."""
        first = past.shape[2]
        segments = [Segment(row, range(first, first + len(row)), read=len(row) - 1) for row in rows]
        vectors, present = self.runtime(rectangle_inputs(segments) | {"past": past, "kept": numpy.arange(kept)})
        return vectors, present

    def _own(self, prefix: Ids) -> Ids:
        """What a prefix adds to the system text."""
        return prefix[len(self._system_ids) :]

    def _of_system(self) -> Values:
        if not self._system_ids:
            return self._nothing
        if self._system is None:
            _, self._system = self._run([self._system_ids], self._nothing, kept=len(self._system_ids))
        return self._system

    def _of_prefix(self, prefix: Ids) -> Values:
        past = self._prefixes.pop(prefix, None)
        if past is None:
            own, system = self._own(prefix), self._of_system()
            past = self._behind(system, own) if own else system
        self._prefixes[prefix] = past
        # the newest stays, even if it is larger: the next batch needs it
        while len(self._prefixes) > 1 and sum(kept.nbytes for kept in self._prefixes.values()) > self._kept_bytes:
            del self._prefixes[next(iter(self._prefixes))]
        return past

    def _behind(self, past: Values, own: Ids) -> Values:
        _, present = self._run([own], past, kept=len(own))
        return library(present).concatenate([past, present], 2)


class PackedPrompts:
    """Prompts to fp32 vectors of shape (prompts, hidden): those of their last tokens.

    Prefixes and documents stand in one row of tokens, each prefix once per batch, attended by all its documents.

    Nothing is kept between batches: a batch holds enough documents that the prefix does not count.
    """

    padded = False
    keeps_prefix = False

    def __init__(self, runtime: PackedRuntime) -> None:
        self.runtime = runtime
        self.description = f"{runtime.description}, shared prefix"

    def __call__(self, batch: Sequence[Prompt]) -> Values:
        segments: list[Segment] = []
        order: list[int] = []
        for prefix, places in _by_prefix(batch).items():
            shared = bool(prefix) and len(places) >= _WORTH_SHARING
            if shared:
                segments.append(Segment(prefix, range(len(prefix))))
            stem = len(segments) - 1
            for place in places:
                ids = batch[place].rest if shared else prefix + batch[place].rest
                first = len(prefix) if shared else 0
                positions = range(first, first + len(ids))
                segments.append(Segment(ids, positions, read=len(ids) - 1, continues=stem if shared else None))
                order.append(place)
        vectors = self.runtime(segments)
        back = sorted(range(len(order)), key=order.__getitem__)
        return vectors[placed(numpy.array(back), self.runtime.device)]


class WholePrompts:
    """Prompts to fp32 vectors of shape (prompts, hidden), where all tokens see one another, so that none is shared."""

    keeps_prefix = False

    def __init__(self, runtime: RectangleRuntime | PackedRuntime) -> None:
        self.runtime = runtime
        self.padded = runtime.padded
        self.description = runtime.description

    def __call__(self, batch: Sequence[Prompt]) -> Values:
        rows = [prompt.prefix + prompt.rest for prompt in batch]
        return self.runtime([Segment(row, range(len(row))) for row in rows])


def _by_prefix(batch: Sequence[Prompt]) -> dict[Ids, list[int]]:
    """Places of the prompts, by prefix."""
    places: dict[Ids, list[int]] = {}
    for place, prompt in enumerate(batch):
        places.setdefault(prompt.prefix, []).append(place)
    return places


def example_inputs(config: Config) -> dict[str, numpy.ndarray]:
    """Inputs of ``LastTokenVector.forward`` to trace it with."""
    return {
        **rectangle_inputs([Segment(Ids.of([1]) * length, range(3, 3 + length), length - 1) for length in (7, 5)]),
        "past": past_of(config, tokens=3),
        "kept": numpy.arange(2),
    }


def past_of(config: Config, tokens: int) -> numpy.ndarray:
    """Zero keys and values for ``tokens`` tokens, shaped as ``LastTokenVector.forward`` wants them."""
    shape = (config.num_hidden_layers, 2, tokens, config.num_key_value_heads, head_size(config))
    return numpy.zeros(shape, numpy.float32)
