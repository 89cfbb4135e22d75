"""Converted networks on disk: whole or converted again after any fault. The network is the smallest there is."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from rerank.core import EmbeddingOptions, Pair
from rerank.runtimes import openvino_cpu
from rerank.scorers.base import finish, score
from tests.support.permissions import bound_by_permissions
from tests.support.tiny_checkpoints import (
    make_bert,
    make_distilbert,
    make_embedding_model,
    make_modernbert,
    make_qwen3,
    make_xlm_roberta,
)

from .japanese import make_japanese
from .late import make_stanford
from .layouts import chain, deberta, encoder
from .network_cache import Cache
from .own_layouts import make_flash, make_new
from .test_scorers import load

WAIT = 30.0


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path)


def test_a_second_start_converts_nothing(cache: Cache) -> None:
    assert cache.start() == cache.start()
    assert cache.conversions == 1


@pytest.mark.parametrize("name", ["config.json", "modules.json", "1_Pooling/config.json", "network.py"])
def test_the_same_weights_put_together_otherwise_are_another_network(cache: Cache, name: str) -> None:
    file = cache.folder.parent / name
    file.parent.mkdir(exist_ok=True)
    for content in ("{}", "{ }", "{}"):
        file.write_text(content)
        cache.start()

    assert cache.conversions == 2


def shorten(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def fill_with_zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def write_garbage(file: Path) -> None:
    file.write_text("<half")


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("model.bin", shorten),
        ("model.bin", fill_with_zeros),
        ("model.bin", Path.unlink),
        ("model.xml", write_garbage),
        ("model.xml", Path.unlink),
        ("sums.json", write_garbage),
        ("sums.json", Path.unlink),
    ],
)
def test_a_network_that_is_not_whole_is_converted_again(cache: Cache, name: str, spoil: Callable[[Path], None]) -> None:
    first = cache.start()
    spoil(cache.kept[0] / name)

    assert cache.start() == first
    assert cache.conversions == 2
    assert cache.start() == first
    assert cache.conversions == 2


def test_the_log_says_that_a_network_was_corrupt(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    cache.start()
    fill_with_zeros(cache.kept[0] / "model.bin")
    cache.start()
    assert "cannot be read and is converted again: its files are not those that were written" in caplog.text


def test_what_a_killed_process_left_goes_and_is_never_taken_for_whole(cache: Cache) -> None:
    first = cache.start()
    (whole,) = cache.kept
    whole.rename(whole.with_name(f"{whole.name}.unfinished"))
    (cache.folder / "of-another-model.unfinished").mkdir()

    assert cache.start() == first
    assert cache.conversions == 2
    assert cache.kept == [whole]


def test_a_process_that_converts_the_same_is_waited_for(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    first = cache.start()
    (whole,) = cache.kept
    aside = whole.rename(cache.folder.parent / ".aside")
    asked = threading.Event()

    class Lock(FileLock):
        def acquire(self, *arguments: Any, **options: Any) -> Any:
            asked.set()
            return super().acquire(*arguments, **options)

    monkeypatch.setattr(openvino_cpu, "FileLock", Lock)
    with ThreadPoolExecutor(1) as here:
        with FileLock(cache.folder / ".lock"):
            second = here.submit(cache.start)
            assert asked.wait(WAIT)
            # the other process is done
            aside.rename(whole)
        assert second.result(WAIT) == first
    assert cache.conversions == 1


def test_a_newer_version_replaces_what_an_older_one_converted(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.start()
    monkeypatch.setattr(openvino_cpu.openvino, "__version__", "2099.1.0-0")
    cache.start()
    assert cache.conversions == 2
    assert len(cache.kept) == 1


def test_a_network_that_cannot_be_kept_still_runs(cache: Cache, caplog: pytest.LogCaptureFixture) -> None:
    cache.folder.write_text("a file where a folder should be")
    assert len(cache.start()) == 8
    assert caplog.text.count("cannot be kept") == len(caplog.messages) == 1


STARTS = """
import logging, sys
from pathlib import Path
from tests.parity.network_cache import Cache

logging.basicConfig(level=logging.WARNING, format="%(message)s")
for folder in sys.argv[1:]:
    print(Cache(Path(folder)).start(), flush=True)
    print("started", file=sys.stderr, flush=True)
