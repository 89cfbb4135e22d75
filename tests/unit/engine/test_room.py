from __future__ import annotations

import asyncio

import pytest

from rerank.catalog.cards import ModelCard
from rerank.engine import Room
from rerank.registry.registry import Registry
from tests.support.fake_loader import FakeLoader, without_backend


async def test_a_devices_thread_has_idle_models_leave() -> None:
    room = Room()
    busy, idle = ModelCard(id="busy"), ModelCard(id="idle")
    async with Registry(FakeLoader(without_backend)) as registry:
        room.of(registry)
        async with registry.lease(idle):
            pass
        async with registry.lease(busy) as model:
            await asyncio.to_thread(room.make)
            assert registry.loaded() == (model,)


async def test_a_registry_that_ended_makes_no_room_and_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    room = Room()
    async with Registry(FakeLoader(without_backend)) as registry:
        room.of(registry)
        async with registry.lease(idle := ModelCard(id="idle")):
            pass
        # once this is answered, the registry knows that the lease has ended
        await registry.pin(idle, pinned=False)
    await asyncio.to_thread(room.make)
    assert "could not free memory for a batch" in caplog.text


def test_before_there_is_a_registry_nothing_happens() -> None:
    Room().make()
