"""Targets of make that run alongside the tests."""

from __future__ import annotations

import fcntl
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.alongside import lock_file, main

MAKE = """#!/bin/sh
cd "$(dirname "$0")"
echo "output of $2"
case $2 in
  held) touch held-started; while [ ! -e go ]; do sleep 0.01; done ;;
  broken) exit 3 ;;
esac
"""
WAITING = "import pathlib, time\nwhile not pathlib.Path({file!r}).exists(): time.sleep(0.01)\n"


@pytest.fixture
def make(tmp_path: Path) -> str:
    """A make whose targets end as their names say."""
    program = tmp_path / "make"
    program.write_text(MAKE)
    program.chmod(0o755)
    return str(program)


@pytest.fixture(autouse=True)
def _own_interrupts() -> Iterator[None]:
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_output_of_targets_follows_that_of_the_command_and_then_its_last_line(
    make: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    status = main(["whole", "other", "--", sys.executable, "-c", "print('tests\\n2 passed')"], make, tmp_path)

    assert status == 0
    assert [line for line in capfd.readouterr().out.splitlines() if line] == [
        "tests",
        "2 passed",
        "make whole succeeded alongside:",
        "output of whole",
        "make other succeeded alongside:",
        "output of other",
        "2 passed",
    ]


@pytest.mark.parametrize(
    ("targets", "command", "status"),
    [(["broken"], "", 3), (["broken", "whole"], "raise SystemExit(5)", 5), (["whole", "broken"], "", 3)],
    ids=["the target fails", "both fail", "the last target fails"],
)
def test_the_first_failure_is_the_exit_status(
    make: str, tmp_path: Path, targets: list[str], command: str, status: int
) -> None:
    assert main([*targets, "--", sys.executable, "-c", command], make, tmp_path) == status


def test_the_lock_of_a_target_ends_with_it(make: str, tmp_path: Path) -> None:
    is_locked = f"""
import fcntl, pathlib
try:
    fcntl.flock(open({str(lock_file("held", tmp_path))!r}), fcntl.LOCK_EX | fcntl.LOCK_NB)
except BlockingIOError:
    pathlib.Path({str(tmp_path / "was-locked")!r}).touch()
pathlib.Path({str(tmp_path / "go")!r}).touch()
"""
    command = WAITING.format(file=str(tmp_path / "held-started")) + is_locked

    assert main(["held", "--", sys.executable, "-c", command], make, tmp_path) == 0

    assert (tmp_path / "was-locked").exists()
    with lock_file("held", tmp_path).open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
