"""Names in the documents exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerank.cli.main import COMMANDS
from rerank.settings import setting_names

ROOT = Path(__file__).parents[3]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:rerank|tests|docs)/[\w./]+|\.env\.example)(?::(\w+))?`", CONTRIBUTING)))
READMES = ["README.md", "README.zh-CN.md"]
PERFORMANCE = (ROOT / "docs/benchmarks/performance.md").read_text(encoding="utf-8")
DOCUMENTS = [
    *READMES,
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
    *(f"examples/{readme}" for readme in READMES),
    "deploy/README.md",
]


@pytest.mark.parametrize(("path", "name"), NAMED, ids=[":".join(filter(None, named)) for named in NAMED])
def test_every_place_that_contributing_names_exists(path: str, name: str) -> None:
    assert (ROOT / path).exists()
    if name:
        text = (ROOT / path).read_text(encoding="utf-8")
        assert re.search(rf"^(?:class |def |async def )?{name}\b", text, re.MULTILINE)


def test_contributing_explains_a_step_for_each_change_in_ten_lines_at_most() -> None:
    titles = re.findall(r"^## (Add a .+)$", CONTRIBUTING, re.MULTILINE)
    assert titles == [f"Add a {what}" for what in ("dialect", "model family", "setting", "metric", "command")]
    for section in CONTRIBUTING.split("\n## ")[1:]:
        assert 5 <= len(re.findall(r"^\d\. ", section, re.MULTILINE)) <= 10


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#|mailto:)([^)#]+)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("page", ["commands.md", "commands.zh-CN.md"])
def test_the_page_of_commands_lists_every_one(page: str) -> None:
    text = (ROOT / "docs" / "reference" / page).read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `rerank (\w+)", text, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("document", sorted({*DOCUMENTS} - {"CHANGELOG.md"}))
def test_settings_in_documents_exist(document: str) -> None:
    known = {name for names in setting_names().values() for name in names}
    named = set(re.findall(r"`(RERANK_[A-Z_]+)", (ROOT / document).read_text(encoding="utf-8")))
    # settings of rerank_client.py, and of LightRAG
    assert named <= known | {"RERANK_", "RERANK_BASE_URL", "RERANK_BINDING", "RERANK_BINDING_HOST"}


def test_the_architecture_lists_every_folder_and_module() -> None:
    picture = (ROOT / "docs" / "explanations" / "architecture.md").read_text(encoding="utf-8").split("```")[1]
    for path in (ROOT / "rerank").iterdir():
        shown = f"{path.name}/" if path.is_dir() else path.name
        assert shown in picture or path.name in ("__init__.py", "__pycache__", "py.typed"), shown
    # families are folders of their own, commands are listed by `rerank --help`
    told = (
        "api",
        "api/pages",
        "gateway",
        "gateway/routing",
        "gateway/cache",
        "access",
        "registry",
        "backends",
        "backends/remote",
        "scheduling",
        "scorers",
        "runtimes",
        "catalog",
        "server",
        "evaluation",
    )
    for module in (module for folder in told for module in (ROOT / "rerank" / folder).glob("*.py")):
        assert re.search(rf"\b{module.stem}\b", picture) or module.stem == "__init__", module


@pytest.mark.parametrize("guide", ["choose-a-model.md", "choose-a-model.zh-CN.md"])
def test_speeds_of_models_are_those_of_the_benchmark(guide: str) -> None:
    measured = re.findall(r"^\| ([\w.-]+)'s(?: size)? \| [\d,]+ \([\d.]+\) \| ([\d,]+) \(", PERFORMANCE, re.MULTILINE)
    table = (ROOT / "docs/guides" / guide).read_text(encoding="utf-8")
    rows = re.findall(r"^\| [\w.-]+/([\w.-]+) .*\| ([\d,]+) \|$", table, re.MULTILINE)

    assert {_short(name): speed for name, speed in rows} == dict(measured)


def _short(model: str) -> str:
    """The name of a model's size in the table of the benchmark."""
    kept = re.sub(r"^ms-marco-|-v[12]$", "", model) if not model.startswith("bge") else model
    return re.sub(r"(bge|ettin)-reranker-", r"\1-", kept)
