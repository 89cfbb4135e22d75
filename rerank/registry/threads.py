"""Blocking work on daemon threads."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context
from typing import TypeVar

from rerank.errors import ModelUnavailable, RerankError

logger = logging.getLogger(__name__)

T = TypeVar("T")


def on_daemon_thread(
    work: Callable[[], T], deliver: Callable[[T | RerankError], None], *, name: str, context: Context
) -> None:
    """Run ``work`` on a thread, and call ``deliver`` on the event loop's thread with its result or error.

    The thread cannot keep the process alive: Ctrl-C must not wait for gigabytes of weights.
    """
    loop = asyncio.get_running_loop()

    def run() -> None:
        outcome = _outcome(work, name)
        # the loop may end before the work does
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(deliver, outcome)

    threading.Thread(target=context.run, args=(run,), name=name, daemon=True).start()


def _outcome(work: Callable[[], T], name: str) -> T | RerankError:
    try:
        return work()
    except RerankError as known:
        return known
    except BaseException as unexpected:  # a panic in a native library is no Exception, yet callers wait
        logger.exception("%s failed", name)
        error = ModelUnavailable("Loading the model failed; the server's log says why.")
        error.__cause__ = unexpected
        return error
