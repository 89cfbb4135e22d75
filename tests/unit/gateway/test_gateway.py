from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rerank.activations import COSINE, SIGMOID, Activation
from rerank.backends.base import LoadedModel
from rerank.catalog.built_in import EMBEDDED
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel
from rerank.catalog.routes import Fallback
from rerank.catalog.upstreams import Upstream, deadline_var
from rerank.core import Pair, RawScore, ScoringOptions, ScoringRequest, Truncation
from rerank.errors import (
    DeadlineExceeded,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    Overloaded,
    ScoringFailed,
    StillLoading,
)
from rerank.gateway.admission import Admission, Work
from rerank.gateway.gateway import Gateway, Limits
from rerank.registry.lifecycle import State
from rerank.registry.registry import Registry
from tests.support.clock import Clock
from tests.support.fake_loader import FakeLoader, NoBackend, loaded

WAIT = 10.0
SOON = 0.02
BASE = ModelCard(id="maker/base")
FAR = ModelCard(id="maker/far", upstream=Upstream("tei", "http://far"))


@dataclass
class Backend(NoBackend):
    """Scores a pair by the length of its document; on demand it raises, or never ends."""

    activation: Activation = SIGMOID
    gives_logits: bool = True
    max_length: int = 512
    error: Exception | None = None
    hangs: bool = False
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: bool = False
    asked: list[ScoringOptions] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    on_score: Callable[[], object] = lambda: None

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        self.asked.append(options)
        self.deadlines.append(deadline_var.get())
        self.entered.set()
        self.on_score()
        if self.error:
            raise self.error
        if self.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.cancelled = True
                raise
        return [RawScore(float(len(pair.document)), tokens=10 + len(pair.document)) for pair in pairs]

    def close(self) -> None:
        raise AssertionError("nobody asked for it")


class GatewayParts:
    """A gateway whose models answer from one backend."""

    def __init__(self, models_dir: Path) -> None:
        self.backend = Backend()
        self.loads: list[str] = []
        self.may_load = threading.Event()
        self.may_load.set()
        self.load_error: Exception | None = None
        self.admission = Admission(Work(10, 10_000))
        self.registry = Registry(FakeLoader(self.load))
        self.catalog = Catalog(models_dir, (BASE,))

    def load(self, card: ModelCard) -> LoadedModel:
        self.loads.append(card.id)
        if not self.may_load.wait(WAIT):
            raise TimeoutError("nobody let the model load")
        if self.load_error:
            raise self.load_error
        return loaded(card, self.backend)

    def gateway(self, max_documents: int = 8, timeout: float = WAIT, load_timeout: float | None = None) -> Gateway:
        default = DefaultModel(EMBEDDED, "nothing better is there")
        limits = Limits(max_documents, timeout, load_timeout)
        return Gateway(self.catalog, self.registry, self.admission, default, limits)


@pytest.fixture
async def parts(tmp_path: Path) -> AsyncIterator[GatewayParts]:
    parts = GatewayParts(tmp_path)
    async with parts.registry:
        yield parts
    parts.may_load.set()


def ask(*documents: str, query: str = "a query", **rest: Any) -> ScoringRequest:
    return ScoringRequest(tuple(Pair(query, document) for document in documents), **rest)


class TestChoice:
    async def test_a_request_that_names_no_model_gets_the_default_and_the_reason(self, parts: GatewayParts) -> None:
        result = await parts.gateway().score(ask("x"))
        assert result.model == EMBEDDED.id
        assert result.model_reason == "default: nothing better is there"

    async def test_a_named_model_answers_under_its_id(self, parts: GatewayParts) -> None:
        result = await parts.gateway().score(ask("x", model="BASE___VLLM"))
        assert (result.model, result.model_reason) == ("maker/base", "named in the request")
        assert parts.loads == ["maker/base"]

    async def test_an_unknown_model_is_refused_before_anything_is_done(self, parts: GatewayParts) -> None:
        with pytest.raises(ModelNotFound, match="maker/bass"):
            await parts.gateway().score(ask("x", model="maker/bass"))
        assert parts.loads == []


