"""Checkpoints to measure, and engines that run them, on the smallest size."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from safetensors import safe_open

from benchmarks import int8, qwen3
from benchmarks.floor import floor_seconds
from benchmarks.processes import NotAvailableError
from benchmarks.workload import QUERY, checkpoint, documents
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.core import Pair, Truncation
from rerank.scorers.base import finish
from rerank.scorers.causal.prompt import PromptTokenizer
from tests.support.tiny_checkpoints import make_bert, make_modernbert


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint("qwen3-tiny", tmp_path_factory.mktemp("benchmarks"))


def test_the_floor_is_two_operations_for_each_number_in_the_layers_and_token(folder: Path, tmp_path: Path) -> None:
    for model in (folder, make_bert(tmp_path / "bert"), make_modernbert(tmp_path / "modernbert")):
        with safe_open(model / "model.safetensors", framework="pt") as tensors:
            shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
        numbers = sum(math.prod(shape) for name, shape in shapes.items() if ".layer" in name and len(shape) == 2)

        assert floor_seconds(model, tokens=10, rate=100.0) == pytest.approx(2 * numbers * 10 / 100)


def test_a_word_is_a_token_and_the_prompt_has_no_unknown_ones(folder: Path) -> None:
    texts = documents(3)
    tokenizer = PromptTokenizer(folder, QWEN3_RERANKER, 1024)

    prompts = finish(tokenizer.reading([Pair(QUERY, text) for text in texts], Truncation(), QWEN3_RERANKER.instruction))

    assert [len(prompt.rest) - len(tokenizer.suffix) for prompt in prompts] == [len(text.split()) for text in texts]
    assert 0 not in prompts[0].prefix + prompts[0].rest
    counted = qwen3.count(prompts, len(tokenizer.system))
    assert counted.whole - counted.shared == 2 * len(prompts[0].prefix)
    assert counted.whole - counted.apart == 2 * len(tokenizer.system)


def test_qwen3_agrees_with_the_model_cards_procedure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "--model qwen3-tiny --documents 3 --precisions fp32 --repeat 1 --batch 2 --card-batch 2 --folder"
    qwen3.main([*options.split(), str(folder.parent), "--only", "card", "ours", "apart"])

    printed = capsys.readouterr().out
    apart = {name: float(value) for name, value in re.findall(r"^(.+?)  .*logits within (\S+) of", printed, re.M)}
    assert apart["model card fp32"] == 0
    assert max(apart["ours fp32"], apart["apart fp32"]) < 1e-5
    assert printed.startswith("qwen3-tiny: 3 pairs, ")


def test_our_engine_is_run_at_a_precision_it_knows(tmp_path: Path) -> None:
    model = make_bert(tmp_path / "bert")

    logits, seconds = int8.run("ours-fp32", model, [Pair("a", "b"), Pair("a", "c d")])

    assert len(logits) == 2
    assert seconds > 0
    with pytest.raises(NotAvailableError, match="MODEL_PRECISION does not take it"):
        int8.run("ours-int3", model, [])
