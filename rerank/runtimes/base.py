"""Runtimes: the contract between a scorer and the library that runs its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import nn

from rerank.core import Finished, Pending, PendingLogits

T = TypeVar("T")
Tensors = Mapping[str, torch.Tensor]
Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Attention: query, key and value of shape (tokens, heads, size) to a result in the shape of the query."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """One sequence the model reads: ids and segment ids of equal length."""

    input_ids: tuple[int, ...]
    type_ids: tuple[int, ...]

    @property
    def tokens(self) -> int:
        """Length of the sequence."""
        return len(self.input_ids)

    @property
    def computed(self) -> int:
        """The same: it shares nothing."""
        return self.tokens


class Runtime(Protocol):
    """One network, ready to run. To be called only from the thread that owns the device."""

    @property
    def device(self) -> str:
        """Where outputs appear, as torch names it."""
        ...

    @property
    def precision(self) -> str:
        """Number format of its matrix products: fp32, bf16, fp16 or int8."""
        ...

    @property
    def description(self) -> str:
        """Library and precision, to be displayed."""
        ...

    def __call__(self, tensors: Tensors) -> tuple[torch.Tensor, ...]:
        """Inputs by name, on the CPU, to the network's outputs in fp32."""
        ...


MakeNetwork = Callable[[torch.dtype], nn.Module]
"""Builds the torch module on the CPU in a precision; not called if a converted copy is on disk."""


def pending(logits: torch.Tensor) -> PendingLogits:
    """The pending logits of a batch; on CUDA the next batch runs meanwhile."""
    return read_later(logits, torch.Tensor.tolist)


def read_later(values: torch.Tensor, read: Callable[[torch.Tensor], list[T]]) -> Pending[T]:
    """The results of a batch, which ``read`` makes of its values once they are on the host."""
    return _OnCuda(values, read) if values.is_cuda else Finished(read(values))


class _OnCuda(Generic[T]):
    """Values on their way to the host.

    They travel by an asynchronous copy with an event behind it: reading the tensor itself would wait for everything
    in the stream, which by then holds the next batch.
    """

    def __init__(self, values: torch.Tensor, read: Callable[[torch.Tensor], list[T]]) -> None:
        self._read = read
        self._host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
        self._host.copy_(values, non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record(torch.cuda.current_stream(values.device))

    @property
    def done(self) -> bool:
        done: bool = self._copied.query()  # type: ignore[no-untyped-call]
        return done

    def result(self) -> list[T]:
        self._copied.synchronize()
        return self._read(self._host)
