from __future__ import annotations

import gc
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from rerank.catalog.built_in import EMBEDDED_MODEL_ID
from tests.support.fake_hub import FakeHub
from tests.support.kept import convert, keep_networks_in
from tests.support.redis_server import RedisServer

# two workers and their servers share the cores; threads that spin for a tiny network slow all of them down
os.environ.setdefault("OMP_NUM_THREADS", "1")
# what tests download fits on a disk that is nearly full
os.environ["RERANK_MIN_FREE_DISK"] = "0"

# a busy machine is no failure
settings.register_profile("untimed", deadline=None)
# for `make mutants`: each mutant meets the same examples, and the copies of a test are one
settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=50,
    suppress_health_check=[HealthCheck.differing_executors],
)
settings.load_profile("untimed")

FUZZED = "fuzzed requests"
"""The property under which a test records how many requests it made up."""
RecordProperty = Callable[[str, object], None]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a few thousand weights, not to be written to."""
    # importing torch takes seconds
    from tests.support.tiny_checkpoints import make_xlm_roberta

    return make_xlm_roberta(tmp_path_factory.mktemp("checkpoints") / "tiny-reranker")


@pytest.fixture(scope="session", autouse=True)
def _kept_networks(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Workers share what is above their folders; without workers there is one folder."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "kept-networks"
    folder.mkdir(exist_ok=True)
    keep_networks_in(folder)


@pytest.fixture(scope="session")
def converted(tiny: Path, _kept_networks: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Servers find the embedded model and ``tiny`` converted."""
    models = tmp_path_factory.mktemp("converted") / "models"
    shutil.copytree(tiny, models / tiny.name)
    convert(models, tiny.name, EMBEDDED_MODEL_ID)


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """One for all tests that leave it running."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """One that a test may stop."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    with FakeHub() as running:
        yield running


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of huggingface_hub."""
    folder = tmp_path / "hf-cache"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """Puts the whole of logging back as it was: commands and servers set it up for their process."""
    loggers = [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]
    known = [one for one in loggers if isinstance(one, logging.Logger)]
    before = [(one, one.handlers, one.level, one.propagate, one.disabled) for one in known]
    yield
    for one, handlers, level, propagate, disabled in before:
        one.handlers, one.propagate, one.disabled = handlers, propagate, disabled
        one.setLevel(level)


def pytest_collection_finish() -> None:
    """What is there by now stays: a search of it all for garbage takes a second, and there are hundreds."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many requests were made up."""
    reports = (report for reports in terminalreporter.stats.values() for report in reports)
    properties = {
        (report.nodeid, name): count for report in reports for name, count in getattr(report, "user_properties", ())
    }
    if counts := [count for (_, name), count in properties.items() if name == FUZZED]:
        terminalreporter.write_line(f"{sum(counts)} requests were made up, none was answered with 5xx")
