"""The first moments of a server: what is refused at once, and a Ctrl-C."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.process.server import ROOT, ServerProcess

SERVER = str(ROOT / "rerank_server.py")
ON_TERMINAL = f"""
import fcntl, runpy, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
sys.argv = [{SERVER!r}, "--port", "0"]
runpy.run_path({SERVER!r}, run_name="__main__")
"""


@pytest.mark.parametrize(
    ("settings", "command", "said"),
    [
        ({"WORKERS": "2"}, [SERVER], "WORKERS=2 asks for several processes"),
        ({"RERANK_WORKERS": "2"}, [SERVER], "RERANK_WORKERS=2 asks"),
        ({"WEB_CONCURRENCY": "4"}, [SERVER], "WEB_CONCURRENCY=4 asks"),
        ({}, ["-m", "uvicorn", "rerank_server:app", "--port", "0", "--workers", "2"], "--workers 2 asks"),
        ({"WEB_CONCURRENCY": "2"}, ["-m", "uvicorn", "rerank_server:app", "--port", "0"], "WEB_CONCURRENCY=2 asks"),
    ],
)
def test_several_processes_are_refused_and_the_way_that_works_is_told(
    tmp_path: Path, settings: dict[str, str], command: list[str], said: str
) -> None:
    server = ServerProcess(tmp_path, settings, command)
    server.wait()

    log = "".join(server.log)
    assert f"rerank: {said}" in log
    assert "set MODEL_DEVICE (cuda, or cuda:0,cuda:1)" in log
    assert "behind a load balancer" in log
    assert "Traceback" not in log


def test_one_process_may_be_asked_for_by_any_name(tmp_path: Path) -> None:
    one = {"WORKERS": "1", "RERANK_WORKERS": "1", "WEB_CONCURRENCY": "1"}
    with ServerProcess(tmp_path, one) as server:
        assert server.stop() == 0


@pytest.fixture
def ctrl_c_heeded() -> Iterator[None]:
    """A test run in the background may ignore it, and its children would inherit that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c_heeded")
@pytest.mark.parametrize(
    ("imported", "status"),
    # the last is imported while the engine runs, which ends in order
    [("pydantic_settings", -signal.SIGINT), ("uvicorn", -signal.SIGINT), ("fastapi.routing", 0)],
)
def test_ctrl_c_while_the_libraries_are_imported_shows_no_traceback(tmp_path: Path, imported: str, status: int) -> None:
    server = ServerProcess(tmp_path, command=["-X", "importtime", SERVER, "--port", "0"])
    server.wait_for_log(f" {imported}\n")

    assert server.stop(signal.SIGINT) == status
    assert "Traceback" not in "".join(server.log)
    assert "KeyboardInterrupt" not in "".join(server.log)


def keep_nothing(folder: Path) -> None:
    """A network that was converted before would be loaded without torch."""
    (folder / "models" / ".openvino").mkdir(parents=True)


@pytest.mark.usefixtures("ctrl_c_heeded")
def test_ctrl_c_while_the_default_model_imports_torch_ends_the_server_cleanly(tmp_path: Path) -> None:
    keep_nothing(tmp_path)
    command = ["-X", "importtime", SERVER, "--port", "0"]
    with ServerProcess(tmp_path, {"RERANK_PRELOAD": ""}, command) as server:
        server.wait_for_log(" torch.types\n")

        assert server.stop(signal.SIGINT) == 0
    assert "Traceback" not in "".join(server.log)


def test_an_ipv6_address_is_told_in_brackets(tmp_path: Path) -> None:
    server = ServerProcess(tmp_path, {"HOST": "::1"}, [SERVER, "--port", "0"])
    server.wait_for_log("listening on http://[::1]:0, for this machine only")
    server.stop()


