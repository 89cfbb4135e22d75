"""Other people's SDKs against a real server: right order, the same scores, and errors as each SDK's own exceptions.

The SDKs live in virtual environments of their own, which `make test` installs (`.venv-sdks`), because some of them
exclude each other and all of them bring much along.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.process.server import clean_environment
from tests.support.fake_hub import FakeHub
from tests.support.installed import sdk_environment
from tests.support.tiny_checkpoints import make_xlm_roberta
from tests.support.whole import whole_server

from .sdks.expected import LISTED, OUTCOMES, RANKING, VECTORS

QUERY = "What is the capital of France?"
DOCUMENTS = [
    "Berlin is the capital of Germany.",
    "Paris is the capital of France.",
    "I like cheese.",
    "法国的首都是巴黎。",
]
MODEL = "all-MiniLM-L6-v2"
KEY = "key-of-the-test"
BUSY = "org/reranker"
PATIENCE = 1000
"""Seconds; longer than all calls take."""
CALLS = Path(__file__).parent / "sdks" / "calls.py"


@pytest.fixture(scope="module")
def homes() -> dict[str, Path]:
    """The virtual environments of the SDKs, by name."""
    return {name: sdk_environment(name) for name in OUTCOMES}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a key, the embedded model in memory, and another one that waits for its weights for ever."""
    folder = tmp_path_factory.mktemp("server")
    make_xlm_roberta(folder / "weights")
    with FakeHub() as hub:
        weights = hub.add_folder(BUSY, folder / "weights").files["model.safetensors"]
        weights.holding = True
        (folder / "models.toml").write_text(f'[[model]]\nid = "{BUSY}"\nrepo = "{BUSY}"\n')
        settings = {"api_key": KEY, "max_inflight_documents": 10, "hf_endpoint": hub.url, "timeout": PATIENCE}
        with whole_server(folder, **settings) as url, ThreadPoolExecutor(1) as callers:
            plainly(url)
            waiting = callers.submit(plainly, url, model=BUSY, documents=["d"] * 10)
            assert weights.held.wait(PATIENCE)
            yield url
            assert not waiting.done()
            weights.release.set()
            assert waiting.result().status_code == 200


@pytest.fixture(scope="module")
def open_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with whole_server(tmp_path_factory.mktemp("open")) as url:
        yield url


@pytest.fixture(scope="module")
def outcomes(
    homes: dict[str, Path], server: str, open_server: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """What came of each call in each situation, by environment; one process makes all calls of an environment."""
    right = {"url": server, "key": KEY, "model": MODEL}
    situations = {
        "right": right,
        "wrong key": right | {"key": "wrong"},
        "unknown model": right | {"model": "nope"},
        "overload": right | {"model": BUSY},
        "open": right | {"url": open_server},
    }
    found, folder = {}, tmp_path_factory.mktemp("client")
    for home, calls in OUTCOMES.items():
        asked = {name: list(expected) for name, expected in calls.items()}
        job = {"query": QUERY, "documents": DOCUMENTS, "situations": situations, "calls": asked}
        ended = subprocess.run(
            [str(homes[home] / "bin" / "python"), str(CALLS)],
            input=json.dumps(job),
            env=clean_environment(folder) | {"PYTHONPATH": "", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
            cwd=folder,
            text=True,
            capture_output=True,
        )
        assert ended.returncode == 0, ended.stderr
        found[home] = json.loads(ended.stdout.splitlines()[-1])
    return found


def plainly(url: str, **fields: Any) -> requests.Response:
    """A request that no SDK made."""
    asked = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS} | fields
    headers = {"Authorization": f"Bearer {KEY}"}
    return requests.post(f"{url}/v1/rerank", json=asked, headers=headers, timeout=PATIENCE)


CASES = [
    (home, name, situation)
    for home, calls in OUTCOMES.items()
    for name, expected in calls.items()
    for situation in expected
]


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("home", "name", "situation"), CASES)
def test_an_sdk(server: str, outcomes: dict[str, Any], home: str, name: str, situation: str) -> None:
    found, expected = outcomes[home][name][situation], OUTCOMES[home][name][situation]
    if expected not in (RANKING, VECTORS, LISTED):
        assert found.get("error") == expected, found
        return
    assert "ranking" in found, found
    if expected in (RANKING, VECTORS):
        plain = plainly(server).json()["results"]
        assert [index for index, _ in found["ranking"]] == [result["index"] for result in plain]
        scores = [result["relevance_score"] for result in plain]
        assert [score for _, score in found["ranking"]] == pytest.approx(
            scores, abs=1e-6 if expected == RANKING else 5e-3
        )


def test_every_call_is_made() -> None:
    defined = set(re.findall(r"^@call\ndef (\w+)", CALLS.read_text(encoding="utf-8"), re.MULTILINE))
    made = {name for calls in OUTCOMES.values() for name in calls}
    assert made - defined == {name for name in made if name.startswith("litellm_")} - {"litellm_proxy"}
    assert defined <= made
