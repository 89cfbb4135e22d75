from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from rerank.backends.base import FoundModel, LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.upstreams import Upstream
from rerank.errors import (
    FetchFailure,
    ModelTooLarge,
    ModelUnavailable,
    OutOfOrder,
    RerankError,
    ServerStopping,
    StillLoading,
    WeightsMissing,
)
from rerank.registry.fleet import Fleet
from rerank.registry.lifecycle import State
from rerank.registry.registry import Registry
from rerank.registry.registry import logger as registry_logger
from rerank.telemetry import request_id_var
from tests.support.fake_loader import DEVICE, NoBackend, loaded

WAIT = 10.0
SOON = 0.02
CARD = ModelCard(id="maker/base")
OTHER = ModelCard(id="maker/other")


class Backend(NoBackend):
    def __init__(self, on_close: Callable[[], None]) -> None:
        self._on_close = on_close

    def close(self) -> None:
        self._on_close()


class Loader:
    """Loads once the test says so; every entry of ``errors`` fails one load."""

    def __init__(self, sizes: Mapping[str, int] | None = None) -> None:
        self.calls: list[str] = []
        self.threads: list[threading.Thread] = []
        self.request_ids: list[str] = []
        self.errors: list[BaseException] = []
        self.closed: list[str] = []
        self.release = threading.Event()
        self._sizes = sizes or {}

    def find(self, card: ModelCard) -> FoundModel:
        return FoundModel(card, {DEVICE: self._sizes.get(card.id, 0)})

    def estimate(self, card: ModelCard, checkpoint: Checkpoint) -> Mapping[str, int]:
        raise NotImplementedError

    def load(self, found: FoundModel) -> LoadedModel:
        card = found.card
        self.calls.append(card.id)
        self.threads.append(threading.current_thread())
        self.request_ids.append(request_id_var.get())
        if not self.release.wait(WAIT):
            raise TimeoutError("nobody released the load")
        if self.errors:
            raise self.errors.pop(0)
        return loaded(card, Backend(lambda: self.closed.append(card.id)), self._sizes.get(card.id, 0))


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.release.set()


@pytest.fixture
async def registry(loader: Loader) -> AsyncIterator[Registry]:
    async with Registry(loader) as registry:
        yield registry


