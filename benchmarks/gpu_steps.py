"""What each step of a layer takes on a GPU, as the bodies write it and in other ways.

    python -m benchmarks.gpu_steps --sizes ettin-32m qwen3-0.6b bge-base

A batch of 32,768 tokens of random numbers in bf16, no model. Prints microseconds: the median of the rounds, each the
mean of 20 runs. A way that this version of torch or this device lacks is named. With
``--device cpu --tokens 64`` it runs without a GPU, to be tried.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import gelu, layer_norm, linear, rms_norm, scaled_dot_product_attention
from transformers.activations import ACT2FN

from rerank.runtimes.products import wait
from rerank.runtimes.segments import Spans
from rerank.runtimes.torch_packed import CAUSAL, WHOLE, attend_spans
from rerank.scorers.fused import added, gated
from rerank.scorers.rotary import PairTurn, Turn, turned

Step = Callable[[], object]


class Size(NamedTuple):
    """A layer."""

    hidden: int
    heads: int
    key_heads: int
    head: int
    """Numbers of a head."""
    inner: int
    gated: str | None = None
    """The function of a gated layer, by its name in transformers; None for BERT's, whose positions are not rotary."""
    causal: bool = False


SIZES = {
    "ettin-32m": Size(384, 6, 6, 64, 576, "gelu"),
    "ettin-150m": Size(768, 12, 12, 64, 1152, "gelu"),
    "qwen3-0.6b": Size(1024, 16, 8, 128, 3072, "silu", causal=True),
    "minilm": Size(384, 12, 12, 32, 1536),
    "bge-base": Size(768, 12, 12, 64, 3072),
    "bge-v2-m3": Size(1024, 16, 16, 64, 4096),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    print(f"{options.device}, torch {torch.__version__}, {options.tokens} tokens")
    with torch.device(options.device), torch.inference_mode():
        for name in options.sizes:
            print(f"\n{name}")
            for step, ways in steps(SIZES[name], options.tokens, options.length):
                told = [f"{way} {_told(run, options)}" for way, run in ways.items()]
                print(f"  {step:<22} {', '.join(told)}", flush=True)


def steps(size: Size, tokens: int, length: int) -> Iterator[tuple[str, Mapping[str, Step]]]:
    """Each step, with the ways to take it; the first is how the bodies do."""
    states = _random(tokens, size.hidden)
    yield "query, key, value", _three_products(size, states)
    heads = _random(tokens, size.heads + 2 * size.key_heads, size.head)
    yield f"attention to {length}", _attention(size, heads, length)
    if size.gated is None:
        yield from _plain(size, states)
    else:
        yield "rotary positions", _rotary(heads[:, : size.heads + size.key_heads])
        yield from _gated(size, states)


def _three_products(size: Size, states: torch.Tensor) -> Mapping[str, Step]:
    rows = [size.heads * size.head, *[size.key_heads * size.head] * 2]
    weight = _random(sum(rows), size.hidden)
    apart = torch.split(weight, rows)
    return {
        "in one": lambda: linear(states, weight),
        "three": lambda: [linear(states, part) for part in apart],
    }


def _attention(size: Size, heads: torch.Tensor, length: int) -> Mapping[str, Step]:
    count = len(heads) // length
    parts = [size.heads, size.key_heads, size.key_heads]
    query, key, value = torch.split(heads[: count * length], parts, dim=1)
    offsets = torch.arange(count + 1, dtype=torch.int32) * length
    spans = Spans(offsets, offsets, length, length, key_places=None)
    four = [part.view(count, length, *part.shape[1:]).transpose(1, 2) for part in (query, key, value)]

    def kernel(backend: SDPBackend) -> Step:
        def run() -> object:
            with sdpa_kernel(backend):
                return scaled_dot_product_attention(
                    four[0], four[1], four[2], is_causal=size.causal, enable_gqa=size.heads != size.key_heads
                )

        return run

    return {
        "spans": lambda: attend_spans(query, key, value, spans, CAUSAL if size.causal else WHOLE),
        "rectangle, flash": kernel(SDPBackend.FLASH_ATTENTION),
        "rectangle, cudnn": kernel(SDPBackend.CUDNN_ATTENTION),
    }


def _rotary(heads: torch.Tensor) -> Mapping[str, Step]:
    angles = _random(len(heads), 1, heads.shape[-1])
    pairs, halves = PairTurn(angles), Turn(angles, angles)
    return {
        "pairs": lambda: turned(heads, pairs),
        "halves": lambda: turned(heads, halves),
        "a copy": heads.contiguous,
    }


def _gated(size: Size, states: torch.Tensor) -> Iterator[tuple[str, Mapping[str, Step]]]:
    activation = ACT2FN[size.gated]
    values, gates = _random(len(states), 2 * size.inner).chunk(2, dim=1)
    yield "gate", {"one": lambda: gated(activation, values, gates), "two": lambda: activation(values) * gates}
    widened, sums = values.contiguous(), states.clone()
    down = torch.nn.Linear(size.inner, size.hidden, bias=False, dtype=states.dtype)
    yield (
        "product and sum",
        {"one": lambda: added(sums, down, widened), "two": lambda: states + down(widened)},
    )
    weight = _random(size.hidden)
    yield "norm", {"rms": lambda: rms_norm(states, (size.hidden,), weight)}


def _plain(size: Size, states: torch.Tensor) -> Iterator[tuple[str, Mapping[str, Step]]]:
    weight, bias, inner = _random(size.hidden), _random(size.hidden), _random(len(states), size.inner)
    yield "sum", {"torch": lambda: states + states}
    yield "norm", {"layer": lambda: layer_norm(states, (size.hidden,), weight, bias)}
    yield "gelu", {"torch": lambda: gelu(inner)}


def _random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.bfloat16)


def _told(run: Step, options: argparse.Namespace) -> str:
    """The microseconds, or why there are none."""
    try:
        return f"{microseconds(run, options.device, options.repeat):.0f}"
    except (RuntimeError, NotImplementedError, AssertionError) as error:
        return f"not here ({str(error).splitlines()[0][:60]})"


def microseconds(run: Step, device: str, repeat: int, at_once: int = 20) -> float:
    """The median of the rounds, after one that warms up."""
    rounds = []
    for _ in range(repeat + 1):
        wait(device)
        started = time.perf_counter()
        for _ in range(at_once):
            run()
        wait(device)
        rounds.append((time.perf_counter() - started) / at_once * 1e6)
    return statistics.median(rounds[1:])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=SIZES, nargs="+", default=[*SIZES])
    parser.add_argument("--tokens", type=int, default=32_768)
    parser.add_argument("--length", type=int, default=512, help="tokens of a sequence")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--repeat", type=int, default=5)
    return parser


if __name__ == "__main__":
    main()
