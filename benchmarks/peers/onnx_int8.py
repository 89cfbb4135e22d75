"""ONNX Runtime as one uses it at home: export, quantize_dynamic, a loop over pairs sorted by length. No HTTP.

    onnx_int8.py FOLDER int8 PAIRS.json 8 CACHE    (FOLDER: checkpoint; PAIRS.json: [[query, document], ...])

Runs in its own virtual environment (`make bench-peers`). Prints JSON: seconds of one pass after a warm-up, and logits.
`python -m benchmarks.int8` runs it next to this engine.
"""

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from transformers import AutoModelForSequenceClassification, AutoTokenizer


class _Logits(torch.nn.Module):
    """A model that takes its inputs by place and gives logits alone."""

    def __init__(self, model: Any, names: list[str]) -> None:
        super().__init__()
        self.model, self.names = model, names

    def forward(self, *tensors: torch.Tensor) -> Any:
        return self.model(**dict(zip(self.names, tensors, strict=True))).logits


def export(folder: Path, target: Path, names: list[str]) -> None:
    """The checkpoint as an fp32 network with free batch size and length."""
    model: Any = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="eager").eval()
    example = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _Logits(model, names),
            example,
            str(target),
            input_names=names,
            output_names=["logits"],
            dynamic_axes={name: {0: "batch", 1: "length"} for name in names},
            opset_version=17,
            dynamo=False,
        )


def network(folder: Path, precision: str, cache: Path, names: list[str]) -> Path:
    """The network's file, made once."""
    plain, quantised = cache / folder.name / "model.onnx", cache / folder.name / "model.int8.onnx"
    plain.parent.mkdir(parents=True, exist_ok=True)
    if not plain.is_file():
        export(folder, plain, names)
    if precision == "int8" and not quantised.is_file():
        quantize_dynamic(plain, quantised, weight_type=QuantType.QInt8)
    return quantised if precision == "int8" else plain


def main() -> None:
    """See the module's docstring."""
    folder, precision, pairs_file, batch, cache = sys.argv[1:6]
    pairs = json.loads(Path(pairs_file).read_text(encoding="utf-8"))
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    names = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in tokenizer.model_input_names]
    session = onnxruntime.InferenceSession(
        str(network(Path(folder), precision, Path(cache), names)), providers=["CPUExecutionProvider"]
    )

    def score() -> list[float]:
        order = sorted(range(len(pairs)), key=lambda place: -len(pairs[place][1]))
        logits = [0.0] * len(pairs)
        for start in range(0, len(order), int(batch)):
            places = order[start : start + int(batch)]
            queries, documents = zip(*(pairs[place] for place in places), strict=True)
            inputs = tokenizer(list(queries), list(documents), padding=True, truncation=True, return_tensors="np")
            given = {name: inputs[name].astype(numpy.int64) for name in names}
            for place, row in zip(places, session.run(["logits"], given)[0], strict=True):
                logits[place] = float(row[0])
        return logits

    score()
    started = time.perf_counter()
    logits = score()
    print(json.dumps({"seconds": time.perf_counter() - started, "logits": logits}))


if __name__ == "__main__":
    main()
