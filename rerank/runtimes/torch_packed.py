"""Torch on CUDA without padding: a batch is one row of tokens, attended span by span by the flash kernels of torch."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, Protocol

import torch

from rerank.devices import Device
from rerank.errors import ModelUnsupported
from rerank.runtimes.base import Attend, MakeNetwork, Values, computed
from rerank.runtimes.segments import PackedBatch, Segment, Spans, pack_segments

Window = tuple[int, int]
"""How many places before and behind its own place a query sees; -1: all of them."""
WHOLE: Window = (-1, -1)
CAUSAL: Window = (-1, 0)


class PackedNetwork(Protocol):
    """A network that reads packed batches."""

    def packed(self, batch: PackedBatch) -> torch.Tensor:
        """Vectors of shape (answers, hidden), without waiting for the device anywhere."""
        ...


class PackedRuntime:
    """A network on its device, fed with packed batches."""

    padded = False

    def __init__(self, make_network: MakeNetwork, device: Device) -> None:
        self.device = device.name
        self.precision = device.torch_precision
        self.description = f"torch {device.torch_precision}, packed, varlen attention"
        network: Any = make_network(device.dtype).to(device.name).eval()
        self._network: PackedNetwork = network

    @torch.inference_mode()
    def __call__(self, segments: Sequence[Segment]) -> Values:
        """Vectors of shape (answers, hidden), perhaps still being computed."""
        return computed(self._network.packed(pack_segments(segments, self.device)))


def attention_in(spans: Spans, window: Window = WHOLE) -> Attend:
    """Attention of each query span to its key span, as a body asks for it."""
    return partial(attend_spans, spans=spans, window=window)


def attend_spans(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spans: Spans, window: Window = WHOLE
) -> torch.Tensor:
    """Attention of each query span to its key span.

    ``query`` has the shape (queries, heads, size), ``key`` and ``value`` (tokens, key heads, size); the result that of
    ``query``. In a ``window`` the last query of a span stands at the place of its last key.
    """
    if spans.key_places is not None:
        key, value = key[spans.key_places], value[spans.key_places]
    attend = _on_cuda if query.is_cuda else _one_span_after_another
    return attend(query, key, value, spans, window)


def means(states: torch.Tensor, spans: Spans) -> torch.Tensor:
    """(tokens, hidden) to their fp32 mean over each query span, (spans, hidden)."""
    states = states.float()
    lengths = spans.query_offsets.diff().long()
    sequences = torch.repeat_interleave(lengths, output_size=len(states))
    return states.new_zeros(len(lengths), states.shape[1]).index_add_(0, sequences, states) / lengths[:, None]


def _on_cuda(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spans: Spans, window: Window) -> torch.Tensor:
    from torch.nn.attention import varlen

    names = _varlen_options()
    options = window_options(window, names)
    if key.shape[1] != query.shape[1]:
        if "enable_gqa" in names:
            options["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    attended = varlen.varlen_attn(
        query,
        key,
        value,
        spans.query_offsets,
        spans.key_offsets,
        spans.longest_query,
        spans.longest_key,
        **options,
    )
    assert isinstance(attended, torch.Tensor)  # nosec B101  # for mypy: no auxiliary output was asked for
    return attended


def window_options(window: Window, names: frozenset[str]) -> dict[str, Any]:
    """How a window is asked of packed attention that has options of these ``names``. Raises ModelUnsupported."""
    if window == WHOLE:
        return {}
    if "window_size" in names:
        return {"window_size": window}
    if window == CAUSAL:
        # torch 2.10 knows no other window
        return {"is_causal": True}
    raise ModelUnsupported(
        f"its attention sees a window of tokens, for which torch {torch.__version__} has no packed kernel; torch 2.11 "
        "and later have one."
    )


@cache
def _varlen_options() -> frozenset[str]:
    """Names of the options that packed attention has in this version of torch."""
    from torch.nn.attention import varlen

    return frozenset(inspect.signature(varlen.varlen_attn).parameters)


def _one_span_after_another(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, spans: Spans, window: Window
) -> torch.Tensor:
    """Attention span by span without the CUDA kernels."""
    attended = torch.empty_like(query)
    query_offsets, key_offsets = spans.query_offsets.tolist(), spans.key_offsets.tolist()
    for place in range(len(query_offsets) - 1):
        queries = slice(query_offsets[place], query_offsets[place + 1])
        keys = slice(key_offsets[place], key_offsets[place + 1])
        attended[queries] = torch.nn.functional.scaled_dot_product_attention(
            query[queries].transpose(0, 1),
            key[keys].transpose(0, 1),
            value[keys].transpose(0, 1),
            attn_mask=_mask(queries.stop - queries.start, keys.stop - keys.start, window),
            enable_gqa=key.shape[1] != query.shape[1],
        ).transpose(0, 1)
    return attended


def _mask(queries: int, keys: int, window: Window) -> torch.Tensor | None:
    """True where a query sees a key."""
    if window == WHOLE:
        return None
    before, behind = window
    seen = torch.ones(queries, keys, dtype=torch.bool)
    seen = seen if behind < 0 else seen.tril(keys - queries + behind)
    return seen if before < 0 else seen.triu(keys - queries - before)
