from __future__ import annotations

import pkgutil
import subprocess
import sys

import rerank.scorers
from rerank.catalog.families import OF_CHECKPOINTS
from rerank.scorers.load import IMPLEMENTATIONS


def test_every_family_that_a_folder_or_a_card_can_name_is_implemented() -> None:
    assert {row.family for row in IMPLEMENTATIONS} == set(OF_CHECKPOINTS)


def test_the_table_has_every_folder_of_a_family_once() -> None:
    folders = [module.name for module in pkgutil.iter_modules(rerank.scorers.__path__) if module.ispkg]
    assert sorted(row.folder for row in IMPLEMENTATIONS) == sorted(folders)


def test_each_family_module_has_what_the_table_asks_of_it() -> None:
    assert all(callable(row.module().claims) and callable(row.module().load) for row in IMPLEMENTATIONS)


def test_importing_the_table_imports_no_transformers() -> None:
    code = "import sys, rerank.scorers.load; sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
