"""What `make serve` installs with, and from where."""

from __future__ import annotations

import http.server
import socket
import sys
import threading
from pathlib import Path

import pytest

from tools import install

ROOT = Path(__file__).parents[3]


@pytest.fixture
def no_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)


@pytest.mark.usefixtures("no_nvidia_smi")
@pytest.mark.parametrize(
    ("platform", "environment", "driver", "wanted"),
    [
        ("linux", {}, False, True),
        ("linux", {}, True, False),
        ("linux", {"PIP_EXTRA_INDEX_URL": "https://download.pytorch.org/whl/cu130"}, False, False),
        ("darwin", {}, False, False),
    ],
    ids=["linux", "nvidia driver", "index named", "macos"],
)
def test_torch_comes_as_its_cpu_build_on_linux_without_an_nvidia_driver(
    platform: str, environment: dict[str, str], driver: bool, wanted: bool, tmp_path: Path
) -> None:
    if driver:
        (tmp_path / "driver").touch()
    assert install.needs_cpu_build(platform, environment, [tmp_path / "driver"]) is wanted


def test_nvidia_smi_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")
    assert not install.needs_cpu_build("linux", {}, [])


class _Empty(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_an_index_that_answers_is_reachable() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), _Empty) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        assert install.is_reachable(f"http://127.0.0.1:{server.server_port}/", 60)


def test_an_index_that_refuses_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert not install.is_reachable(f"http://127.0.0.1:{port}/", 60)


def test_an_index_that_never_answers_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert not install.is_reachable(f"http://127.0.0.1:{silent.getsockname()[1]}/", 0.05)


def test_uv_gets_the_settings_of_pip() -> None:
    pip = {"index-url": "https://a/simple", "find-links": "\n/b\n/c", "extra-index-url": "https://d", "timeout": "9"}
    assert install.uv_environment(pip) == {
        "UV_DEFAULT_INDEX": "https://a/simple",
        "UV_FIND_LINKS": "/b,/c",
        "UV_EXTRA_INDEX_URL": "https://d",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
    }


def test_settings_of_pip_in_the_environment_override_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://of.the.file\ncert = /some/cert.pem\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.setenv("PIP_INDEX_URL", "https://of.the.environment")
    settings = install.pip_settings(Path(sys.executable))
    assert settings["index-url"] == "https://of.the.environment"


@pytest.mark.parametrize("package", ["torch", "typer"])
def test_the_pinned_version_is_read_from_the_requirements(package: str) -> None:
    assert install.pinned(package, ROOT / "requirements.txt").startswith(f"{package}==")


def test_a_package_that_is_not_pinned_is_an_error() -> None:
    with pytest.raises(SystemExit, match=r"requirements\.txt pins no nothing"):
        install.pinned("nothing", ROOT / "requirements.txt")


class TestInstalling:
    """In an environment whose programs only note how they are called."""

    @pytest.fixture
    def venv(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(install, "needs_cpu_build", lambda *_: False)
        (tmp_path / "bin").mkdir()
        self.program(tmp_path, "python")
        return tmp_path

    @staticmethod
    def program(venv: Path, name: str, status: int = 0) -> None:
        script = venv / "bin" / name
        script.write_text(f'#!/bin/sh\necho {name} "$@" >> {venv}/calls\nexit {status}\n')
        script.chmod(0o755)

    @staticmethod
    def installed(venv: Path) -> list[tuple[str, str]]:
        """Program and last argument of every installation."""
        calls = (venv / "calls").read_text().splitlines()
        return [(call.split()[0], call.split()[-1]) for call in calls if " install " in call]

    def test_uv_installs_the_requirements_and_the_project(self, venv: Path) -> None:
        self.program(venv, "uv")
        assert install.main([str(venv), "requirements.txt"]) == 0
        assert self.installed(venv) == [("uv", "requirements.txt"), ("uv", str(ROOT))]

    def test_pip_installs_where_uv_cannot_be_had(self, venv: Path) -> None:
        assert install.main([str(venv), "requirements.txt"]) == 0
        bootstrap, *others = self.installed(venv)
        assert bootstrap[1].startswith("uv==")
        assert others == [("python", "requirements.txt"), ("python", str(ROOT))]

    def test_pip_installs_what_uv_could_not(self, venv: Path) -> None:
        self.program(venv, "uv", status=1)
        assert install.main([str(venv), "requirements.txt"]) == 0
        assert self.installed(venv)[:2] == [("uv", "requirements.txt"), ("python", "requirements.txt")]

    def test_requirements_that_cannot_be_installed_are_a_failure(self, venv: Path) -> None:
        self.program(venv, "uv", status=1)
        self.program(venv, "python", status=1)
        assert install.main([str(venv), "requirements.txt"]) == 1

    @pytest.mark.parametrize(("reachable", "first"), [(True, "torch=="), (False, "requirements.txt")])
    def test_torch_comes_first_from_its_cpu_index_if_that_is_reachable(
        self, venv: Path, monkeypatch: pytest.MonkeyPatch, reachable: bool, first: str
    ) -> None:
        self.program(venv, "uv")
        monkeypatch.setattr(install, "needs_cpu_build", lambda *_: True)
        monkeypatch.setattr(install, "is_reachable", lambda _url: reachable)
        assert install.main([str(venv), "requirements.txt"]) == 0
        assert self.installed(venv)[0][1].startswith(first)
