"""Reload of models file and keys file on SIGHUP."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rerank.catalog.catalog import Catalog, ReloadReport
from rerank.errors import SettingsError
from rerank.gateway.gateway import Gateway

logger = logging.getLogger(__name__)


def reload_cards(gateway: Gateway, check: Callable[[Catalog], None], default_model: str | None) -> bool:
    """Reload the models file's cards; if ``check`` refuses them, nothing changes and the result is False.

    A loaded model whose card changed drains: requests that use it end with it, the next one loads it again.
    """
    report = reload_catalog(gateway.catalog, check)
    if report is None:
        return False
    gateway.default = gateway.catalog.choose_default(default_model)
    gateway.registry.reload(gateway.catalog.cards())
    parts = {"added": report.added, "removed": report.removed, "changed": report.changed}
    changes = "; ".join(f"{what} {', '.join(ids)}" for what, ids in parts.items() if ids)
    logger.info("reloaded the models file: %s", changes or "nothing changed")
    logger.info("default model: %s (%s)", gateway.default.card.id, gateway.default.reason)
    return True


def reload_catalog(catalog: Catalog, check: Callable[[Catalog], None]) -> ReloadReport | None:
    """What changed in the models file's cards; None if they are wrong or ``check`` refuses them: then nothing does."""
    try:
        return catalog.reload(check)
    except SettingsError as error:
        logger.error("reload failed, models and keys unchanged: %s", error)
        return None


def closed_terminal() -> Callable[[], bool]:
    """What tells whether the terminal has been closed since this call, which comes before SIGHUP gets a handler.

    Never where the signal was ignored before, as nohup has it.
    """
    ends_with_terminal = os.isatty(0) and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN
    return lambda: ends_with_terminal and not os.isatty(0)


@contextmanager
def on_hangup(call: Callable[[], object]) -> Iterator[None]:
    """While the context is open SIGHUP calls ``call`` on the event loop, where there is such a signal.

    A terminal that was closed sends it too, and ends the server. Afterwards the signal does again what it did.
    """
    if not hasattr(signal, "SIGHUP") or threading.current_thread() is not threading.main_thread():
        yield
        return
    former, ends = signal.getsignal(signal.SIGHUP), closed_terminal()

    def hangup() -> None:
        if ends():
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            call()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, hangup)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        # None: a handler that was not set by Python, and cannot be put back by it
        if former is not None:
            signal.signal(signal.SIGHUP, former)
