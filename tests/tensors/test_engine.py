"""Ranking in a script, without HTTP."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import rerank
from rerank import Engine
from rerank.errors import ModelNotFound, ServerStopping
from rerank.settings import Settings
from rerank.telemetry.events import BatchStarted, Event, Observe, ignore
from tests.support.kept import share_kept_networks
from tests.support.tiny_checkpoints import make_embedding_model, make_xlm_roberta

QUERY = "what is machine learning?"
DOCUMENTS = ["Machine learning is a branch of AI", "the giant panda", "learning", "machine learning " * 200]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_xlm_roberta(folder / "tiny")
    return folder


def open_engine(models: Path, observe: Observe = ignore, **others: Any) -> Engine:
    choices: dict[str, Any] = {
        "rerank_models_dir": models,
        "rerank_models_file": models / "none.toml",
        "rerank_model_device": "cpu",
        "rerank_model_precision": "fp32",
        "rerank_model_runtime": "torch",
        **others,
    }
    return Engine.open(Settings(_env_file=None, **choices), observe=observe)


async def test_ranks_as_sentence_transformers_does(models: Path) -> None:
    # importing it takes seconds
    from sentence_transformers import CrossEncoder

    async with open_engine(models) as engine:
        ranked = await engine.rank(QUERY, DOCUMENTS, model="tiny")
        best = await engine.rank(QUERY, DOCUMENTS, model="tiny", top_n=1)
    reference = CrossEncoder(str(models / "tiny"), device="cpu").predict([(QUERY, text) for text in DOCUMENTS])
    assert [document.index for document in ranked] == sorted(range(4), key=lambda index: -reference[index])
    assert [document.relevance_score for document in ranked] == pytest.approx(sorted(reference, reverse=True), abs=1e-5)
    assert best == ranked[:1]


@pytest.mark.parametrize(
    ("others", "computed_again"),
    [({}, False), ({"rerank_vector_cache": "0"}, True), ({"rerank_cache": "off"}, True)],
    ids=["default", "no vectors", "no cache"],
)
async def test_documents_of_another_query_are_embedded_once(
    models: Path, others: dict[str, str], computed_again: bool
) -> None:
    make_embedding_model(models / "embedding")
    started: list[int] = []

    def observe(event: Event) -> None:
        if isinstance(event, BatchStarted):
            started.append(event.tokens)

    async with open_engine(models, observe, **others) as engine:
        await engine.rank("pandas", DOCUMENTS, model="embedding")
        first = sum(started)
        await engine.rank(QUERY, DOCUMENTS, model="embedding")

    assert (sum(started) - first > first / 2) is computed_again


async def test_an_unknown_model_is_named_with_what_is_near(models: Path) -> None:
    async with open_engine(models) as engine:
        with pytest.raises(ModelNotFound, match="tinny"):
            await engine.rank(QUERY, DOCUMENTS, model="tinny")


async def test_an_engine_that_was_closed_scores_no_more(models: Path) -> None:
    async with open_engine(models) as engine:
        trouble = engine.trouble
    assert (trouble, bool(engine.trouble)) == (None, True)
    with pytest.raises(ServerStopping):
        await engine.rank(QUERY, DOCUMENTS, model="tiny")


def test_the_package_has_the_engine_and_nothing_unheard_of() -> None:
    assert rerank.Engine is Engine
    with pytest.raises(AttributeError, match="Motor"):
        _ = rerank.Motor


@pytest.mark.usefixtures("converted")
def test_the_program_in_both_readmes_and_the_page_of_python_ranks(tmp_path: Path) -> None:
    root = Path(rerank.__file__).parents[1]
    names = ("README.md", "README.zh-CN.md", "docs/reference/python.md", "docs/reference/python.zh-CN.md")
    pages = [(root / name).read_text("utf-8") for name in names]
    found = [re.findall(r"```python\n([^`]*from rerank import Engine[^`]*)```", page) for page in pages]
    (program,) = found[0]
    assert found == [[program]] * len(names)
    share_kept_networks(tmp_path / "models")
    environment = {"PATH": "", "PYTHONPATH": str(root), "MODEL_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    ranked = re.findall(r"ScoredDocument\(index=(\d), relevance_score=(0\.\d+)\)", done.stdout)
    assert [index for index, _ in ranked] == ["0", "1"]
    assert float(ranked[0][1]) > float(ranked[1][1])
