"""Keys from the command that makes them to the server that knows them, and away again."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from tests.process.server import ROOT, ServerProcess, clean_environment, post

pytestmark = pytest.mark.usefixtures("converted")

BODY = {"query": "capital of France?", "documents": ["Paris", "cheese"], "top_n": 1}


def new_key(folder: Path, *arguments: str) -> str:
    made = subprocess.run(
        [sys.executable, str(ROOT / "rerank_server.py"), "key", "new", *arguments],
        cwd=folder,
        env=clean_environment(folder),
        capture_output=True,
        text=True,
        check=True,
    )
    return made.stdout.strip()


def status(server: ServerProcess, key: str) -> int:
    return post(server, BODY, headers={"Authorization": f"Bearer {key}"}).status_code


def test_keys_come_and_go_while_the_server_runs(tmp_path: Path) -> None:
    chat = new_key(tmp_path, "chat", "--model", "all-MiniLM-L6-v2")
    with ServerProcess(tmp_path) as server:
        server.wait_for_log("listening on http://0.0.0.0:0, for everyone with a key")
        # 0.0.0.0 means every address of this machine
        server.url = server.url.replace("0.0.0.0", "127.0.0.1")
        assert [status(server, key) for key in (chat, "", "wrong")] == [200, 401, 401]

        shop = new_key(tmp_path, "shop", "--requests-per-minute", "1")
        assert status(server, shop) == 401
        server.signal(signal.SIGHUP)
        server.wait_for_log("keys: chat, shop")
        assert [status(server, key) for key in (chat, shop, shop)] == [200, 200, 429]

        entries = (tmp_path / "keys.toml").read_text().split("\n\n")
        (tmp_path / "keys.toml").write_text(entries[1])
        server.signal(signal.SIGHUP)
        server.wait_for_log("keys: shop")
        assert status(server, chat) == 401

        (tmp_path / "keys.toml").unlink()
        server.signal(signal.SIGHUP)
        server.wait_for_log("no key is left, which would open the server to all clients")
        assert requests.post(f"{server.url}/v1/rerank", json=BODY, timeout=60).status_code == 401
    log = "".join(server.log)
    assert chat not in log
    assert shop not in log