def test_nohup_keeps_the_server_running_where_its_terminal_is_closed(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    # as the nohup that leaves standard input alone, and the server still reads its files again
    command = ("-c", f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{ON_TERMINAL}")
    with ServerProcess(tmp_path, command=command, stdin=theirs, start_new_session=True) as server:
        os.close(theirs)
        os.close(ours)
        server.wait_for_log("reloaded the models file")
        assert requests.get(f"{server.url}/health", timeout=60).status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("x86_64-conda-linux-gnu", "RERANK_HOST / HOST: x86_64-conda-linux-gnu cannot be listened on"),
        ("0.0.0.0:8000", "RERANK_HOST / HOST: it has to be an IP address"),
        ("http://0.0.0.0", "RERANK_HOST / HOST: it has to be an IP address"),
        ("a" * 300, "RERANK_HOST / HOST: "),
    ],
)
def test_a_host_that_is_no_address_is_refused_by_name(tmp_path: Path, host: str, said: str) -> None:
    server = ServerProcess(tmp_path, {"HOST": host}, [SERVER, "--port", "0"])
    assert server.wait() == 2
    assert f"rerank: {said}" in "".join(server.log)
    assert "Traceback" not in "".join(server.log)


def test_a_dot_env_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    server = ServerProcess(tmp_path, command=[SERVER, "--port", "0"])
    assert server.wait() == 2
    assert server.log == [
        "rerank: .env is a folder. Docker makes one where a file to be mounted does not exist: remove it, and "
        "write the file if you need one.\n"
    ]


WATCHED = """
import importlib.abc, os, runpy, sys

class Watch(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name in ("torch", "huggingface_hub"):
            seen = os.environ.get("TOKENIZERS_PARALLELISM"), os.environ.get("HF_HOME")
            print("importing", name, *seen, file=sys.stderr, flush=True)
            named.append(name)
            # the rest of the start is for other tests
            if set(named) == {"torch", "huggingface_hub"}:
                os._exit(0)

named = []
sys.meta_path.insert(0, Watch())
sys.argv = sys.argv[1:]
if sys.argv[0] == "app":
    import rerank_server
    rerank_server.app
else:
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize(
    ("command", "seen"),
    [
        ([SERVER, "--port", "0"], {"huggingface_hub", "torch"}),
        (["app"], {"huggingface_hub"}),
        ([str(ROOT / "download_model.py"), "--list"], {"huggingface_hub"}),
    ],
)
def test_libraries_find_what_dot_env_says_to_them_when_they_are_imported(
    tmp_path: Path, command: list[str], seen: set[str]
) -> None:
    keep_nothing(tmp_path)
    (tmp_path / ".env").write_text("TOKENIZERS_PARALLELISM=false  # 禁用\nHF_HOME=of-the-file\n", encoding="utf-8")
    environment = {"PYTHONPATH": str(ROOT), "HF_HOME": str(tmp_path), "RERANK_PRELOAD": ""}
    server = ServerProcess(tmp_path, environment, ["-c", WATCHED, *command])
    server.wait()
    lines = {line for line in server.log if line.startswith("importing ")}
    # what the environment says wins
    assert lines == {f"importing {name} false {tmp_path}\n" for name in seen}, server.log


def test_kubernetes_service_links_are_no_settings(tmp_path: Path) -> None:
    links = {"RERANK_PORT": "tcp://10.0.0.1:8000", "RERANK_GATEWAY_SERVICE_HOST": "10.0.0.1"}
    with ServerProcess(tmp_path, links | {"PORT": "0", "HOST": "[::1]"}, [SERVER]) as server:
        assert server.stop() == 0
    assert "listening on http://[::1]:0, for this machine only" in "".join(server.log)


def test_a_terminal_that_is_closed_ends_the_server(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    # the tests may run under nohup
    command = ("-c", f"import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n{ON_TERMINAL}")
    with ServerProcess(tmp_path, command=command, stdin=theirs, start_new_session=True) as server:
        os.close(theirs)
        os.close(ours)
        assert server.wait() == 0
