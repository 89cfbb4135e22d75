"""Blocks of code in the documents do what they say, against a server with the bundled model."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rerank.catalog.catalog import Catalog
from rerank.cli.main import app
from rerank.gateway.routing.plan import check_routes
from tests.docs.blocks import Block, blocks, documents
from tests.process.server import ROOT, ServerProcess, clean_environment
from tests.support.kept import share_kept_networks

ALL = list(blocks())
ENGINE = "from rerank import Engine"
"""Programs with it load models of their own: tests/tensors/test_engine.py runs them."""
RUN = list({block.text: block for block in reversed(ALL) if not block.reason and ENGINE not in block.text}.values())
ADDRESS = re.compile(r"(?:http://)?(?:localhost|127\.0\.0\.1):8000")
FAILING_CURL = 'curl() { command curl --fail-with-body "$@"; }\n'
RERANK = """#!/bin/sh
exec "$PYTHON" -c 'import sys; from rerank.cli.main import main; sys.exit(main())' "$@"
"""
"""The command as it is in this folder, whichever copy of the project is installed."""


def name_of(block: Block) -> str:
    return f"{block.page}: {block.text.strip().splitlines()[0][:60]}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server"), {"MODEL_DEVICE": "cpu"}) as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as the project's is, after `make serve`."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "rerank").write_text(RERANK)
    (programs / "rerank").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    shutil.copy(ROOT / "rerank_client.py", tmp_path)
    share_kept_networks(tmp_path / "models")
    return tmp_path


def test_the_documents_have_blocks_to_run() -> None:
    assert {"README.md", "docs/tutorial/dify.md", "docs/guides/long-documents.md"} <= {block.page for block in RUN}


@pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs bash and curl")
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", [block for block in RUN if block.language != "python"], ids=name_of)
def test_a_block_of_commands_works(block: Block, server: ServerProcess, folder: Path) -> None:
    programs = folder / ".venv" / "bin"
    environment = clean_environment(folder) | {"PYTHON": sys.executable, "PATH": f"{programs}:{os.environ['PATH']}"}
    script = FAILING_CURL + ADDRESS.sub(server.url, block.text)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "it prints nothing"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", [block for block in RUN if block.language == "python"], ids=name_of)
def test_a_program_works(block: Block, server: ServerProcess, folder: Path) -> None:
    program = ADDRESS.sub(server.url, block.text)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env=clean_environment(folder), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "it prints nothing"


@pytest.mark.parametrize("block", [block for block in ALL if block.mark.startswith("not run")], ids=name_of)
def test_a_block_that_is_not_run_says_why(block: Block) -> None:
    assert block.reason
    for named in re.findall(r"tests/[\w/.]+", block.reason):
        assert (ROOT / named).exists(), named


RERANK_COMMANDS = sorted(
    {(block.page, tuple(words[1:])) for block in ALL for words in block.commands() if words[0] == "rerank"}
)


@pytest.mark.parametrize(("page", "words"), RERANK_COMMANDS, ids=[" ".join(words) for _, words in RERANK_COMMANDS])
def test_options_of_rerank_in_documents_exist(page: str, words: tuple[str, ...]) -> None:
    """Of blocks that are not run, too: what is wrong is said before the help."""
    rest = words[: words.index("|")] if "|" in words else words
    done = CliRunner().invoke(app, [*rest, "--help"])
    assert done.exit_code == 0, done.output


MODELS_FILES = [
    (page, text)
    for page in documents()
    for text in re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL)
    if "[[model]]" in text
]


@pytest.mark.parametrize(("page", "text"), MODELS_FILES, ids=[page for page, _ in MODELS_FILES])
def test_models_files_in_documents_are_right(page: str, text: str, tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text(text, encoding="utf-8")
    catalog = Catalog.open(tmp_path / "models", tmp_path / "models.toml")
    check_routes(catalog.cards(), catalog.resolve)
