"""Functions in processes of their own."""

from __future__ import annotations

import operator
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from rerank.errors import ModelUnavailable
from rerank.evaluation.apart import Failed, run_apart


def refuse() -> None:
    raise ModelUnavailable("no such weights")


def test_the_result_comes_from_another_process() -> None:
    assert run_apart(os.getpid) != os.getpid()


@pytest.mark.parametrize(
    ("work", "arguments", "problem"),
    [
        (refuse, (), r"^no such weights$"),
        (operator.truediv, (1, 0), r"^ZeroDivisionError: division by zero$"),
        (os._exit, (3,), r"^its process ended with status 3$"),
        (signal.raise_signal, (signal.SIGKILL,), r"^killed by the system; most likely its memory"),
    ],
    ids=["refused", "raised", "ended", "killed"],
)
def test_a_failure_is_one_sentence(work: Callable[..., Any], arguments: tuple[Any, ...], problem: str) -> None:
    with pytest.raises(Failed, match=problem):
        run_apart(work, *arguments)