class TestScores:
    async def test_scores_come_in_request_order_with_tokens(self, parts: GatewayParts) -> None:
        result = await parts.gateway().score(ask("abc", "a", "ab"))
        assert result.scores == tuple(SIGMOID(logit) for logit in (3.0, 1.0, 2.0))
        assert result.tokens == 13 + 11 + 12

    async def test_scores_follow_the_activation_of_the_model(self, parts: GatewayParts) -> None:
        parts.backend.activation = COSINE
        result = await parts.gateway().score(ask("a", ""))
        assert result.scores == (1.0, 0.5)

    async def test_scores_are_raw_logits_for_a_caller_who_wants_them(self, parts: GatewayParts) -> None:
        result = await parts.gateway().score(ask("abc", "a", activated=False))
        assert result.scores == (3.0, 1.0)

    @pytest.mark.parametrize(("top_n", "places"), [(0, [0, 2, 1]), (2, [0, 2])])
    async def test_the_ranking_has_as_many_documents_as_the_request_wants(
        self, parts: GatewayParts, top_n: int, places: list[int]
    ) -> None:
        result = await parts.gateway().score(ask("abc", "a", "ab", top_n=top_n))
        assert [(scored.index, scored.relevance_score) for scored in result.ranked] == [
            (place, result.scores[place]) for place in places
        ]

    async def test_raw_logits_of_a_model_that_has_none_are_refused(self, parts: GatewayParts) -> None:
        parts.backend.gives_logits = False
        assert (await parts.gateway().score(ask("abc"))).model == EMBEDDED.id
        with pytest.raises(InvalidRequest, match="gives relevance only"):
            await parts.gateway().score(ask("abc", activated=False))

    async def test_truncation_and_instruction_reach_the_backend(self, parts: GatewayParts) -> None:
        options = ScoringOptions(Truncation(max_tokens=7), "rank")
        await parts.gateway().score(ask("d", options=options))
        assert parts.backend.asked == [options]


class TestDeadlineOfCalls:
    @pytest.mark.parametrize(("within", "most"), [(None, WAIT), (3.0, 3.0), (2 * WAIT, WAIT)])
    async def test_the_backend_knows_the_deadline_of_its_request(
        self, parts: GatewayParts, within: float | None, most: float
    ) -> None:
        before = time.monotonic()
        await parts.gateway().score(ask("x", within=within))
        (deadline,) = parts.backend.deadlines
        assert before + most <= deadline <= time.monotonic() + most

    async def test_a_member_of_a_fallback_knows_its_own_deadline(self, parts: GatewayParts) -> None:
        other = ModelCard("maker/other")
        both = ModelCard("both", route=Fallback((BASE.id, other.id), share=0.1))
        parts.catalog = Catalog(Path("none"), (BASE, other, both))
        parts.backend.error = Overloaded("busy")
        before = time.monotonic()
        with pytest.raises(Overloaded):
            await parts.gateway().score(ask("x", model="both"))
        first, last = parts.backend.deadlines
        assert before + WAIT <= last <= time.monotonic() + WAIT
        assert first <= time.monotonic() + WAIT / 10


class TestRefusals:
    async def test_a_request_without_pairs_is_refused(self, parts: GatewayParts) -> None:
        with pytest.raises(InvalidRequest, match="At least one text_pair element"):
            await parts.gateway().score(ask())

    async def test_more_documents_than_a_request_may_hold_are_refused(self, parts: GatewayParts) -> None:
        gateway = parts.gateway(max_documents=2)
        await gateway.score(ask("x", "y"))
        with pytest.raises(InvalidRequest, match=r"3 documents.*at most 2") as refusal:
            await gateway.score(ask("x", "y", "z"))
        assert refusal.value.param == "documents"

    @pytest.mark.parametrize("query", ["", " \n\t", "\u3000"])
    async def test_a_blank_query_is_scored(self, parts: GatewayParts, query: str) -> None:
        assert len((await parts.gateway().score(ask("x", query=query))).scores) == 1

    async def test_an_empty_document_is_scored(self, parts: GatewayParts) -> None:
        assert (await parts.gateway().score(ask(""))).scores == (0.5,)