"""
MODES = [(False, 0o000, 1), (True, 0o000, 1), (False, 0o500, 1), (True, 0o500, 0)]
"""Of another user's cache: is the network in it, what may be done with it, and how many lines are logged?"""


@pytest.mark.skipif(sys.platform != "linux", reason="of prctl")
def test_caches_of_another_user_are_passed_over_with_one_line(tmp_path: Path) -> None:
    caches = [Cache(tmp_path / f"{mode:o} {converted_before}") for converted_before, mode, _ in MODES]
    for cache, (converted_before, mode, _) in zip(caches, MODES, strict=True):
        cache.folder.mkdir()
        if converted_before:
            cache.start()
        cache.folder.chmod(mode)
    try:
        # one process for all of them: importing torch takes seconds
        child = subprocess.run(
            [sys.executable, "-c", STARTS, *(str(cache.folder.parent) for cache in caches)],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=bound_by_permissions,
        )
    finally:
        for cache in caches:
            cache.folder.chmod(0o700)
    logs = [log.splitlines() for log in child.stderr.split("started\n")[:-1]]
    assert [len(log) for log in logs] == [lines for *_, lines in MODES]
    assert all("cannot be kept, so the next start converts again: " in line for log in logs for line in log)
    assert child.stdout.splitlines() == [str(cache.start()) for cache in caches]


def test_a_disk_too_full_to_keep_a_network_leaves_nothing_half_there(
    cache: Cache, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fill_up(_: object, file: Path, **__: object) -> None:
        file.with_suffix(".bin").write_bytes(b"half")
        raise RuntimeError("basic_ios::clear: iostream error")

    with monkeypatch.context() as full:
        full.setattr(openvino_cpu.openvino, "save_model", fill_up)
        first = cache.start()

    assert "the converted network cannot be kept, so the next start converts again: basic_ios::clear" in caplog.text
    assert cache.kept == []
    assert cache.start() == first
    assert len(cache.kept) == 1


WITHOUT_TORCH = """
import json, sys
from pathlib import Path

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers", "sentence_transformers"):
            raise AssertionError(f"{name} was imported")

sys.meta_path.insert(0, Blocked())
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import EmbeddingOptions, Pair
from rerank.devices import choose_device
from rerank.scorers.base import Placement, finish, score
from rerank.scorers.load import load_scorer

answers = []
for folder in map(Path, sys.argv[1:]):
    placement = Placement(choose_device("cpu", "fp32", "openvino"), folder.parent / ".openvino")
    scorer = load_scorer(read_checkpoint(folder), ModelCard(id="m"), placement)
    answers.append(score(scorer, scorer.encode([Pair("a query", "a document"), Pair("a query", "another")])))
    if scorer.embedder:
        texts = finish(scorer.embedder.reading(["a text"], EmbeddingOptions()))
        answers[-1] += scorer.embedder.start(texts).result()[0].tolist()
print(json.dumps(answers))
"""


def test_kept_networks_score_the_same_where_neither_torch_nor_transformers_can_be_imported(tmp_path: Path) -> None:
    makers = (
        make_bert,
        make_distilbert,
        make_modernbert,
        make_xlm_roberta,
        make_embedding_model,
        make_qwen3,
        make_new,
        make_flash,
        make_japanese,
        deberta,
        make_ettin,
        make_stanford,
    )
    made = [make(tmp_path / make.__name__) for make in makers]
    expected = [_answers(folder) for folder in made]

    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *map(str, made)], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == expected


def make_ettin(folder: Path) -> Path:
    """A ModernBERT whose head is modules of sentence-transformers."""
    return chain(encoder(folder, "modernbert", body=True), "cls", normalised=True)


def _answers(folder: Path) -> list[float]:
    scorer = load(folder, runtime="openvino")
    answers = score(scorer, scorer.encode([Pair("a query", "a document"), Pair("a query", "another")]))
    if scorer.embedder:
        texts = finish(scorer.embedder.reading(["a text"], EmbeddingOptions()))
        answers += scorer.embedder.start(texts).result()[0].tolist()
    return answers
