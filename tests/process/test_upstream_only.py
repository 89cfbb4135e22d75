"""A server whose models are all behind other servers, started where torch cannot be imported."""

from __future__ import annotations

from pathlib import Path

import requests

from tests.process.server import ROOT, ServerProcess, post
from tests.support.fake_upstream import FakeUpstream

BLOCKED = ("torch", "transformers", "sentence_transformers", "openvino", "nncf")
PROGRAM = f"""
import runpy, sys
for name in {BLOCKED!r}:
    sys.modules[name] = None  # an import of it raises ImportError
sys.argv = [{str(ROOT / "rerank_server.py")!r}, "--port", "0"]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_upstreams_and_keyword_search_need_no_torch(tmp_path: Path) -> None:
    with FakeUpstream("cohere") as upstream:
        (tmp_path / "models.toml").write_text(
            f'[[model]]\nid = "far"\nupstream = {{ api = "cohere", url = "{upstream.url}" }}\n'
            '[[model]]\nid = "always"\nfallback = ["far", "lexical"]\n',
            encoding="utf-8",
        )
        settings = {"RERANK_DEFAULT_MODEL": "always", "RERANK_PRELOAD": "", "MODEL_DEVICE": "cpu"}
        with ServerProcess(tmp_path, settings, ["-c", PROGRAM]) as server:
            body = {"query": "paris france", "documents": ["cheese and wine", "paris, france"]}
            assert requests.get(f"{server.url}/ready", timeout=60).status_code in (200, 503)
            assert post(server, body).json()["model"] == "far"
            upstream.always_answers(500)
            degraded = post(server, body | {"cache": False}).json()
            assert (degraded["model"], degraded["results"][0]["index"]) == ("lexical", 1)
            assert server.stop() == 0