class TestRoom:
    async def test_room_is_taken_while_a_request_is_in_flight_and_refused_beyond(self, parts: GatewayParts) -> None:
        parts.backend.hangs = True
        gateway = parts.gateway()
        running = asyncio.create_task(gateway.score(ask(*"abcdef")))
        await asyncio.wait_for(parts.backend.entered.wait(), WAIT)
        assert (parts.admission.in_flight.documents, parts.admission.requests) == (6, 1)
        with pytest.raises(Overloaded):
            await gateway.score(ask(*"abcde"))
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert (parts.admission.in_flight.documents, parts.admission.requests) == (0, 0)

    async def test_room_is_given_back_when_scoring_fails(self, parts: GatewayParts) -> None:
        parts.backend.error = ScoringFailed("the model failed")
        with pytest.raises(ScoringFailed):
            await parts.gateway().score(ask("x"))
        assert parts.admission.in_flight.documents == 0

    async def test_room_is_not_taken_for_an_unknown_model(self, parts: GatewayParts) -> None:
        parts.backend.hangs = True
        gateway = parts.gateway()
        running = asyncio.create_task(gateway.score(ask(*"abcdefgh")))
        await asyncio.wait_for(parts.backend.entered.wait(), WAIT)
        with pytest.raises(ModelNotFound):
            await gateway.score(ask(*"abcdefgh", model="unknown"))
        running.cancel()

    async def test_room_is_given_back_when_the_load_fails(self, parts: GatewayParts) -> None:
        parts.load_error = ModelUnavailable("no weights")
        with pytest.raises(ModelUnavailable, match="no weights"):
            await parts.gateway().score(ask("x"))
        assert (parts.admission.in_flight, parts.admission.waiting, parts.admission.requests) == (Work(), Work(), 0)

    async def test_room_of_requests_for_a_loading_model_is_counted_apart(self, parts: GatewayParts) -> None:
        gateway = parts.gateway()
        await gateway.score(ask("x"))
        parts.may_load.clear()
        waiting = asyncio.create_task(gateway.score(ask(*"abcdefgh", model="base")))
        await asyncio.sleep(0)
        assert (parts.admission.waiting.documents, parts.admission.in_flight.documents) == (8, 0)
        with pytest.raises(Overloaded, match=r"8 documents wait for a model to load \(maximum 10\)"):
            await gateway.score(ask(*"abc", model="base"))
        assert (await gateway.score(ask(*"abcdefgh"))).model == EMBEDDED.id

        parts.may_load.set()
        assert len((await waiting).scores) == 8
        assert (parts.admission.in_flight, parts.admission.waiting, parts.admission.requests) == (Work(), Work(), 0)


class TestRate:
    """Requests of a second each, and then one that at their rate would take ten."""

    @pytest.mark.parametrize(
        ("done", "asked", "refused"),
        [(BASE, BASE, True), (FAR, BASE, False), (BASE, FAR, False), (FAR, FAR, False)],
        ids=["here", "elsewhere, asked here", "here, asked elsewhere", "elsewhere"],
    )
    async def test_time_of_another_server_refuses_nothing_here(
        self, parts: GatewayParts, done: ModelCard, asked: ModelCard, refused: bool
    ) -> None:
        clock = Clock()
        parts.admission, parts.catalog = Admission(Work(100, 100_000), clock), Catalog(Path("none"), (BASE, FAR))
        gateway = parts.gateway()
        for card in (asked, done):
            async with parts.registry.lease(card):
                pass
        parts.backend.on_score = lambda: setattr(clock, "now", clock.now + 1.0)
        for _ in range(3):
            await gateway.score(ask("a" * 100, model=done.id))
        request = ask("a" * 1000, model=asked.id, within=WAIT / 2)
        if refused:
            with pytest.raises(Overloaded, match="At the present rate the request would take"):
                await gateway.score(request)
        else:
            assert (await gateway.score(request)).model == asked.id