@contextmanager
def told_by(logger: logging.Logger) -> Iterator[asyncio.Future[str]]:
    """The next warning, as soon as it is logged."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set_result(record.getMessage())

    listener = Listener(logging.WARNING)
    logger.addHandler(listener)
    try:
        yield told
    finally:
        logger.removeHandler(listener)


async def get(registry: Registry, card: ModelCard, within: float | None = None) -> LoadedModel:
    async with registry.lease(card, within) as model:
        return model


async def settle(registry: Registry) -> None:
    """Return once the registry has dealt with everything that was told to it so far."""
    await registry.pin(ModelCard(id="nobody"), pinned=False)


async def waiters(registry: Registry, card: ModelCard, count: int) -> list[asyncio.Task[LoadedModel]]:
    """Tasks that all wait for the model."""
    tasks = [asyncio.create_task(get(registry, card)) for _ in range(count)]
    await asyncio.sleep(0)
    await settle(registry)
    assert registry.status(card).waiting == count
    return tasks


class TestLoading:
    async def test_a_thousand_requests_at_once_cause_one_load(self, registry: Registry, loader: Loader) -> None:
        tasks = await waiters(registry, CARD, 1000)
        assert registry.status(CARD).state is State.LOADING
        loader.release.set()
        models = await asyncio.gather(*tasks)
        assert {id(model) for model in models} == {id(models[0])}
        assert loader.calls == ["maker/base"]
        await settle(registry)
        status = registry.status(CARD)
        assert (status.state, status.leases, status.waiting) == (State.READY, 0, 0)

    async def test_a_loaded_model_is_kept(self, registry: Registry, loader: Loader) -> None:
        loader.release.set()
        assert await get(registry, CARD) is await get(registry, CARD)
        assert loader.calls == ["maker/base"]

    async def test_one_model_is_loaded_after_another(self, registry: Registry, loader: Loader) -> None:
        tasks = [*await waiters(registry, CARD, 2), *await waiters(registry, OTHER, 2)]
        loader.release.set()
        models = await asyncio.gather(*tasks)
        assert [model.card for model in models] == [CARD, CARD, OTHER, OTHER]
        assert sorted(loader.calls) == ["maker/base", "maker/other"]

    async def test_models_are_listed_in_order_of_loading(self, registry: Registry, loader: Loader) -> None:
        assert registry.loaded() == ()
        loader.release.set()
        for card in (OTHER, CARD, OTHER):
            await get(registry, card)
        assert [model.card for model in registry.loaded()] == [OTHER, CARD]

    async def test_a_ready_model_does_not_wait_for_one_that_loads(self, registry: Registry, loader: Loader) -> None:
        loader.release.set()
        await get(registry, CARD)
        loader.release.clear()
        (loading,) = await waiters(registry, OTHER, 1)
        assert (await get(registry, CARD)).card is CARD
        assert not loading.done()
        loader.release.set()
        await loading

    async def test_a_load_runs_on_a_thread_that_cannot_keep_the_process_alive(
        self, registry: Registry, loader: Loader
    ) -> None:
        loader.release.set()
        await get(registry, CARD)
        assert [(thread.name, thread.daemon) for thread in loader.threads] == [("load-base", True)]

    async def test_a_load_carries_the_id_of_the_request_that_caused_it(
        self, registry: Registry, loader: Loader
    ) -> None:
        token = request_id_var.set("abc")
        (task,) = await waiters(registry, CARD, 1)
        request_id_var.reset(token)
        loader.release.set()
        await task
        assert loader.request_ids == ["abc"]


class TestFailedLoads:
    async def test_failed_loads_fail_all_who_wait_and_the_next_request_tries_again(
        self, registry: Registry, loader: Loader, caplog: pytest.LogCaptureFixture
    ) -> None:
        failure = WeightsMissing("the Hub is unreachable", FetchFailure.UNREACHABLE)
        loader.errors = [failure]
        tasks = await waiters(registry, CARD, 10)
        loader.release.set()
        assert await asyncio.gather(*tasks, return_exceptions=True) == [failure] * 10
        assert registry.loaded() == ()
        assert registry.status(CARD).state is State.ABSENT
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "loading maker/base failed: the Hub is unreachable"
        ]

        assert (await get(registry, CARD)).card is CARD
        assert loader.calls == ["maker/base", "maker/base"]

    async def test_failed_loads_over_something_unexpected_are_logged_but_not_told(
        self, registry: Registry, loader: Loader, caplog: pytest.LogCaptureFixture
    ) -> None:
        cause = RuntimeError("secret path /home/me")
        loader.errors = [cause]
        loader.release.set()
        with pytest.raises(ModelUnavailable) as failure:
            await get(registry, CARD)
        assert failure.value.message == "Loading the model failed; the server's log says why."
        assert failure.value.__cause__ is cause
        assert "secret path" in caplog.text

    async def test_failed_loads_by_a_panic_in_a_native_library_do_not_leave_callers_waiting(
        self, registry: Registry, loader: Loader
    ) -> None:
        class Panic(BaseException):
            pass

        loader.errors = [Panic()]
        loader.release.set()
        with pytest.raises(ModelUnavailable, match="log says why"):
            await get(registry, CARD)
        assert registry.status(CARD).state is State.ABSENT

    async def test_failed_loads_nobody_waits_for_are_still_logged(self, registry: Registry, loader: Loader) -> None:
        loader.errors = [ModelUnavailable("out of memory")]
        (task,) = await waiters(registry, CARD, 1)
        task.cancel()
        await asyncio.wait([task], timeout=WAIT)
        with told_by(registry_logger) as told:
            loader.release.set()
            assert await asyncio.wait_for(told, WAIT) == "loading maker/base failed: out of memory"


class TestLeaving:
    async def test_leaving_does_not_stop_the_load(self, registry: Registry, loader: Loader) -> None:
        leaving, staying = await waiters(registry, CARD, 2)
        leaving.cancel()
        await asyncio.wait([leaving], timeout=WAIT)
        assert leaving.cancelled()
        assert registry.status(CARD).state is State.LOADING
        loader.release.set()
        assert (await staying).card is CARD
        assert loader.calls == ["maker/base"]

    async def test_leaving_of_everybody_does_not_stop_it_either(self, registry: Registry, loader: Loader) -> None:
        tasks = await waiters(registry, CARD, 3)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=WAIT)
        loader.release.set()
        await get(registry, CARD)
        assert loader.calls == ["maker/base"]

    async def test_leaving_in_the_moment_of_the_answer_gives_the_model_back(
        self, registry: Registry, loader: Loader
    ) -> None:
        loader.release.set()
        await get(registry, CARD)
        task = asyncio.create_task(get(registry, CARD))
        await asyncio.sleep(0)
        # the registry answers before the caller's task runs again
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task], timeout=WAIT)
        await settle(registry)
        assert registry.status(CARD).leases == 0

    async def test_leaving_after_the_time_a_load_may_take_is_told_and_the_load_goes_on(
        self, registry: Registry, loader: Loader
    ) -> None:
        with pytest.raises(StillLoading) as refusal:
            await get(registry, CARD, within=SOON)
        assert refusal.value.message == ("maker/base is still loading after 0.02 s; the load continues. Retry shortly.")
        assert refusal.value.retry_after == 5
        loader.release.set()
        assert (await get(registry, CARD, within=WAIT)).card is CARD
        assert loader.calls == ["maker/base"]


class TestUnloading:
    async def test_unloading_closes_the_model_off_the_event_loop(self, registry: Registry, loader: Loader) -> None:
        loader.release.set()
        await get(registry, CARD)
        await registry.unload(CARD)
        assert loader.closed == ["maker/base"]
        assert (registry.loaded(), registry.status(CARD).state) == ((), State.ABSENT)

    async def test_unloading_waits_for_running_work(self, registry: Registry, loader: Loader) -> None:
        loader.release.set()
        async with registry.lease(CARD):
            unloading = asyncio.create_task(registry.unload(CARD))
            await asyncio.sleep(0)
            await settle(registry)
            assert registry.status(CARD).state is State.DRAINING
            assert loader.closed == []
            (newcomer,) = await waiters(registry, CARD, 1)
        await unloading
        assert loader.closed == ["maker/base"]
        assert (await newcomer).card is CARD
        assert loader.calls == ["maker/base", "maker/base"]

    async def test_unloading_of_idle_models_leaves_pinned_ones_and_those_in_work(
        self, registry: Registry, loader: Loader
    ) -> None:
        loader.release.set()
        pinned, busy, idle = (ModelCard(id=name, pinned=name == "pinned") for name in ("pinned", "busy", "idle"))
        for card in (pinned, idle):
            await get(registry, card)
        async with registry.lease(busy):
            await registry.unload_idle()
            assert loader.closed == ["idle"]
            assert [model.card for model in registry.loaded()] == [pinned, busy]

    async def test_unloading_that_fails_counts_all_the_same(
        self, registry: Registry, loader: Loader, caplog: pytest.LogCaptureFixture
    ) -> None:
        loader.release.set()
        model = await get(registry, CARD)

        def break_down() -> None:
            raise OSError("no such device")

        model.backend.close = break_down  # type: ignore[method-assign]
        await registry.unload(CARD)
        assert registry.status(CARD).state is State.ABSENT
        assert "no such device" in caplog.text

    async def test_unloading_happens_when_another_model_needs_the_room(self) -> None:
        loader = Loader({CARD.id: 60, OTHER.id: 60})
        loader.release.set()
        async with Registry(loader, {DEVICE: 100}) as registry:
            await get(registry, CARD)
            await get(registry, OTHER)
            assert loader.closed == ["maker/base"]
            assert [model.card for model in registry.loaded()] == [OTHER]

    async def test_unloading_makes_no_room_for_a_model_that_never_fits(self) -> None:
        loader = Loader({CARD.id: 60, OTHER.id: 101})
        loader.release.set()
        async with Registry(loader, {DEVICE: 100}) as registry:
            await get(registry, CARD)
            with pytest.raises(ModelTooLarge, match="needs 101 B on test; the budget for models there has 100 B"):
                await get(registry, OTHER)
            assert loader.closed == []

    async def test_unloading_happens_by_itself_after_the_idle_time(self, loader: Loader) -> None:
        closed = asyncio.Event()
        loop = asyncio.get_running_loop()
        loader.release.set()
        async with Registry(loader, keep_alive=SOON) as registry:
            model = await get(registry, CARD)
            model.backend.close = lambda: loop.call_soon_threadsafe(closed.set)  # type: ignore[method-assign, assignment]
            await asyncio.wait_for(closed.wait(), WAIT)

    async def test_unloading_follows_a_change_of_the_cards(self, registry: Registry, loader: Loader) -> None:
        loader.release.set()
        await get(registry, CARD)
        newer = replace(CARD, revision="v2")
        registry.reload([newer])
        assert (await get(registry, newer)).card is newer
        assert loader.closed == ["maker/base"]

    async def test_unloading_of_a_model_behind_another_server_waits_for_no_request_of_it(
        self, registry: Registry, loader: Loader
    ) -> None:
        loader.release.set()
        far, repaired = (replace(CARD, upstream=Upstream("tei", f"http://{host}")) for host in ("far", "repaired"))
        async with registry.lease(far):
            registry.reload([repaired])
            assert (await get(registry, repaired, WAIT)).card is repaired


class TestStatus:
    async def test_status_tells_moments_as_unix_time(self, registry: Registry, loader: Loader) -> None:
        (task,) = await waiters(registry, CARD, 1)
        since = registry.status(CARD).since
        assert since is not None
        assert since > 1_700_000_000
        loader.release.set()
        await task
        last_used = registry.status(CARD).last_used
        assert last_used is not None
        assert last_used >= since

    async def test_status_tells_pins(self, registry: Registry) -> None:
        assert not registry.status(CARD).pinned
        await registry.pin(CARD, pinned=True)
        assert registry.status(CARD).pinned
        assert registry.status(replace(OTHER, pinned=True)).pinned


async def outcome(task: asyncio.Task[LoadedModel]) -> RerankError:
    (error,) = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(error, RerankError)
    return error


class TestTheEnd:
    async def test_the_end_is_told_to_who_waits(self, registry: Registry, loader: Loader) -> None:
        (task,) = await waiters(registry, CARD, 1)
        registry.stop()
        assert isinstance(await outcome(task), ServerStopping)
        with pytest.raises(ServerStopping):
            await get(registry, CARD)

    async def test_the_end_of_its_context_ends_it(self, loader: Loader) -> None:
        alive = []
        async with Registry(loader) as registry:
            alive.append(registry.trouble is None)
            (task,) = await waiters(registry, CARD, 1)
        alive.append(registry.trouble is None)
        assert alive == [True, False]
        assert isinstance(await outcome(task), ServerStopping)
        with pytest.raises(ServerStopping):
            await get(registry, CARD)

    async def test_the_end_by_a_mistake_of_its_own_leaves_nobody_waiting(
        self, registry: Registry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        (task,) = await waiters(registry, CARD, 1)

        def fail(*_: object) -> None:
            raise KeyError("a mistake")

        monkeypatch.setattr(Fleet, "handle", fail)
        with pytest.raises(OutOfOrder, match="restart the server"):
            await get(registry, OTHER)
        assert isinstance(await outcome(task), OutOfOrder)
        assert registry.trouble
        assert "a mistake" in caplog.text

    def test_the_end_before_that_of_a_load_is_quiet(self, loader: Loader) -> None:
        async def give_up() -> None:
            async with Registry(loader) as registry:
                with suppress(StillLoading):
                    await get(registry, CARD, within=SOON)

        asyncio.run(give_up())
        (thread,) = (thread for thread in threading.enumerate() if thread.name == "load-base")
        loader.release.set()
        thread.join(WAIT)
        assert not thread.is_alive()
