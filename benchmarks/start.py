"""Seconds from nothing to the first answer: the bundled model on a CPU.

    python -m benchmarks.start --repeat 3

A server is started in an empty folder, where it converts the model, and then again with what it kept, and one whose
only model is behind the first. Each time it is asked as soon as it listens. For comparison, a script loads the same
model with sentence-transformers and ranks the same two documents. Prints the median of each, with the CPU seconds of
the process until its first answer, and its most memory. Linux only.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import requests

from benchmarks.processes import Contestant, serving
from rerank.catalog.catalog import embedded_folder

ROOT = Path(__file__).parents[1]
OURS = Contestant(
    "ours", (sys.executable, str(ROOT / "rerank_server.py"), "--port", "{port}"), {"PYTHONPATH": str(ROOT)}
)
"""With its default settings."""
SCRIPT = """
import resource, sys, time
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu", local_files_only=True)
query, *documents = model.encode(["capital of France", "Paris", "cheese"], normalize_embeddings=True)
print(documents @ query, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


UPSTREAM = '[[model]]\nid = "far"\nupstream = {{ api = "vllm", url = "{}", model = "cosine" }}\n'


class Start(NamedTuple):
    """One start."""

    listening: float
    answered: float
    """Seconds until the first answer was there."""
    computed: float
    """Seconds of the CPU until then."""
    peak_bytes: int


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    rounds = [_round() for _ in range(parser.parse_args().repeat)]
    for name in rounds[0]:
        starts = [starts[name] for starts in rounds]
        listening, answered, computed, peak = (statistics.median(column) for column in zip(*starts, strict=True))
        shown = f"listens {listening:5.1f} s   answers {answered:5.1f} s   CPU {computed:5.1f} s   {peak / 1e6:5.0f} MB"
        print(f"{name:<40} {shown}")


def _round() -> dict[str, Start]:
    with tempfile.TemporaryDirectory() as folder:
        return {
            "first start, converts the model": _start(Path(folder)),
            "later start": _start(Path(folder)),
            "all models behind upstreams": _start_of_gateway(Path(folder)),
            "a script with sentence-transformers": _script(),
        }


def _start_of_gateway(folder: Path) -> Start:
    with serving(OURS, folder) as far, tempfile.TemporaryDirectory() as near:
        asked = {"query": "capital of France", "documents": ["Paris", "cheese"]}
        requests.post(f"{far.url}/v1/rerank", json=asked, timeout=300).raise_for_status()
        (Path(near) / "models.toml").write_text(UPSTREAM.format(far.url), encoding="utf-8")
        return _start(Path(near), replace(OURS, environment={**OURS.environment, "RERANK_DEFAULT_MODEL": "far"}))


def _start(folder: Path, contestant: Contestant = OURS) -> Start:
    begun = time.monotonic()
    with serving(contestant, folder) as server:
        listening = time.monotonic() - begun
        asked = {"query": "capital of France", "documents": ["Paris", "cheese"]}
        requests.post(f"{server.url}/v1/rerank", json=asked, timeout=300).raise_for_status()
        return Start(listening, time.monotonic() - begun, server.cpu_seconds(), server.peak_bytes())


def _script() -> Start:
    folder = embedded_folder()
    if folder is None:
        raise FileNotFoundError("the package of the bundled model is not installed")
    begun = time.monotonic()
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", SCRIPT, str(folder)], capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - begun
    *_, computed, peak = done.stdout.split()
    return Start(seconds, seconds, float(computed), 1024 * int(peak))


if __name__ == "__main__":
    main()
