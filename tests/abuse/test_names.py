"""Names of models as an attacker writes them: endless, full of underscores, of files elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from urllib.parse import quote

import pytest
import requests

from rerank.catalog.catalog import Catalog
from rerank.catalog.names import MAX_NAME, NameIndex
from rerank.errors import ModelNotFound
from tests.abuse.conftest import MODEL, StartServer
from tests.abuse.support import SECONDS, measured
from tests.process.server import ServerProcess
from tests.unit.catalog.folders import write_json

STANDSTILL = 10.0
"""Seconds of CPU time; what is asked for here takes milliseconds, and took up to a minute."""
UNDERSCORES = "_" * 60_000 + "/x"


@pytest.mark.parametrize(
    "name",
    [UNDERSCORES, "a-" * 500_000, "/" * 500_000, "\\" * 500_000, "./" * 250_000, "___" * 200_000, "İ" * 500_000],
    ids=lambda name: f"{len(name)} of {name[:3]}",
)
def test_an_endless_name_is_not_looked_at(tmp_path: Path, name: str) -> None:
    began = time.process_time()
    with pytest.raises(ModelNotFound) as unknown:
        Catalog(tmp_path).resolve(name)
    assert time.process_time() - began < STANDSTILL
    assert len(unknown.value.message) < 2_000


@pytest.mark.parametrize("name", ["_" * MAX_NAME, "a-" * (MAX_NAME // 2), "___" * (MAX_NAME // 3), "x/" * 256])
def test_the_longest_name_is_compared_with_thousands_in_no_time(tmp_path: Path, name: str) -> None:
    cards = NameIndex(ids=tuple(f"organisation-{number}/{'long-name-' * 20}{number}" for number in range(20_000)))
    began = time.process_time()
    with pytest.raises(ModelNotFound):
        cards.resolve(name)
    assert time.process_time() - began < STANDSTILL


def test_thousands_of_unknown_names_look_through_a_full_folder_once_in_a_while(tmp_path: Path) -> None:
    for number in range(3_000):
        write_json(tmp_path / f"model-{number}" / "config.json", {})
    catalog = Catalog(tmp_path)
    began = time.process_time()
    for number in range(300):
        with pytest.raises(ModelNotFound):
            catalog.resolve(f"nobody-{number}")
    assert time.process_time() - began < STANDSTILL
    assert catalog.is_large


@pytest.fixture(scope="module")
def server(start_server: StartServer) -> ServerProcess:
    return start_server()


def test_a_server_answers_all_the_while(server: ServerProcess) -> None:
    address = quote(UNDERSCORES)
    asked = [
        ("GET", f"/ready?model={address}"),
        ("GET", f"/v1/models/{address}"),
        *(("POST", f"/v1/models/{address}/{action}") for action in ("load", "unload", "pin")),
    ]
    bodies = [{"model": name, "query": "q", "documents": ["d"]} for name in (UNDERSCORES, "a-" * 500_000)]
    with measured(server.pid) as cost:
        answers = [requests.request(method, server.url + path, timeout=SECONDS) for method, path in asked]
        answers += [
            requests.post(server.url + path, json=body, timeout=SECONDS)
            for path in ("/v1/rerank", "/v1/score", "/v2/rerank")
            for body in bodies
        ]
    assert {answer.status_code for answer in answers} <= {400, 404, 414, 422, 431}
    assert max(len(answer.content) for answer in answers) < 10_000
    assert requests.get(f"{server.url}/health", timeout=SECONDS).ok
    assert cost.seconds < STANDSTILL


STRANGE = [
    "../../../../etc/passwd",
    "/etc/passwd",
    "/dev/zero",
    "/proc/self/environ",
    "C:\\windows\\win.ini",
    "\\\\server\\share",
    "nul\0",
    "con",
    "models/../../etc",
    "\ud800",
    "line\nfeed",
    "\u202eevil",
]


@pytest.mark.parametrize("name", STRANGE, ids=ascii)
def test_a_name_says_nothing_of_what_lies_outside_the_models_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").mkdir()
    write_json(tmp_path / "secret" / "config.json", {})
    catalog = Catalog(tmp_path / "models")

    def said(asked: str) -> str:
        with pytest.raises(ModelNotFound) as unknown:
            catalog.resolve(asked)
        return unknown.value.message.partition("` ")[2].partition(" Known")[0]

    there, nowhere = tmp_path / "secret", tmp_path / "nowhere"
    assert said(name) == said("no-such-model") == said(str(there)) == said(str(nowhere)) == said("../secret")


def test_strange_names_in_requests_answer_404(server: ServerProcess) -> None:
    for name in STRANGE:
        body = {"model": name, "query": "q", "documents": ["d"]}
        answer = requests.post(f"{server.url}/v1/rerank", json=body, timeout=SECONDS)
        assert answer.status_code in (400, 404), (name, answer.text)
    for name in ("%00", "%2e%2e%2f%2e%2e%2fetc", "..%5c..%5cetc", "%0a", "%ff"):
        assert requests.get(f"{server.url}/v1/models/{name}", timeout=SECONDS).status_code in (400, 404)
        assert requests.get(f"{server.url}/ready?model={name}", timeout=SECONDS).status_code in (400, 404)
    assert requests.get(f"{server.url}/ready?model={MODEL}", timeout=SECONDS).status_code in (200, 503)
