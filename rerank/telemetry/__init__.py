"""Logging with request ids; time of a request per stage."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TextIO

from pythonjsonlogger.json import JsonFormatter

request_id_var: ContextVar[str] = ContextVar("request_id", default="-")
"""Id of the current request, on every task and thread that works for it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A timed part of a request, by ``time.perf_counter``."""

    name: str
    began: float
    ended: float


stages_var: ContextVar[list[Stage] | None] = ContextVar("stages", default=None)
"""Finished stages of the current request; None outside of a request."""


def note_stage(name: str, began: float, ended: float | None = None) -> None:
    """Note a finished stage of the current request; ``ended`` defaults to now."""
    stages = stages_var.get()
    if stages is not None:
        stages.append(Stage(name, began, time.perf_counter() if ended is None else ended))


def seconds_in_stages() -> dict[str, float]:
    """Seconds that the current request has spent in each stage."""
    spent: dict[str, float] = {}
    for stage in stages_var.get() or ():
        spent[stage.name] = spent.get(stage.name, 0.0) + stage.ended - stage.began
    return spent


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Time the context as a stage of the current request."""
    started = time.perf_counter()
    try:
        yield
    finally:
        note_stage(stage, started)


_TEXT = "%(asctime)s %(levelname)-7s %(name)s [%(request_id)s] %(message)s"
_JSON = "{asctime}{levelname}{name}{request_id}{message}"


class _RequestIdFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_id_var.get()
        return True


def configure_logging(level: str, style: str, stream: TextIO | None = None) -> None:
    """Send every log line to ``stream`` (stderr): as ``text``, one ``json`` object per line, or by a format string.

    uvicorn's own access log is switched off: it prints query strings, and a key may stand in one.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_RequestIdFilter())
    if style == "json":
        renamed = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(_JSON, style="{", rename_fields=renamed))
    else:
        handler.setFormatter(logging.Formatter(_TEXT if style == "text" else style))
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    logging.getLogger("uvicorn.access").disabled = True
    for chatty in ("httpx2", "httpx", "httpcore2", "urllib3", "filelock", "sentence_transformers", "transformers"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
