from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.errors import SettingsError
from rerank.gateway.admission import Admission, Work
from rerank.gateway.gateway import Gateway, Limits
from rerank.registry.registry import Registry
from rerank.server.reload import logger as reload_logger
from rerank.server.reload import on_hangup, reload_cards
from tests.support.fake_loader import FakeLoader, without_backend

ROOT = Path(__file__).parents[3]


async def get(registry: Registry, card: ModelCard) -> LoadedModel:
    async with registry.lease(card) as model:
        return model


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "models.toml"
    file.write_text('[[model]]\nid = "maker/mine"\n', encoding="utf-8")
    return file


@pytest.fixture
async def gateway(tmp_path: Path, file: Path) -> AsyncIterator[Gateway]:
    catalog = Catalog.open(tmp_path / "models", file)
    default = catalog.choose_default("maker/mine")
    async with Registry(FakeLoader(without_backend)) as registry:
        yield Gateway(catalog, registry, Admission(Work(10, 10_000)), default, Limits(10, 10.0, 10.0))


def write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")


def check(catalog: Catalog) -> None:
    catalog.choose_default("maker/mine")


async def test_new_cards_are_in_force_and_outdated_models_let_go_of(
    gateway: Gateway, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger=reload_logger.name)
    await get(gateway.registry, gateway.default.card)
    write(file, '[[model]]\nid = "maker/mine"\nmax_length = 64\n[[model]]\nid = "maker/new"\n')
    reload_cards(gateway, check, "maker/mine")
    assert gateway.default.card.max_length == 64
    assert (await get(gateway.registry, gateway.default.card)).card.max_length == 64
    assert gateway.catalog.resolve("new").id == "maker/new"
    assert "reloaded the models file: added maker/new; changed maker/mine" in caplog.text


async def test_a_model_stays_in_memory_where_only_its_names_changed(gateway: Gateway, file: Path) -> None:
    model = await get(gateway.registry, gateway.default.card)
    write(file, '[[model]]\nid = "maker/mine"\naliases = ["nick"]\n')
    reload_cards(gateway, check, "maker/mine")
    assert gateway.registry.loaded() == (model,)
    assert gateway.catalog.resolve("nick").id == "maker/mine"


@pytest.mark.parametrize(("length", "said"), [('"long"', "model.0.max_length"), ("9" * 4301, "not valid TOML")])
async def test_a_wrong_file_changes_nothing_and_is_told(
    gateway: Gateway, file: Path, caplog: pytest.LogCaptureFixture, length: str, said: str
) -> None:
    model = await get(gateway.registry, gateway.default.card)
    write(file, f'[[model]]\nid = "maker/mine"\nmax_length = {length}\n')
    reload_cards(gateway, check, "maker/mine")
    assert gateway.registry.loaded() == (model,)
    assert f"models and keys unchanged: {file}: {said}" in caplog.text


async def test_cards_without_the_default_model_change_nothing(
    gateway: Gateway, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(file, "")

    def without(catalog: Catalog) -> None:
        raise SettingsError("no default model")

    reload_cards(gateway, without, "maker/mine")
    assert gateway.catalog.resolve("mine").id == "maker/mine"
    assert "no default model" in caplog.text


HANG_UP = """
import asyncio, os, signal, sys
from rerank.server.reload import on_hangup

async def run():
    called = asyncio.Event()
    before = {"ignore": signal.SIG_IGN, "default": signal.SIG_DFL, "handle": lambda *_: None}[sys.argv[1]]
    signal.signal(signal.SIGHUP, before)
    with on_hangup(called.set):
        os.kill(os.getpid(), signal.SIGHUP)
        await asyncio.wait_for(called.wait(), 10)
    assert signal.getsignal(signal.SIGHUP) == before

asyncio.run(run())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGHUP")
@pytest.mark.parametrize("before", ["ignore", "default", "handle"])
def test_a_hangup_calls_and_afterwards_does_what_it_did(before: str) -> None:
    # in a process of its own: whoever runs the tests may do so on a thread that gets no signals
    subprocess.run([sys.executable, "-c", HANG_UP, before], check=True, timeout=60, stdin=subprocess.DEVNULL, cwd=ROOT)


def test_on_another_thread_there_are_no_signals() -> None:
    done: list[bool] = []

    async def run() -> None:
        with on_hangup(lambda: None):
            done.append(True)

    thread = threading.Thread(target=lambda: asyncio.run(run()))
    thread.start()
    thread.join()
    assert done == [True]
