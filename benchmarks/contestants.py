"""The servers that are compared, by name. Peers live in virtual environments of their own (`make bench-peers`)."""

from __future__ import annotations

import ctypes.util
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks.processes import Contestant
from rerank.devices import choose_device

ROOT = Path(__file__).parents[1]
PEERS = ROOT / ".venv-peers"
_DTYPES = {"fp32": "float32", "bf16": "bfloat16"}


def ours(model: Path, precision: str, device: str = "cpu") -> Contestant:
    """This server; every precision that MODEL_PRECISION knows."""
    return Contestant(
        f"ours-{precision}" if device == "cpu" else f"ours-{device}-{precision}",
        (sys.executable, str(ROOT / "rerank_server.py"), "--port", "{port}"),
        {
            "RERANK_MODELS_DIR": str(model.parent),
            "RERANK_DEFAULT_MODEL": model.name,
            "RERANK_PRELOAD": model.name,
            "MODEL_DEVICE": device,
            "MODEL_PRECISION": precision,
            # every request's documents wait at once
            "RERANK_MAX_INFLIGHT_DOCUMENTS": "1000000",
            # requests repeat their texts
            "RERANK_CACHE": "off",
        },
    )


def vllm(model: Path, precision: str) -> Contestant:
    """vLLM on every core, with Intel's OpenMP, and tcmalloc if it is installed, as its guide for CPUs advises."""
    plain = vllm_as_it_comes(model, precision)
    preload = [str(PEERS / "vllm" / "lib" / "libiomp5.so"), ctypes.util.find_library("tcmalloc_minimal") or ""]
    every = ",".join(str(core) for core in sorted(os.sched_getaffinity(0)))
    cores = {"VLLM_CPU_OMP_THREADS_BIND": every, "LD_PRELOAD": ":".join(filter(None, preload))}
    return Contestant(f"vllm-{precision}", plain.command, plain.environment | cores)


def vllm_as_it_comes(model: Path, precision: str) -> Contestant:
    """vLLM with its own choice of cores: it keeps one for the HTTP server.

    Not `vllm serve`: the package vllm-cpu fails there, as it looks for a package named vllm.
    """
    command = (
        *(str(PEERS / "vllm" / "bin" / "python"), "-m", "vllm.entrypoints.openai.api_server"),
        *("--model", str(model), "--served-model-name", model.name, "--runner", "pooling"),
        *("--dtype", _DTYPES[precision], "--max-model-len", "512", "--host", "127.0.0.1", "--port", "{port}"),
    )
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING"}
    return Contestant(f"vllm-defaults-{precision}", command, environment)


def infinity(model: Path, precision: str) -> Contestant:
    """Infinity with its torch engine."""
    command = (
        *(str(PEERS / "infinity" / "bin" / "infinity_emb"), "v2"),
        *("--model-id", str(model), "--served-model-name", model.name, "--engine", "torch", "--device", "cpu"),
        *("--dtype", _DTYPES[precision], "--no-bettertransformer", "--host", "127.0.0.1", "--port", "{port}"),
    )
    return Contestant(f"infinity-{precision}", command, path="/rerank")


def sentence_transformers(model: Path, precision: str) -> Contestant:
    """CrossEncoder.predict behind FastAPI, as one writes it at home."""
    python = PEERS / "sentence-transformers" / "bin" / "python"
    script = Path(__file__).parent / "peers" / "sentence_transformers_server.py"
    return Contestant(f"sentence-transformers-{precision}", (str(python), str(script), str(model), precision, "{port}"))


MAKERS: dict[str, Callable[[Path, str], Contestant]] = {
    "ours": ours,
    "ours-cuda": partial(ours, device="cuda"),
    "vllm": vllm,
    "vllm-defaults": vllm_as_it_comes,
    "infinity": infinity,
    "sentence-transformers": sentence_transformers,
}
NATIVE = choose_device("cpu").precision
"""What MODEL_PRECISION=auto is on this CPU: bf16 where it multiplies that by itself, else fp32."""
DEFAULT = (
    *(f"{kind}-{NATIVE}" for kind in ("ours", "vllm", "vllm-defaults", "infinity")),
    *("ours-int8", "sentence-transformers-fp32"),
)


def contestant(name: str, model: Path) -> Contestant:
    """The contestant of a name such as ``vllm-bf16``. Raises ValueError for a name that means none."""
    kind, _, precision = name.rpartition("-")
    if kind not in MAKERS or (kind != "ours" and precision not in _DTYPES):
        known = ", ".join(f"{maker}-fp32" for maker in MAKERS)
        raise ValueError(f"{name} is no contestant; there are {known}, each with -bf16 too, and ours-int8")
    return MAKERS[kind](model, precision)
