"""Install requirements, and this project, into a virtual environment: with uv, or with pip if uv cannot be had.

    python tools/install.py .venv requirements.txt

Runs before anything is installed, so it imports only the standard library.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
_REACH_SECONDS = 5
_DRIVERS = (Path("/proc/driver/nvidia"), Path("/dev/nvidiactl"), Path("/dev/dxg"))
"""Of NVIDIA on Linux, the last in WSL."""
_UV_NAMES = {
    "index-url": "UV_DEFAULT_INDEX",
    "extra-index-url": "UV_EXTRA_INDEX_URL",
    "find-links": "UV_FIND_LINKS",
    "cert": "SSL_CERT_FILE",
}
"""Settings of pip, and the same for uv, which does not read those of pip."""


def main(arguments: Sequence[str]) -> int:
    """Install; the exit status."""
    venv, requirements = Path(arguments[0]), Path(arguments[1])
    installer = _Installer(venv / "bin" / "python")
    has_torch = any(venv.glob("lib/python*/site-packages/torch"))
    if not has_torch and needs_cpu_build(sys.platform, os.environ, _DRIVERS):
        _install_cpu_build(installer)
    if not installer.install("-r", str(requirements)):
        return 1
    if not installer.install("--no-deps", "--editable", str(ROOT)):
        print("the command rerank is not installed; `python rerank_server.py` works without it")
    return 0


def _install_cpu_build(installer: _Installer) -> None:
    if is_reachable(f"{CPU_INDEX}/torch/"):
        print(f"no NVIDIA driver: torch's CPU build comes from {CPU_INDEX}")
        installer.install("--no-deps", "--index-url", CPU_INDEX, pinned("torch", ROOT / "requirements.txt"))
    else:
        print(f"no NVIDIA driver, but {CPU_INDEX} is unreachable: torch may bring several GB of CUDA libraries")


class _Installer:
    """uv, a quarter of pip's time, or pip."""

    def __init__(self, python: Path) -> None:
        self._pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        uv = python.with_name("uv")
        if not uv.exists():
            version = pinned("uv", ROOT / "requirements-dev.txt")
            subprocess.run([*self._pip, "--retries", "0", "--timeout", "10", version], stderr=subprocess.DEVNULL)
        self._uv = [str(uv), "pip", "install", "--quiet", "--python", str(python)] if uv.exists() else []
        self._environment = os.environ | (uv_environment(pip_settings(python)) if self._uv else {})

    def install(self, *what: str) -> bool:
        """True if it was installed."""
        if self._uv and subprocess.run([*self._uv, *what], env=self._environment).returncode == 0:
            return True
        return subprocess.run([*self._pip, *what]).returncode == 0


def needs_cpu_build(platform: str, environment: Mapping[str, str], drivers: Sequence[Path]) -> bool:
    """True on Linux without an NVIDIA driver, unless pip's settings already name an index of torch."""
    if platform != "linux" or any("download.pytorch.org" in value for value in environment.values()):
        return False
    return shutil.which("nvidia-smi") is None and not any(driver.exists() for driver in drivers)


def is_reachable(url: str, seconds: float = _REACH_SECONDS) -> bool:
    """True if the address answers in time. The time is for all of its addresses together."""
    answered = threading.Event()

    def ask() -> None:
        try:
            with urllib.request.urlopen(url, timeout=seconds):
                answered.set()
        except OSError:
            pass

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    return answered.is_set()


def pinned(package: str, requirements: Path) -> str:
    """The line of a package, such as ``torch==2.13.0``."""
    found = re.search(rf"^{package}==\S+", requirements.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{requirements} pins no {package}")
    return found[0]


def pip_settings(python: Path) -> dict[str, str]:
    """Settings of pip, from its files and the environment; the last of equal names counts."""
    listed = subprocess.run([str(python), "-m", "pip", "config", "list"], capture_output=True, text=True)
    settings = {}
    for line in sorted(listed.stdout.splitlines(), key=lambda line: line.startswith(":env:")):
        name, _, value = line.partition("=")
        settings[name.rpartition(".")[2]] = str(ast.literal_eval(value))
    return settings


def uv_environment(pip: Mapping[str, str]) -> dict[str, str]:
    """uv's variables for settings of pip; packages come from all indexes alike, as with pip."""
    given = {uv: pip[name].split() for name, uv in _UV_NAMES.items() if name in pip}
    joined = {uv: ("," if uv == "UV_FIND_LINKS" else " ").join(values) for uv, values in given.items()}
    return joined | {"UV_INDEX_STRATEGY": "unsafe-best-match"}


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
