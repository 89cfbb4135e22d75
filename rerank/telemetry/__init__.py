"""Log lines and the request id they carry; how long a request spends where."""

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
"""Id of the request being answered, on whatever task or thread runs for it."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a request's way, by ``time.perf_counter``."""

    name: str
    began: float
    ended: float


stages_var: ContextVar[list[Stage] | None] = ContextVar("stages", default=None)
"""What the request being answered has been through so far; None where nobody asks."""


def note_stage(name: str, began: float, ended: float | None = None) -> None:
    """Note that the request being answered has been through a stage, which ended now unless it is said when."""
    stages = stages_var.get()
    if stages is not None:
        stages.append(Stage(name, began, time.perf_counter() if ended is None else ended))


def seconds_in_stages() -> dict[str, float]:
    """How long the request being answered has spent in each stage so far."""
    spent: dict[str, float] = {}
    for stage in stages_var.get() or ():
        spent[stage.name] = spent.get(stage.name, 0.0) + stage.ended - stage.began
    return spent


@contextmanager
def timed(stage: str) -> Iterator[None]:
    """Note how long this takes as a stage of the request being answered."""
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
    """Send every log line to ``stream`` (stderr): as ``text``, one ``json`` object a line, or by a format string.

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
