"""Runtimes: the contract between a scorer and the library that runs its network."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import numpy

from rerank.core import Finished, Pending, PendingLogits, Span
from rerank.runtimes.ids import Ids

if TYPE_CHECKING:
    # importing it takes seconds, which a converted network does not need
    import torch
    from torch import nn

T = TypeVar("T")
Values: TypeAlias = Any
"""Numbers where they were computed: an array of numpy on a CPU, a tensor of torch on a GPU."""
Inputs = Mapping[str, Values]
"""Inputs of a network, by name."""
Attend: TypeAlias = "Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]"
"""Attention: query, key and value of shape (tokens, heads, size) to a result in the shape of the query."""


@dataclass(frozen=True, slots=True)
class TokenIds:
    """One sequence the model reads: ids and segment ids of equal length."""

    input_ids: Ids
    type_ids: Ids
    cut: Span | None = field(default=None, compare=False)
    """See ``EncodedPair.cut``."""

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

    def __call__(self, inputs: Inputs) -> tuple[Values, ...]:
        """The network's outputs, in fp32."""
        ...


MakeNetwork: TypeAlias = "Callable[[torch.dtype], nn.Module]"
"""Builds the torch module on the CPU in a precision; not called if a converted copy is on disk."""


def pending(logits: Values) -> PendingLogits:
    """The pending logits of a batch; on CUDA the next batch runs meanwhile."""
    return read_later(logits, numpy.ndarray.tolist)


def read_later(values: Values, read: Callable[[numpy.ndarray], list[T]]) -> Pending[T]:
    """The results of a batch, which ``read`` makes of its values once they are on the host."""
    if isinstance(values, numpy.ndarray):
        return Finished(read(values))
    return _OnCuda(values, read) if values.is_cuda else Finished(read(values.cpu().numpy()))


def library(values: Values) -> Any:
    """numpy for an array, torch for a tensor: what is asked of it has the same name in both."""
    return numpy if isinstance(values, numpy.ndarray) else sys.modules["torch"]


def computed(output: torch.Tensor) -> Values:
    """What a network in torch gave, as a runtime returns it."""
    values = output.float()
    return values.numpy() if values.device.type == "cpu" else values


def placed(array: numpy.ndarray, device: str) -> Values:
    """The array where a runtime on this device returns its values."""
    return array if device == "cpu" else to_device(array, device)


def to_device(array: numpy.ndarray, device: str) -> torch.Tensor:
    """The array as a tensor on the device; from pinned memory, so that the copy does not wait for the device."""
    import torch

    tensor = torch.from_numpy(array)
    if not device.startswith("cuda"):
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


class _OnCuda(Generic[T]):
    """Values on their way to the host.

    They travel by an asynchronous copy with an event behind it: reading the tensor itself would wait for everything
    in the stream, which by then holds the next batch.
    """

    def __init__(self, values: torch.Tensor, read: Callable[[numpy.ndarray], list[T]]) -> None:
        import torch

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
        return self._read(self._host.numpy())
