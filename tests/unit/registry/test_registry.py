from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest

from rerank.backends.loader import LoadedModel
from rerank.catalog.cards import Family, ModelCard
from rerank.core import Activation, Pair, RawScore, Truncation
from rerank.errors import FetchFailure, ModelUnavailable, ServerStopping, WeightsMissing
from rerank.registry.registry import Registry
from rerank.registry.registry import logger as registry_logger

WAIT = 10.0
CARD = ModelCard(id="maker/base")
OTHER = ModelCard(id="maker/other")


class NoBackend:
    max_length = 512
    activation = Activation.SIGMOID

    async def score(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[RawScore]:
        raise NotImplementedError


def loaded(card: ModelCard) -> LoadedModel:
    return LoadedModel(card, NoBackend(), Family.CROSS_ENCODER, "test", "none", 0.0)


class Loader:
    """Loads once the test says so; every entry of ``errors`` fails one load."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.threads: list[threading.Thread] = []
        self.errors: list[Exception] = []
        self.release = threading.Event()

    def __call__(self, card: ModelCard) -> LoadedModel:
        self.calls.append(card.id)
        self.threads.append(threading.current_thread())
        if not self.release.wait(WAIT):
            raise TimeoutError("nobody released the load")
        if self.errors:
            raise self.errors.pop(0)
        return loaded(card)


@pytest.fixture
def loader() -> Iterator[Loader]:
    loader = Loader()
    yield loader
    loader.release.set()


@pytest.fixture
def registry(loader: Loader) -> Registry:
    return Registry(loader)


@contextmanager
def warning_of(logger: logging.Logger) -> Iterator[asyncio.Future[str]]:
    """The next line logged, as soon as it is."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.set_result(record.getMessage())

    listener = Listener()
    logger.addHandler(listener)
    try:
        yield told
    finally:
        logger.removeHandler(listener)


async def waiters(registry: Registry, card: ModelCard, count: int) -> list[asyncio.Task[LoadedModel]]:
    """Tasks that all wait for the model."""
    tasks = [asyncio.create_task(registry.get(card)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_a_thousand_requests_at_once_cause_one_load(registry: Registry, loader: Loader) -> None:
    tasks = await waiters(registry, CARD, 1000)
    assert registry.is_loading(CARD)
    loader.release.set()
    models = await asyncio.gather(*tasks)
    assert {id(model) for model in models} == {id(models[0])}
    assert loader.calls == ["maker/base"]
    assert not registry.is_loading(CARD)


async def test_a_loaded_model_is_kept(registry: Registry, loader: Loader) -> None:
    loader.release.set()
    assert await registry.get(CARD) is await registry.get(CARD)
    assert loader.calls == ["maker/base"]


async def test_two_models_load_side_by_side(registry: Registry, loader: Loader) -> None:
    tasks = [*await waiters(registry, CARD, 2), *await waiters(registry, OTHER, 2)]
    assert registry.is_loading(CARD)
    assert registry.is_loading(OTHER)
    loader.release.set()
    models = await asyncio.gather(*tasks)
    assert [model.card for model in models] == [CARD, CARD, OTHER, OTHER]
    assert sorted(loader.calls) == ["maker/base", "maker/other"]


async def test_models_are_listed_in_order_of_loading(registry: Registry, loader: Loader) -> None:
    assert registry.loaded() == ()
    loader.release.set()
    for card in (OTHER, CARD, OTHER):
        await registry.get(card)
    assert [model.card for model in registry.loaded()] == [OTHER, CARD]


async def test_a_model_is_not_listed_while_it_loads(registry: Registry, loader: Loader) -> None:
    tasks = await waiters(registry, CARD, 1)
    assert registry.loaded() == ()
    loader.release.set()
    await asyncio.gather(*tasks)


async def test_a_load_runs_on_a_thread_that_cannot_keep_the_process_alive(registry: Registry, loader: Loader) -> None:
    loader.release.set()
    await registry.get(CARD)
    assert [(thread.name, thread.daemon) for thread in loader.threads] == [("load-base", True)]


async def test_a_failed_load_fails_all_who_wait_and_the_next_request_tries_again(
    registry: Registry, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    failure = WeightsMissing("the Hub is unreachable", FetchFailure.UNREACHABLE)
    loader.errors = [failure]
    tasks = await waiters(registry, CARD, 10)
    loader.release.set()
    assert await asyncio.gather(*tasks, return_exceptions=True) == [failure] * 10
    assert registry.loaded() == ()
    assert not registry.is_loading(CARD)
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "loading maker/base failed: the Hub is unreachable"
    ]

    assert (await registry.get(CARD)).card is CARD
    assert loader.calls == ["maker/base", "maker/base"]


async def test_an_unexpected_error_is_logged_but_not_told(
    registry: Registry, loader: Loader, caplog: pytest.LogCaptureFixture
) -> None:
    cause = RuntimeError("secret path /home/me")
    loader.errors = [cause]
    loader.release.set()
    with pytest.raises(ModelUnavailable) as failure:
        await registry.get(CARD)
    assert failure.value.message == "Loading the model failed; the server's log says why."
    assert failure.value.__cause__ is cause
    assert "secret path" in caplog.text


async def test_a_load_that_gives_nothing_is_an_error() -> None:
    registry = Registry(lambda _: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(ModelUnavailable, match="without a model"):
        await registry.get(CARD)


async def test_a_caller_that_leaves_does_not_stop_the_load(registry: Registry, loader: Loader) -> None:
    leaving, staying = await waiters(registry, CARD, 2)
    leaving.cancel()
    await asyncio.wait([leaving], timeout=WAIT)
    assert leaving.cancelled()
    assert registry.is_loading(CARD)
    loader.release.set()
    assert (await staying).card is CARD
    assert loader.calls == ["maker/base"]


async def test_the_load_goes_on_when_every_caller_has_left(registry: Registry, loader: Loader) -> None:
    tasks = await waiters(registry, CARD, 3)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=WAIT)
    loader.release.set()
    await registry.get(CARD)
    assert loader.calls == ["maker/base"]


async def test_a_failure_nobody_waits_for_is_still_logged(registry: Registry, loader: Loader) -> None:
    loader.errors = [ModelUnavailable("out of memory")]
    (task,) = await waiters(registry, CARD, 1)
    task.cancel()
    await asyncio.wait([task], timeout=WAIT)
    with warning_of(registry_logger) as told:
        loader.release.set()
        assert await asyncio.wait_for(told, WAIT) == "loading maker/base failed: out of memory"


def test_a_load_that_outlives_the_server_ends_quietly(registry: Registry, loader: Loader) -> None:
    async def give_up() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(0):
                await registry.get(CARD)

    asyncio.run(give_up())
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "load-base")
    loader.release.set()
    thread.join(WAIT)
    assert not thread.is_alive()
    assert registry.loaded() == ()


async def test_a_panic_in_a_native_library_does_not_leave_callers_waiting() -> None:
    class Panic(BaseException):
        pass

    def load(_: ModelCard) -> LoadedModel:
        raise Panic

    registry = Registry(load)

    with pytest.raises(ModelUnavailable, match="log says why"):
        await registry.get(CARD)
    assert not registry.is_loading(CARD)


async def test_a_forgotten_model_is_loaded_anew_at_its_next_use(registry: Registry, loader: Loader) -> None:
    loader.release.set()
    before = await registry.get(CARD)
    other = await registry.get(OTHER)
    registry.forget({CARD.id, "never loaded"})
    assert registry.loaded() == (other,)
    assert await registry.get(CARD) is not before
    assert await registry.get(OTHER) is other


async def test_a_load_under_way_of_a_forgotten_model_serves_those_who_wait_and_nobody_after(
    registry: Registry, loader: Loader
) -> None:
    waiting = await waiters(registry, CARD, 2)
    registry.forget({CARD.id})
    assert not registry.is_loading(CARD)
    late = await waiters(registry, CARD, 1)
    loader.release.set()
    first, second, third = await asyncio.gather(*waiting, *late)
    assert first is second
    assert third is not first
    assert registry.loaded() == (third,)
    assert loader.calls == ["maker/base", "maker/base"]


async def test_a_stop_reaches_those_who_wait_for_a_forgotten_model(registry: Registry, loader: Loader) -> None:
    (waiting,) = await waiters(registry, CARD, 1)
    registry.forget({CARD.id})
    registry.stop()
    with pytest.raises(ServerStopping):
        await waiting
