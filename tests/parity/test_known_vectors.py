"""A document whose vector is known is scored as one that is computed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair, ScoringOptions
from rerank.devices import Device, choose_device
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.late import make_stanford
from tests.support.tiny_checkpoints import make_embedding_model

DOCUMENTS = ("machine learning is a branch of AI", "", "one more word, " * 30, "a", "the giant panda is a bear")
MODELS: dict[str, Callable[[Path], Path]] = {"embeddings": make_embedding_model, "late interaction": make_stanford}
ROOM = 1_000_000


def load(folder: Path, room: int = ROOM, device: Device | None = None) -> Scorer:
    placement = Placement(
        device or choose_device("cpu", "fp32", "torch"), folder.parent / ".openvino", vector_cache_bytes=room
    )
    return load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)


def pairs(query: str, *documents: str) -> list[Pair]:
    return [Pair(query, document) for document in documents or DOCUMENTS]


@pytest.fixture(params=MODELS)
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return MODELS[request.param](tmp_path / "model")


def test_a_new_query_computes_only_itself_and_scores_the_same(folder: Path) -> None:
    keeping, plain = load(folder), load(folder, room=0)
    score(keeping, keeping.encode(pairs("pandas", *DOCUMENTS[:3])))
    asked = keeping.encode(pairs("what is machine learning?"))

    # known and unknown documents in one batch
    assert score(keeping, asked) == pytest.approx(
        score(plain, plain.encode(pairs("what is machine learning?"))), abs=1e-5
    )
    assert [each.computed < each.tokens for each in asked] == [True, True, True, False, False]
    again = keeping.encode(pairs("what is machine learning?"))
    assert all(each.computed < each.tokens for each in again)
    assert score(keeping, again) == pytest.approx(score(keeping, asked), abs=1e-5)
    assert [each.tokens for each in again] == [each.tokens for each in asked]


def test_a_request_may_have_everything_computed(folder: Path) -> None:
    scorer, options = load(folder), ScoringOptions(cached=False)
    score(scorer, scorer.encode(pairs("pandas")))

    assert all(each.computed == each.tokens for each in scorer.encode(pairs("pandas"), options))


def test_a_document_is_known_by_the_tokens_that_are_read_of_it(folder: Path) -> None:
    scorer = load(folder)
    score(scorer, scorer.encode(pairs("pandas", "one more word, " * 2000)))
    (same, other) = scorer.encode(pairs("pandas", "one more word, " * 3000, "two more words, " * 2000))

    assert same.computed < same.tokens
    assert other.computed == other.tokens


def test_a_gpu_keeps_none(tmp_path: Path) -> None:
    gpu = Device("cuda:0", "bf16", "of a test")
    assert Placement(gpu, tmp_path, vector_cache_bytes=ROOM).new_vector_cache() is None
