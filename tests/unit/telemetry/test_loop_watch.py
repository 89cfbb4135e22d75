from __future__ import annotations

import asyncio
import logging
import re
import threading

import pytest

from rerank.telemetry import loop_watch
from rerank.telemetry.events import Event, LoopAnswered
from rerank.telemetry.loop_watch import watched_loop
from tests.support.waiting import PATIENCE


class Told(logging.Handler):
    """What the watch says of one mistake; a busy machine may give it more to say."""

    def __init__(self, mistake: str) -> None:
        super().__init__()
        self.messages: list[str] = []
        self.stands = threading.Event()
        self.turns = threading.Event()
        self._mistake = mistake

    def emit(self, record: logging.LogRecord) -> None:
        message = record.getMessage()
        if self.stands.is_set() and not self.turns.is_set():
            self.messages.append(message)
            self.turns.set()
        elif f"in {self._mistake}" in message:
            self.messages.append(message)
            self.stands.set()


async def test_a_loop_that_stands_still_is_logged_with_the_place_and_measured(
    request: pytest.FixtureRequest,
) -> None:
    told = Told("somebodys_mistake")
    delays: list[float] = []
    loop_watch.logger.addHandler(told)
    request.addfinalizer(lambda: loop_watch.logger.removeHandler(told))

    def somebodys_mistake() -> None:
        assert told.stands.wait(PATIENCE)

    def observe(event: Event) -> None:
        assert isinstance(event, LoopAnswered)
        delays.append(event.delay)

    with watched_loop(observe, interval=0.01, patience=0.05):
        somebodys_mistake()
        assert await asyncio.to_thread(told.turns.wait, PATIENCE)

    stands, turns = told.messages
    assert stands.startswith("the event loop was blocked for 0.05 s at:\n")
    assert re.fullmatch(r"the event loop recovered after \d+\.\d s", turns)
    assert max(delays) >= 0.05
