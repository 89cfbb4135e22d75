"""Which way steps are taken on a GPU, played by a CPU; tests/gpu computes them on one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import silu
from transformers.activations import ACT2FN

from rerank.scorers import fused, rotary
from rerank.scorers.fused import OneOperation, added, gated

ROWS = torch.arange(400.0, dtype=torch.bfloat16).view(200, 2)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., Tensor]], list[Tensor]]:
    """Call it with what torch would compile: collects the first tensor of each call."""
    monkeypatch.setattr(fused, "fuses", lambda _: True)

    def play(operation: Callable[..., Tensor]) -> list[Tensor]:
        seen: list[Tensor] = []

        def watched(*tensors: Tensor) -> Tensor:
            seen.append(tensors[0])
            return operation(*tensors)

        monkeypatch.setattr(torch.cuda.jiterator, "_create_jit_fn", lambda _: watched)
        return seen

    return play


def doubled(rows: Tensor) -> Tensor:
    return rows + rows


def fails(_: Tensor) -> Tensor:
    raise RuntimeError("template <typename T>\nk.cu(1): error: it does not compile\n1 error detected")


def test_one_operation_is_taken_after_a_first_comparison(compiled: Callable[..., list[Tensor]]) -> None:
    seen = compiled(lambda rows: rows * 2)
    operation = OneOperation("", doubled, (64, 2))

    assert torch.equal(operation(ROWS), ROWS * 2)
    assert torch.equal(operation(ROWS), ROWS * 2)
    assert [len(rows) for rows in seen] == [64, 200, 200]
    assert not torch.equal(seen[0], ROWS[:64])


@pytest.mark.parametrize(
    ("one", "said"), [(lambda rows: rows * 2.03125, "it computes something else"), (fails, "it does not compile")]
)
def test_steps_are_taken_where_one_operation_is_wrong(
    compiled: Callable[..., list[Tensor]],
    caplog: pytest.LogCaptureFixture,
    one: Callable[..., Tensor],
    said: str,
) -> None:
    seen = compiled(one)
    operation = OneOperation("", doubled, (64, 2))

    assert torch.equal(operation(ROWS), ROWS * 2)
    assert torch.equal(operation(ROWS), ROWS * 2)
    assert len(seen) == 1
    (line,) = caplog.messages
    assert line.startswith("an operation is taken in steps on cpu, as right but slower: ")
    assert said in line
    assert "\n" not in line


def test_each_kind_of_number_is_compared(compiled: Callable[..., list[Tensor]]) -> None:
    seen = compiled(lambda rows: rows * 2 if rows.dtype == torch.bfloat16 else rows)
    operation = OneOperation("", doubled, (64, 2))

    for rows in (ROWS, ROWS.half()):
        assert torch.equal(operation(rows), rows * 2)
    assert [rows.dtype for rows in seen] == [torch.bfloat16, torch.bfloat16, torch.float16]


def test_too_little_memory_decides_nothing(compiled: Callable[..., list[Tensor]]) -> None:
    full = [True]

    def one(rows: Tensor) -> Tensor:
        if full.pop():
            raise torch.OutOfMemoryError("full")
        full.append(False)
        return rows * 2

    seen = compiled(one)
    operation = OneOperation("", doubled, (64, 2))

    with pytest.raises(torch.OutOfMemoryError):
        operation(ROWS)
    full.append(False)
    assert torch.equal(operation(ROWS), ROWS * 2)
    assert len(seen) == 3


def test_pairs_are_read_as_integers(compiled: Callable[..., list[Tensor]]) -> None:
    seen = compiled(lambda pairs: (pairs.view(torch.bfloat16) * 2).view(torch.int32))

    found = OneOperation("", doubled, (64, 2), pairs=True)(ROWS)

    assert torch.equal(found, ROWS * 2)
    assert [(rows.dtype, rows.shape) for rows in seen] == [
        (torch.int32, torch.Size([64, 1])),
        (torch.int32, torch.Size([200, 1])),
    ]


@pytest.mark.parametrize(("name", "calls"), [("silu", 2), ("relu", 0)])
def test_activations_without_an_operation_are_called(
    compiled: Callable[..., list[Tensor]], monkeypatch: pytest.MonkeyPatch, name: str, calls: int
) -> None:
    seen = compiled(lambda values, gates: silu(values) * gates)
    monkeypatch.setitem(
        fused._GATES, "SiLUActivation", OneOperation("", lambda values, gates: silu(values) * gates, (64, 2), (64, 2))
    )

    found = gated(ACT2FN[name], ROWS, ROWS)

    assert torch.equal(found, ACT2FN[name](ROWS) * ROWS)
    assert len(seen) == calls


def test_a_sum_stays_in_the_memory_of_its_states(compiled: Callable[..., list[Tensor]]) -> None:
    compiled(doubled)
    product = nn.Linear(3, 2, bias=False)
    states, inputs = torch.ones(5, 2), torch.ones(5, 3)
    expected = torch.ones(5, 2) + product(inputs)

    with torch.inference_mode():
        found = added(states, product, inputs)

    assert found is states
    assert torch.allclose(found, expected)


def test_every_source_is_one_that_torch_can_read() -> None:
    names = {"gate": fused._GATES.values(), "turn": rotary._IN_ONE.values()}
    for name, operations in names.items():
        for operation in operations:
            compiled: Any = torch.cuda.jiterator._create_jit_fn(operation._source)
            assert compiled.kernel_name == name
