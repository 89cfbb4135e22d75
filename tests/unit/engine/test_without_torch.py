"""The policy half, imported where there is no torch."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import importlib, pkgutil, sys

for name in ("torch", "transformers", "sentence_transformers", "tokenizers", "openvino", "nncf"):
    sys.modules[name] = None  # an import of it raises ImportError
for half in ("api", "gateway", "access", "registry"):
    package = importlib.import_module(f"rerank.{half}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
importlib.import_module("rerank.backends.base")
print(len([name for name in sys.modules if name.startswith("rerank.")]))
"""


def test_the_policy_half_is_imported_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert int(done.stdout) > 50