class TestLease:
    async def test_a_lease_keeps_the_model_until_the_last_score(self, parts: GatewayParts) -> None:
        parts.backend.hangs = True
        running = asyncio.create_task(parts.gateway().score(ask("x", model="base")))
        await asyncio.wait_for(parts.backend.entered.wait(), WAIT)
        assert parts.registry.status(BASE).leases == 1
        running.cancel()
        await asyncio.wait([running], timeout=WAIT)
        await parts.registry.pin(BASE, pinned=False)
        assert parts.registry.status(BASE).leases == 0

    async def test_a_lease_ends_when_scoring_fails(self, parts: GatewayParts) -> None:
        parts.backend.error = ScoringFailed("the model failed")
        with pytest.raises(ScoringFailed):
            await parts.gateway().score(ask("x", model="base"))
        await parts.registry.pin(BASE, pinned=False)
        assert parts.registry.status(BASE).leases == 0


class TestDeadline:
    @pytest.mark.parametrize("limits", [{"timeout": SOON}, {"load_timeout": SOON}], ids=["of all", "of the load"])
    async def test_a_load_that_outlasts_the_request_goes_on(
        self, parts: GatewayParts, limits: dict[str, float]
    ) -> None:
        parts.may_load.clear()
        with pytest.raises(StillLoading) as refusal:
            await parts.gateway(**limits).score(ask("x", model="base"))  # type: ignore[arg-type]
        assert refusal.value.message.startswith("maker/base is still loading after 0.02 s")
        assert refusal.value.retry_after == 5
        assert parts.registry.status(BASE).state is State.LOADING

    @pytest.mark.parametrize("load_timeout", [SOON, None], ids=["of the load", "of the budget"])
    async def test_a_load_that_outlasts_the_budget_leaves_everything_unscored(
        self, parts: GatewayParts, load_timeout: float | None
    ) -> None:
        parts.may_load.clear()
        request = ask("x", "y", model="base", budget=SOON * 2)
        result = await parts.gateway(load_timeout=load_timeout).score(request)
        assert [document.score.scored for document in result.ranked] == [False, False]
        assert result.partial
        assert [attempt.outcome for attempt in result.route] == ["StillLoading"]

    async def test_a_budget_that_is_longer_than_the_time_of_the_request_is_none(self, parts: GatewayParts) -> None:
        parts.may_load.clear()
        with pytest.raises(StillLoading):
            await parts.gateway(timeout=SOON).score(ask("x", model="base", budget=WAIT))
        assert parts.admission.in_flight.documents == 0

        parts.may_load.set()
        assert (await parts.gateway().score(ask("x", model="base"))).model == "maker/base"
        assert parts.loads == ["maker/base"]

    async def test_work_is_cancelled_at_a_deadline_while_scoring(self, parts: GatewayParts) -> None:
        async with parts.registry.lease(BASE):
            pass
        parts.backend.hangs = True
        # on a busy machine the first may pass before the work begins
        for seconds in (SOON, 1, WAIT):
            with pytest.raises(DeadlineExceeded, match=rf"within {seconds:g} s \(TIMEOUT\)"):
                await parts.gateway(timeout=seconds).score(ask("x", model="base"))
            if parts.backend.cancelled:
                break
        assert parts.backend.cancelled
        assert parts.admission.in_flight.documents == 0

    async def test_a_timeout_of_the_backend_is_not_taken_for_the_deadline(self, parts: GatewayParts) -> None:
        parts.backend.error = TimeoutError("the upstream's")
        with pytest.raises(TimeoutError, match="the upstream's"):
            await parts.gateway().score(ask("x"))

    async def test_a_caller_that_leaves_is_not_taken_for_a_deadline(self, parts: GatewayParts) -> None:
        parts.backend.hangs = True
        running = asyncio.create_task(parts.gateway().score(ask("x")))
        await asyncio.wait_for(parts.backend.entered.wait(), WAIT)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert parts.backend.cancelled
