"""A function in a process of its own, which may be killed for its memory without ending this one."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from rerank.errors import RerankError, SettingsError

T = TypeVar("T")


class Failed(Exception):
    """The function failed, or its process died; the message says why."""


def run_apart(work: Callable[..., T], *arguments: Any) -> T:
    """The result of a function of a module. Raises Failed. However this ends, the process has ended, too."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(sender, work, arguments), daemon=True)
    process.start()
    sender.close()
    try:
        outcome: T | Failed = receiver.recv()
    except EOFError:
        process.join()
        outcome = Failed(_death(process.exitcode))
    finally:
        process.kill()
        process.join()
        receiver.close()
    if isinstance(outcome, Failed):
        raise outcome
    return outcome


def _death(code: int | None) -> str:
    if code == -signal.SIGKILL:
        return "killed by the system; most likely its memory did not suffice"
    return f"its process ended with status {code}"


def _work(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    # Ctrl-C reaches both processes; this one is ended by the other
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        outcome = work(*arguments)
    except (RerankError, SettingsError) as error:
        outcome = Failed(str(error))
    except Exception as error:
        outcome = Failed(f"{type(error).__name__}: {error}")
    sender.send(outcome)
