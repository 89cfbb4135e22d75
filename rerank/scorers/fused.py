"""Steps of a layer that a GPU of NVIDIA takes in one operation, and other devices one after another.

In one operation numbers are read and written once. Between operations they pass through the memory of the device, which
is what such steps wait for.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import torch
from torch.nn.functional import gelu, silu

logger = logging.getLogger(__name__)

Steps = Callable[..., torch.Tensor]


class OneOperation:
    """Steps number by number as one operation, on each device if it gives there what the steps give."""

    def __init__(self, source: str, steps: Steps, *shapes: tuple[int, ...], pairs: bool = False) -> None:
        """``source`` is a template in C++, which torch compiles when it is first called.

        The two are compared on random numbers of these ``shapes``. With ``pairs`` the source reads two neighbouring
        numbers in half precision as one int32.
        """
        self._source, self._steps, self._shapes, self._pairs = source, steps, shapes, pairs
        self._chosen: dict[tuple[torch.dtype, torch.device], Steps] = {}

    def __call__(self, *tensors: torch.Tensor) -> torch.Tensor:
        """What the steps give."""
        first = tensors[0]
        if not fuses(first):
            return self._steps(*tensors)
        key = first.dtype, first.device
        if key not in self._chosen:
            self._chosen[key] = self._choose(first)
        return self._chosen[key](*tensors)

    def _choose(self, like: torch.Tensor) -> Steps:
        """The faster of the two ways that is right."""
        random = torch.Generator("cpu").manual_seed(0)
        tensors = [torch.randn(shape, generator=random, device="cpu").to(like) for shape in self._shapes]
        one = self._in_pairs if self._pairs else self._compiled
        try:
            right = rounds(one(*tensors), self._steps(*(tensor.double() for tensor in tensors)))
            reason = "it computes something else there"
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            # a compiler's messages come after the whole source
            lines = str(error).splitlines() or [type(error).__name__]
            right, reason = False, next((line for line in lines if "error" in line), lines[0])
        if not right:
            logger.warning("an operation is taken in steps on %s, as right but slower: %s", like.device, reason)
        return one if right else self._steps

    @cached_property
    def _compiled(self) -> Steps:
        made: Steps = torch.cuda.jiterator._create_jit_fn(self._source)
        return made

    def _in_pairs(self, *tensors: torch.Tensor) -> torch.Tensor:
        return self._compiled(*(tensor.view(torch.int32) for tensor in tensors)).view(tensors[0].dtype)


def rounds(found: torch.Tensor, exact: torch.Tensor) -> bool:
    """True if the numbers found are the exact ones, computed in fp32 and rounded once."""
    of_fp32 = 16 * torch.finfo(torch.float32).eps * exact.abs().max().item()
    return torch.allclose(found.double(), exact, rtol=torch.finfo(found.dtype).eps, atol=of_fp32)


def _gate(formula: str, activation: Steps) -> OneOperation:
    """T is fp32 for numbers in half precision."""
    source = f"template <typename T> T gate(T value, T gate) {{ return {formula} * gate; }}"
    return OneOperation(source, lambda values, gates: activation(values) * gates, (64, 128), (64, 128))


_SILU = _gate("value / (T(1) + ::exp(-value))", silu)
_GATES = {
    "SiLU": _SILU,
    "SiLUActivation": _SILU,
    "GELUActivation": _gate("value * T(0.5) * (T(1) + ::erf(value * T(0.70710678118654752440)))", gelu),
    "GELUTanh": _gate(
        "value * T(0.5) * (T(1) + ::tanh(T(0.79788456080286535588) * (value + T(0.044715) * value * value * value)))",
        partial(gelu, approximate="tanh"),
    ),
}
"""By the name of the activation's class."""


def gated(activation: Any, values: torch.Tensor, gates: torch.Tensor) -> torch.Tensor:
    """``activation(values) * gates``, both of one shape."""
    if gate := _GATES.get(type(activation).__name__):
        return gate(values, gates)
    product: torch.Tensor = activation(values) * gates
    return product


def gated_inner(mlp: Any, states: torch.Tensor) -> torch.Tensor:
    """What the last product of a gated layer reads, by transformers' names of its parts."""
    return gated(mlp.act_fn, mlp.gate_proj(states), mlp.up_proj(states))


def added(states: torch.Tensor, product: Any, inputs: torch.Tensor) -> torch.Tensor:
    """``states + product(inputs)``, perhaps in the memory of ``states``; ``product`` is a Linear."""
    if product.bias is None and fuses(states):
        return states.addmm_(inputs, product.weight.t())
    added: torch.Tensor = states + product(inputs)
    return added


def fuses(states: torch.Tensor) -> bool:
    """True where steps are taken in one."""
    return states.is_cuda and torch.version.hip is None
