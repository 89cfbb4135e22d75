"""This engine at each precision against ONNX Runtime as one quantises a model at home: the same pairs, no HTTP.

    python -m benchmarks.int8 --model minilm --documents 100 --repeat 3

Prints seconds (median of the rounds, which take turns), the ratio to the first contestant, and how far the logits are
from its logits. ONNX Runtime is installed by `make bench-peers`; without it the table says so. For what int8 costs in
ranking see `benchmarks.quality`: the weights here are random.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.alone import engine_alone
from benchmarks.contestants import NATIVE, PEERS
from benchmarks.floor import DTYPES, floor_seconds, products_rate
from benchmarks.processes import NotAvailableError, last_line
from benchmarks.turns import timed
from benchmarks.workload import QUERY, SIZES, checkpoint, documents, token_count
from rerank.core import Pair

_SCRIPT = Path(__file__).parent / "peers" / "onnx_int8.py"
_BATCH = 8


def main(arguments: Sequence[str] | None = None) -> None:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    folder = checkpoint(options.model, options.folder)
    pairs = [Pair(QUERY, text) for text in documents(options.documents)]
    tokens = token_count(options.model, [pair.document for pair in pairs])
    print(f"{options.model}: {len(pairs)} pairs, {tokens} tokens")
    for name, dtype in DTYPES.items():
        print(f"floor {name:<16} {floor_seconds(folder, tokens, products_rate(folder, dtype)):8.2f} s")
    seconds: dict[str, list[float]] = {name: [] for name in options.contestants}
    logits: dict[str, list[float]] = {}
    obstacles: dict[str, str] = {}
    for _ in range(options.repeat):
        for name in options.contestants:
            if name in obstacles:
                continue
            try:
                logits[name], spent = run(name, folder, pairs)
                seconds[name].append(spent)
            except NotAvailableError as error:
                obstacles[name] = str(error)
    for line in report(seconds, logits, obstacles):
        print(line)


def run(name: str, folder: Path, pairs: Sequence[Pair]) -> tuple[list[float], float]:
    """Logits and seconds of a contestant such as ``ours-fp32`` or ``onnx-int8``, after a pass that warms up."""
    kind, _, precision = name.rpartition("-")
    if kind == "onnx":
        return _onnx(folder, precision, pairs)
    with engine_alone(folder, precision, folder.parent) as score:
        return timed(score, pairs)


def report(seconds: dict[str, list[float]], logits: dict[str, list[float]], obstacles: dict[str, str]) -> list[str]:
    """A line a contestant, in the order given."""
    lines = []
    base = next((name for name in seconds if name not in obstacles), "")
    for name, rounds in seconds.items():
        if name in obstacles:
            lines.append(f"{name:<22} not available: {obstacles[name]}")
            continue
        spent = statistics.median(rounds)
        share = spent / statistics.median(seconds[base])
        apart = max(abs(one - other) for one, other in zip(logits[name], logits[base], strict=True))
        lines.append(f"{name:<22} {spent:8.2f} s   x {share:.3f}   logits within {apart:.1e} of {base}'s")
    return lines


def _onnx(folder: Path, precision: str, pairs: Sequence[Pair]) -> tuple[list[float], float]:
    python = PEERS / "onnx" / "bin" / "python"
    if not python.exists():
        raise NotAvailableError("not installed here: make bench-peers")
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as file:
        json.dump([[pair.query, pair.document] for pair in pairs], file)
        file.flush()
        command = [str(python), str(_SCRIPT), str(folder), precision, file.name, str(_BATCH)]
        done = subprocess.run([*command, str(folder.parent / ".onnx")], capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        raise NotAvailableError(last_line(done.stderr))
    answer = json.loads(done.stdout.splitlines()[-1])
    return answer["logits"], answer["seconds"]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="minilm")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument(
        "--contestants",
        nargs="+",
        metavar="NAME",
        default=[*dict.fromkeys(("ours-fp32", f"ours-{NATIVE}", "ours-int8", "onnx-fp32", "onnx-int8"))],
        help="ours- and a precision that MODEL_PRECISION takes, or onnx-fp32 or onnx-int8; ratios are to the first",
    )
    parser.add_argument("--repeat", type=int, default=3, help="rounds")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    main()
