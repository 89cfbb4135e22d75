from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rerank.errors import SettingsError
from rerank.server.workers import refuse_several_workers
from rerank.settings import WORKERS_NAMES, read_settings


@pytest.fixture(autouse=True)
def nobody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*WORKERS_NAMES, "UVICORN_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def run_by_uvicorn(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    """What a child process of uvicorn sees."""
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    monkeypatch.setattr(sys, "argv", ["uvicorn", "rerank_server:app", *arguments])


@pytest.mark.parametrize("name", WORKERS_NAMES)
@pytest.mark.parametrize("value", ["2", " 16 ", "auto", "-1"])
def test_several_processes_are_refused_with_what_works_instead(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as refusal:
        refuse_several_workers()
    assert str(refusal.value).startswith(f"{name}={value.strip()} asks for several processes, and this server is one")
    assert "MODEL_DEVICE" in str(refusal.value)
    assert "load balancer" in str(refusal.value)


@pytest.mark.parametrize("name", WORKERS_NAMES)
@pytest.mark.parametrize("value", ["1", "", " 1 ", "0"])
def test_one_is_fine(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    refuse_several_workers()
    assert read_settings().port == 8000


def test_dot_env_is_looked_at_too(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKERS=4\n")
    with pytest.raises(SettingsError, match=r"^\.env: WORKERS=4 asks"):
        refuse_several_workers()


@pytest.mark.parametrize("arguments", [("--workers", "2"), ("--port", "0", "--workers=3"), ("--workers",)])
def test_uvicorns_workers_are_refused(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_by_uvicorn(monkeypatch, *arguments)
    with pytest.raises(SettingsError, match=r"^--workers \d? ?asks for several"):
        refuse_several_workers()


def test_uvicorns_own_variable_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    run_by_uvicorn(monkeypatch)
    monkeypatch.setenv("UVICORN_WORKERS", "2")
    with pytest.raises(SettingsError, match=r"^UVICORN_WORKERS=2 asks"):
        refuse_several_workers()


@pytest.mark.parametrize("arguments", [("--workers", "1"), ("--reload",), ()])
def test_one_child_of_uvicorn_is_fine(arguments: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_by_uvicorn(monkeypatch, *arguments)
    refuse_several_workers()
