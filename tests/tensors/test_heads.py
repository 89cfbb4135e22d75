"""Weights straight from the file, and the layers of heads, as torch has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional

from rerank.errors import WeightsBroken
from rerank.runtimes.base import Values
from rerank.scorers.heads import Linear, Norm, gelu, identity, of_length_one, relu, tanh
from rerank.scorers.pretrained import read_tensor


@dataclass
class Stored:
    """A checkpoint, as far as its weights are read."""

    folder: Path

    @property
    def weight_files(self) -> list[Path]:
        """One file."""
        return [self.folder / "model.safetensors"]


def stored(folder: Path, tensor: torch.Tensor) -> Any:
    """A checkpoint with this tensor behind another one of an odd length."""
    checkpoint = Stored(folder)
    save_file({"a": torch.ones(3, dtype=torch.uint8), "weight": tensor}, checkpoint.weight_files[0])
    return checkpoint


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_weight_is_read_in_fp32_whole_or_by_the_row(tmp_path: Path, dtype: torch.dtype) -> None:
    weight = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).to(dtype)
    checkpoint = stored(tmp_path, weight)

    assert read_tensor(checkpoint, "weight").dtype == numpy.float32
    assert read_tensor(checkpoint, "weight").tolist() == weight.float().tolist()
    assert read_tensor(checkpoint, "weight", row=3).tolist() == weight[3].float().tolist()


def test_a_weight_that_is_no_fraction_or_missing_is_refused_by_name(tmp_path: Path) -> None:
    checkpoint = stored(tmp_path, torch.ones(5, 4, dtype=torch.int8))

    with pytest.raises(WeightsBroken, match="holds weight as I8"):
        read_tensor(checkpoint, "weight")
    with pytest.raises(WeightsBroken, match="no fitting weights for other"):
        read_tensor(checkpoint, "other")


def test_a_layer_gives_what_torchs_does_for_arrays_and_for_tensors() -> None:
    layer = torch.nn.Linear(48, 7)
    weight, bias = layer.weight.detach(), layer.bias.detach()
    vectors = torch.randn(5, 48, generator=torch.Generator().manual_seed(0))
    expected = layer(vectors).detach()

    assert torch.allclose(torch.from_numpy(Linear(weight.numpy(), bias.numpy())(vectors.numpy())), expected, atol=1e-5)
    assert torch.allclose(Linear(weight, bias)(vectors), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (tanh, torch.tanh),
        (relu, torch.relu),
        (gelu, functional.gelu),
        (identity, lambda values: values),
        (Norm(1.0, 0.0, 1e-5), lambda values: functional.layer_norm(values, (32,))),
        (of_length_one, lambda values: functional.normalize(values, dim=-1)),
    ],
    ids=["tanh", "relu", "gelu", "identity", "norm", "of_length_one"],
)
def test_functions_give_what_torchs_do_for_arrays_and_for_tensors(
    ours: Callable[[Values], Values], theirs: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    values = torch.cat([torch.linspace(-6, 6, 96), torch.zeros(32)]).view(4, 32)
    expected = theirs(values)

    assert torch.allclose(torch.from_numpy(ours(values.numpy())), expected, atol=1e-6)
    assert torch.allclose(ours(values), expected, atol=1e-6)
    assert ours(values.numpy()).dtype == numpy.float32
