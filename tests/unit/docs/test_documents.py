"""Names in the documents exist."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from rerank.cli.main import COMMANDS
from rerank.evaluation.reading.runs import read_run
from rerank.settings import setting_names

ROOT = Path(__file__).parents[3]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`((?:rerank|tests|docs)/[\w./]+|\.env\.example)(?::(\w+))?`", CONTRIBUTING)))
READMES = ["README.md", "README.zh-CN.md"]
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


def anchors(page: Path) -> list[str]:
    """The ids of headings as GitHub makes them, in order; one written before a heading comes before the heading's."""
    found: list[str] = []
    marks = r"""^<a id="(?P<written>[\w-]+)"></a>$|^#{1,6} (?P<heading>.+)$"""
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for mark in re.finditer(marks, text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", mark["heading"] or "").strip().lower()
        id_ = mark["written"] or re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        again = sum(re.fullmatch(rf"{re.escape(id_)}(-\d+)?", earlier) is not None for earlier in found)
        found.append(f"{id_}-{again}" if again and mark["heading"] else id_)
    return found


def test_ids_of_headings_are_those_of_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# The `rerank` command, 1.5 times\n\n```\n# no heading\n```\n\n## [A link](to.md)\n\n"
        '<a id="fallback"></a>\n\n## 回退（API）\n\n## A link\n',
        encoding="utf-8",
    )
    assert anchors(page) == ["the-rerank-command-15-times", "a-link", "fallback", "回退api", "a-link-1"]


@pytest.mark.parametrize("document", sorted(DOCUMENTS))
def test_links_to_sections_lead_to_a_heading(document: str) -> None:
    page = ROOT / document
    for target, id_ in re.findall(r"\]\((?!https?://|mailto:)([^)#\s]*)#([^)\s]+)\)", page.read_text(encoding="utf-8")):
        assert id_ in anchors(page.parent / target if target else page), f"{target}#{id_}"


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if document.endswith(".zh-CN.md")])
def test_ids_written_in_a_chinese_page_are_those_of_the_english_heading(document: str) -> None:
    page = ROOT / document
    english = anchors(page.with_name(page.name.replace(".zh-CN", "")))
    lines = page.read_text(encoding="utf-8").split("\n")
    written = [found[1] if (found := re.fullmatch(r'<a id="([\w-]+)"></a>', line)) else "" for line in lines]
    headings = [number for number, line in enumerate(lines) if line.startswith("#") and not _in_code(lines[:number])]
    before = {number - 2: id_ for number, id_ in zip(headings, english, strict=True)}
    assert {number: id_ for number, id_ in enumerate(written) if id_}.items() <= before.items()


def _in_code(before: list[str]) -> bool:
    return sum(line.lstrip().startswith("```") for line in before) % 2 == 1


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


@pytest.mark.parametrize("page", ["evaluation.md", "evaluation.zh-CN.md"])
def test_the_recipe_for_trec_dl_makes_a_run(page: str, tmp_path: Path) -> None:
    (recipe,) = re.findall(r"^awk .+$", (ROOT / "docs" / "guides" / page).read_text(encoding="utf-8"), re.MULTILINE)
    rows = "1\t12\twhat is a panda?\tcars\n1\t10\twhat is a panda?\ta bear\n2\t11\tblue sky\tthe sky\n"
    (tmp_path / "msmarco-passagetest2019-top1000.tsv").write_text(rows, encoding="utf-8")
    subprocess.run(["bash", "-c", recipe], cwd=tmp_path, check=True)
    assert read_run(tmp_path / "run.txt", None) == {"1": ("12", "10"), "2": ("11",)}


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
