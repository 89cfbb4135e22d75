"""Steps that a GPU takes in one operation give what they give one after another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from transformers.activations import ACT2FN

from rerank.scorers.fused import added, gated, rounds
from rerank.scorers.rotary import PairTurn, turned

GPU = "cuda:0"
HALF = [torch.bfloat16, torch.float16]


@pytest.fixture(autouse=True)
def in_one(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No operation is replaced by its steps."""
    yield
    assert caplog.messages == []


def random(*shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, device=GPU, generator=torch.Generator(GPU).manual_seed(len(shape))).to(dtype)


@pytest.mark.parametrize("dtype", HALF)
@pytest.mark.parametrize("size", [32, 64, 128])
def test_pairs_are_turned_as_in_double_precision(size: int, dtype: torch.dtype) -> None:
    heads = random(77, 9, size, dtype=dtype)[:, :6]
    turns = random(77, 1, size // 2, dtype=torch.float32)
    angles = torch.stack((turns.cos(), turns.sin()), dim=-1).flatten(-2).to(dtype)

    found = turned(heads, PairTurn(angles))

    assert found.is_contiguous()
    assert rounds(found, turned(heads.double(), PairTurn(angles.double())))


def test_what_is_no_number_stays_none() -> None:
    heads = torch.full((1, 1, 2), torch.nan, device=GPU, dtype=torch.bfloat16)

    assert turned(heads, PairTurn(torch.ones_like(heads))).isnan().all()


@pytest.mark.parametrize("dtype", [*HALF, torch.float32])
@pytest.mark.parametrize("name", ["silu", "swish", "gelu", "gelu_pytorch_tanh", "relu"])
def test_a_gate_is_that_of_transformers(name: str, dtype: torch.dtype) -> None:
    values, gates = (4 * random(77, 2 * 40, dtype=dtype)).chunk(2, dim=1)

    found = gated(ACT2FN[name], values, gates)

    assert found.dtype == dtype
    assert rounds(found, ACT2FN[name](values.double()) * gates.double())


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("dtype", HALF)
def test_a_sum_within_the_product(dtype: torch.dtype, *, bias: bool) -> None:
    product = torch.nn.Linear(64, 32, bias=bias, device=GPU, dtype=dtype)
    states, inputs = random(77, 32, dtype=dtype), random(77, 64, dtype=dtype)
    exact = states.double() + product.double()(inputs.double())

    with torch.inference_mode():
        found = added(states, product.to(dtype), inputs)

    # a bias is added to a product that was rounded
    assert torch.allclose(found.double(), exact, rtol=0, atol=torch.finfo(dtype).eps * exact.abs().max().item())
