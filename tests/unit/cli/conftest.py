from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.support.settings import forget_settings

T = TypeVar("T")


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the machine that runs the tests, and no file either."""
    forget_settings(monkeypatch, tmp_path)


@pytest.fixture(autouse=True)
def _restored_logging(restored_logging: None) -> None:
    """Commands set up logging for a process of their own."""


@pytest.fixture(autouse=True)
def _no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Output is as wide as where nothing says otherwise."""
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def ctrl_c(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Does within a command what Ctrl-C does: asyncio cancels the main task, and raises KeyboardInterrupt in the end.

    A real signal would be for the whole process, in which many tests run.
    """
    tasks: list[asyncio.Task[Any]] = []
    run = asyncio.run

    def interruptible(work: Coroutine[Any, Any, T]) -> T:
        async def main() -> T:
            tasks.extend(filter(None, [asyncio.current_task()]))
            return await work

        try:
            return run(main())
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None

    monkeypatch.setattr(asyncio, "run", interruptible)

    def interrupt() -> None:
        tasks[-1].cancel()

    return interrupt


InterruptOnce = Callable[[Callable[[str, list[str]], bool]], list[str]]


@pytest.fixture
def interrupt_once(monkeypatch: pytest.MonkeyPatch, ctrl_c: Callable[[], None]) -> InterruptOnce:
    """Has Ctrl-C come once: at the question ("model: query") for which a function of it and those answered is true.

    Gives the list of the questions that are answered.
    """
    # importing it takes a second
    from rerank.evaluation.rankers import EngineRankers

    ask = EngineRankers.ask

    def observe(is_time: Callable[[str, list[str]], bool]) -> list[str]:
        answered: list[str] = []
        interrupted = asyncio.Event()

        async def observed(self: EngineRankers, name: str, query: str, *others: Any) -> Any:
            question = f"{name}: {query}"
            if not interrupted.is_set() and is_time(question, answered):
                interrupted.set()
                ctrl_c()
                await asyncio.Event().wait()
            answered.append(question)
            return await ask(self, name, query, *others)

        monkeypatch.setattr(EngineRankers, "ask", observed)
        return answered

    return observe
