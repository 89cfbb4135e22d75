"""Refuse multi-process settings and explain the alternative."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator

from rerank.errors import SettingsError
from rerank.settings import ENV_FILE, WORKERS_NAMES, read_env_file


def refuse_several_workers() -> None:
    """Raise SettingsError where the environment, `.env` or uvicorn's command line asks for more than one process.

    Each would load every model for itself, count its own waiting documents, and compete for the same device.
    """
    for where, value in _asked():
        if not value.isdecimal() or int(value) > 1:
            raise SettingsError(
                f"{where} asks for several processes, and this server is one: each would hold a copy of every model "
                "and compete for the same device. Leave it out. For several devices in one process set MODEL_DEVICE "
                "(cuda, or cuda:0,cuda:1); for more than that start several servers, each with its own PORT, behind a "
                "load balancer that looks at /load."
            )


def _asked() -> Iterator[tuple[str, str]]:
    """Each place that asks for processes, with its value; not a number is passed on as it is."""
    for source, values in (("", os.environ), (f"{ENV_FILE}: ", read_env_file())):
        for name in WORKERS_NAMES:
            if value := (values.get(name) or "").strip():
                yield f"{source}{name}={value}", value
    # each of uvicorn's workers has the command line and is a child; with --reload there is a child too, but only one
    if multiprocessing.parent_process() is not None:
        if value := os.environ.get("UVICORN_WORKERS", "").strip():
            yield f"UVICORN_WORKERS={value}", value
        for option, following in zip(sys.argv, [*sys.argv[1:], ""], strict=True):
            name, equals, value = option.partition("=")
            if name == "--workers":
                yield f"--workers {value if equals else following}", value if equals else following
