"""Texts far longer than a model reads: what they cost depends on what is read, and others have their turn meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from rerank.backends.local import LocalBackend
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import DEFAULT_OPTIONS, Pair, ScoringOptions, Truncation
from rerank.devices import Device
from rerank.errors import InvalidRequest
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer
from tests.support import tiny_checkpoints

CPU = Device("cpu", "fp32", "test")
LONG = 4_000_000
"""Characters; encoded whole they take 10 to 20 s and 2 GB."""
PATIENCE = 60.0
MAKERS = (
    tiny_checkpoints.make_bert,
    tiny_checkpoints.make_xlm_roberta,
    tiny_checkpoints.make_qwen3,
    tiny_checkpoints.make_qwen2,
    tiny_checkpoints.make_modernbert,
)


@pytest.fixture(scope="module", params=MAKERS, ids=lambda maker: maker.__name__)
def scorer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("model")
    request.param(folder)
    return load_scorer(read_checkpoint(folder), ModelCard(id="tiny"), Placement(CPU, folder / ".openvino"))


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("atom", ["the panda is a bear. ", ". ", "机器学习是人工智能的一个分支"])
def test_a_long_document_costs_what_is_read_of_it(scorer: Scorer, atom: str, side: str) -> None:
    pair = Pair("panda", atom * (LONG // len(atom)))
    truncation = Truncation(side="left" if side == "left" else "right")
    assert sum(part.characters for part in scorer.reading([pair], ScoringOptions(truncation))) < 200_000


def test_a_long_query_is_refused_without_being_read(scorer: Scorer) -> None:
    begun = time.process_time()
    with pytest.raises(InvalidRequest, match="at least"):
        scorer.encode([Pair("panda " * (LONG // 6), "a bear")] * 5000)
    assert time.process_time() - begun < PATIENCE


def test_a_long_instruction_is_refused_or_left_out(scorer: Scorer) -> None:
    begun = time.process_time()
    pairs = [Pair(f"panda {number}", "a bear") for number in range(100)]
    with suppress(InvalidRequest):
        scorer.encode(pairs, ScoringOptions(instruction="find " * (LONG // 5)))
    assert time.process_time() - begun < PATIENCE


def test_a_long_document_that_may_not_be_cut_is_refused_without_being_read(scorer: Scorer) -> None:
    pairs = [Pair("panda", "a bear"), Pair("panda", "the panda " * (LONG // 10))]
    begun = time.process_time()
    with pytest.raises(InvalidRequest, match=r"documents\.1 with the query has at least"):
        scorer.encode(pairs, ScoringOptions(Truncation(allowed=False)))
    assert time.process_time() - begun < PATIENCE


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    folder = tmp_path_factory.mktemp("model")
    tiny_checkpoints.make_bert(folder)
    return load_scorer(read_checkpoint(folder), ModelCard(id="tiny"), Placement(CPU, folder / ".openvino"))


@pytest.fixture
def backend(bert: Scorer, tmp_path: Path) -> Iterator[LocalBackend]:
    scheduler = Scheduler(DeviceSpec("cpu", BatchBudget(pairs=8, tokens=2048)))
    with Tokenisers(1) as tokenisers:
        yield LocalBackend([bert], scheduler, tokenisers)
    scheduler.stop(PATIENCE)


async def test_a_short_request_is_answered_while_a_word_without_an_end_is_read(backend: LocalBackend) -> None:
    endless = [Pair("panda", "a" * LONG)] * 3
    flood = asyncio.ensure_future(backend.score(endless, DEFAULT_OPTIONS, caller="flood"))
    await asyncio.sleep(0)
    (score,) = await backend.score([Pair("panda", "a bear")], DEFAULT_OPTIONS, caller="other")
    assert score.tokens > 0
    assert not flood.done()
    flood.cancel()
    await asyncio.gather(flood, return_exceptions=True)
    # and nobody reads on: the only thread is free
    begun = time.process_time()
    await backend.score([Pair("panda", "a bear")], DEFAULT_OPTIONS, caller="flood")
    assert time.process_time() - begun < PATIENCE
