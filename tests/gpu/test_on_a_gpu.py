"""Scores, memory and faults on a real GPU; ``python -m benchmarks.gpu`` measures it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import torch

from rerank.activations import Activation
from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device, free_memory, is_out_of_memory, release_memory
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.memory import Memory
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.layouts import BY_VERSION_5, ETTIN, Make, Reference, causal, two_hundred_texts
from tests.parity.test_published_layouts import PAIRS, RIGHT
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta
from tests.support.whole import whole_server

GPU = "cuda:0"
TOLERANCE = {"fp32": 1e-3, "fp16": 0.1, "bf16": 0.6}
"""Of the largest logit: weights this random magnify every rounding."""


def load(folder: Path, card: ModelCard, precision: str = "auto") -> Scorer:
    placement = Placement(choose_device(GPU, precision), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


def logits(scorer: Scorer, pairs: Sequence[tuple[str, str]]) -> list[float]:
    return score(scorer, scorer.encode([Pair(query, text) for query, text in pairs]))


@pytest.mark.parametrize(("make", "reference", "activation", "card"), RIGHT)
def test_a_layout_scores_as_its_own_procedure_on_a_cpu(
    tmp_path: Path, make: Make, reference: Reference, activation: Activation, card: dict[str, Any]
) -> None:
    folder = tmp_path / "tiny"
    make(folder)
    known = next((model for model in BUILT_IN if model.id == card["id"]), ModelCard(**card))
    exact = reference(folder, PAIRS)
    largest = max(1.0, *map(abs, exact))

    for precision, tolerance in TOLERANCE.items():
        assert logits(load(folder, known, precision), PAIRS) == pytest.approx(exact, abs=tolerance * largest), precision


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(make_xlm_roberta, id="xlm-r"),
        pytest.param(make_bert, id="bert"),
        pytest.param(make_qwen3, id="qwen3"),
        pytest.param(ETTIN, id="ettin"),
        pytest.param(
            lambda folder: causal(folder, model_type="llama", template=None, classifier=True, **BY_VERSION_5),
            id="llama-classifier",
        ),
    ],
)
def test_two_hundred_documents_have_as_many_scores(tmp_path: Path, make: Make) -> None:
    folder = tmp_path / "tiny"
    make(folder)
    pairs = [("what is machine learning?", text) for text in two_hundred_texts()]

    found = logits(load(folder, ModelCard(id="tiny")), pairs)

    assert len(set(found)) == 200


@pytest.fixture
def little_memory() -> Iterator[int]:
    """Bytes of the GPU that torch may take beyond what it holds already; the card's free memory does not show it."""
    release_memory()
    allowed = 64 << 20
    total = torch.cuda.get_device_properties(GPU).total_memory
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved(GPU) + allowed) / total, GPU)
    yield allowed
    torch.cuda.set_per_process_memory_fraction(1.0, GPU)


def test_a_batch_too_large_for_the_memory_is_halved(tmp_path: Path, little_memory: int) -> None:
    folder = tmp_path / "tiny"
    make_xlm_roberta(folder)
    scorer = load(folder, ModelCard(id="tiny"))
    pairs = [Pair("what is machine learning?", "the giant panda is a bear " * 70)] * 4096
    memory = Memory(lambda: free_memory(GPU), is_out_of_memory, release_memory)
    everything = BatchBudget(pairs=len(pairs), tokens=1 << 40)
    scheduler = Scheduler(DeviceSpec(GPU, everything, memory))

    encoded = scorer.encode(pairs)
    found = scheduler.submit((scorer,), encoded).future.result(timeout=100)
    scheduler.stop()

    with pytest.raises(torch.OutOfMemoryError):
        score(scorer, encoded)
    assert found == pytest.approx([found[0]] * len(pairs), abs=1e-2)


def held() -> int:
    """Bytes of the GPU behind tensors; cuBLAS keeps a workspace for as long as the process lives."""
    release_memory()
    torch._C._cuda_clearCublasWorkspaces()
    return torch.cuda.memory_allocated(GPU)


def test_a_model_leaves_no_memory_behind(tmp_path: Path) -> None:
    make_xlm_roberta(tmp_path / "models" / "words", hidden=256)
    body = {"model": "words", "query": "what is machine learning?", "documents": ["the giant panda", "a branch of AI"]}
    before = held()

    with whole_server(tmp_path, model_device="cuda", admin_key="a-secret-key") as address:
        with requests.Session() as client:
            client.headers["Authorization"] = "Bearer a-secret-key"
            answer = client.post(f"{address}/v1/rerank", json=body)
            loaded = torch.cuda.memory_allocated(GPU)
            metrics = client.get(f"{address}/metrics").text
            stopped = client.post(f"{address}/v1/models/words/unload")
        after = held()

    assert answer.status_code == 200, answer.text
    assert {result["index"] for result in answer.json()["results"]} == {0, 1}
    assert loaded > before
    assert 'device="cuda:0"' in metrics
    assert stopped.ok, stopped.text
    assert after == before


def test_the_server_ranks_on_a_gpu_as_on_a_cpu(tmp_path: Path) -> None:
    for name, make in (("words", make_xlm_roberta), ("asked", make_qwen3)):
        make(tmp_path / "models" / name)
    texts = ["the giant panda", "Machine learning is a branch of AI", "机器学习", "a"]
    found: dict[str, list[dict[int, float]]] = {}

    for device in ("cuda", "cpu"):
        with whole_server(tmp_path, model_device=device) as address:
            for model in ("words", "asked"):
                body = {"model": model, "query": "what is machine learning?", "documents": texts}
                answer = requests.post(f"{address}/v1/rerank", json=body, timeout=60)
                assert answer.status_code == 200, answer.text
                scores = {result["index"]: result["relevance_score"] for result in answer.json()["results"]}
                found.setdefault(model, []).append(scores)

    for on_gpu, on_cpu in found.values():
        assert on_gpu == pytest.approx(on_cpu, abs=0.03)


def test_a_context_beyond_repair_is_noticed() -> None:
    program = (
        "import torch\n"
        "from rerank.devices import is_lost\n"
        "table = torch.zeros(4, 4, device='cuda:0')\n"
        "assert not is_lost('cuda:0')\n"
        "table[torch.tensor([9], device='cuda:0')]\n"
        "assert is_lost('cuda:0')\n"
    )

    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stderr[-2000:]
