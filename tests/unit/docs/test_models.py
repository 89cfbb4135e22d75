"""Figures of models in the documents are those of the built-in cards and of the benchmark."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.golden import GOLDEN
from rerank.units import human_size

ROOT = Path(__file__).parents[3]
PERFORMANCE = (ROOT / "docs/benchmarks/performance.md").read_text(encoding="utf-8")
READMES = ["README.md", "README.zh-CN.md"]
GUIDES = ["docs/guides/choose-a-model.md", "docs/guides/choose-a-model.zh-CN.md"]
CARDS = {card.id: card for card in BUILT_IN}
ABOUT = {card.id: card.about for card in BUILT_IN if card.about}

MEASURED_AS = {
    "BAAI/bge-reranker-base": "bge-base's",
    "BAAI/bge-reranker-large": "bge-large's",
    "BAAI/bge-reranker-v2-m3": "bge-v2-m3's",
    "Qwen/Qwen3-Reranker-0.6B": "Qwen3-Reranker-0.6B's",
    "cross-encoder/ettin-reranker-17m-v1": "ettin-17m's",
    "cross-encoder/ettin-reranker-32m-v1": "ettin-32m's",
    "cross-encoder/ettin-reranker-150m-v1": "ettin-150m's",
    # Ettin's 150m took over ModernBERT-base's size
    "Alibaba-NLP/gte-reranker-modernbert-base": "ettin-150m's",
    "ibm-granite/granite-embedding-reranker-english-r2": "ettin-150m's",
    "cross-encoder/ms-marco-MiniLM-L6-v2": "MiniLM-L6's size",
}
"""Rows of the benchmark on a GPU, by model."""
MEASURED_ON_A_CPU = {
    "cross-encoder/ettin-reranker-32m-v1": "Ettin-32m's",
    "cross-encoder/ettin-reranker-150m-v1": "ModernBERT-base's size",
    "Alibaba-NLP/gte-reranker-modernbert-base": "ModernBERT-base's size",
    "ibm-granite/granite-embedding-reranker-english-r2": "ModernBERT-base's size",
    "mixedbread-ai/mxbai-rerank-base-v1": "DeBERTa-v3-base's",
    "cross-encoder/ms-marco-MiniLM-L6-v2": "MiniLM-L6's",
    "cross-encoder/ms-marco-TinyBERT-L2-v2": "TinyBERT-L2's",
    "Qwen/Qwen3-Reranker-0.6B": "Qwen3-Reranker-0.6B",
    "mixedbread-ai/mxbai-rerank-base-v2": "mxbai-rerank-base-v2",
    "zeroentropy/zerank-1-small": "zerank-1-small",
    "nvidia/llama-nemotron-rerank-1b-v2": "llama-nemotron-rerank-1b",
}
CAUSAL_DOCUMENTS = 20
"""Documents of the benchmark's causal rerankers."""


def rows(document: str) -> list[list[str]]:
    """The cells of the rows of every table."""
    lines = re.findall(r"^\|.*\|$", (ROOT / document).read_text(encoding="utf-8"), re.MULTILINE)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines]


def guide_rows(guide: str) -> dict[str, list[str]]:
    """The cells behind a model's name, by name."""
    return {name: cells for name, *cells in rows(guide) if name in ABOUT}


def rerankers(guide: str) -> dict[str, list[str]]:
    """Those of the tables that end with speeds on a CPU and on a GPU."""
    return {name: cells for name, cells in guide_rows(guide).items() if len(cells) == 11}


def first_number(cell: str) -> int | None:
    """Tokens, without what else the cell says."""
    found = re.search(r"\d+", cell)
    return int(found[0]) if found else None


def parameters(millions: int) -> str:
    return f"{millions} M" if millions < 1000 else f"{millions / 1000:.1f} B"


@pytest.mark.parametrize("readme", READMES)
def test_the_models_of_a_readme_are_those_of_the_cards(readme: str) -> None:
    table = [cells for cells in rows(readme) if cells[0].startswith("`") and "/" in cells[0] and len(cells) == 4]
    assert len(table) == 9
    for names, download, tokens, _ in table:
        named = re.findall(r"`([^`]+)`", names)
        assert re.findall(r"[\d.]+ [MG]B", download) == [human_size(ABOUT[name].download_bytes) for name in named]
        assert {CARDS[name].max_length for name in named} == {first_number(tokens)}, names


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_has_a_row_for_each_built_in_model_with_the_figures_of_its_card(guide: str) -> None:
    table = guide_rows(guide)

    assert table.keys() == ABOUT.keys()
    for name, (_, millions, download, tokens, *rest) in table.items():
        about = ABOUT[name]
        assert millions == parameters(about.parameters), name
        assert download == human_size(about.download_bytes), name
        assert first_number(tokens) == CARDS[name].max_length, name
        licence = rest[0] if name in rerankers(guide) else rest[2]
        assert (
            re.split("[;；]", licence)[0].replace("，底座按 Gemma 条款", ", base under Gemma's terms") == about.licence
        )


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_divides_rerankers_by_hardware_as_the_command_does(guide: str) -> None:
    text = (ROOT / guide).read_text(encoding="utf-8")
    for_a_cpu, for_a_gpu = (part.split("\n## ")[0] for part in text.split("\n### ")[1:])
    for name in rerankers(guide):
        assert f"\n| {name} |" in (for_a_cpu if ABOUT[name].suits("cpu") else for_a_gpu), name


@pytest.mark.parametrize("guide", GUIDES)
def test_the_guide_names_the_models_without_known_scores(guide: str) -> None:
    section = (ROOT / guide).read_text(encoding="utf-8").split("\n## ")[-1]
    named = re.findall(r"`([^`]+)`", "\n".join(re.findall(r"^- .*", section, re.MULTILINE)))
    assert sorted(named) == sorted(name.split("/")[1] for name in ABOUT.keys() - GOLDEN.keys())
    assert len(named) == 12


@pytest.mark.parametrize("guide", GUIDES)
def test_speeds_on_a_gpu_are_those_of_the_benchmark(guide: str) -> None:
    measured = dict(re.findall(r"^\| (\S+'s(?: size)?) \| [\d,]+ \([\d.]+\) \| ([\d,]+) \(", PERFORMANCE, re.MULTILINE))
    earlier = re.search(
        r"DeBERTa-v3-base's size [\d,]+ \([\d.]+ to the peer\) and ([\d,]+) \([\d.]+\), "
        r"mxbai-rerank-base-v2's [\d,]+ and ([\d,]+), and llama-nemotron-rerank-1b's ([\d,]+) for 512",
        re.sub(r"\s+", " ", PERFORMANCE),
    )
    assert earlier
    assert set(MEASURED_AS.values()) == measured.keys()
    expected = {name: measured[row] for name, row in MEASURED_AS.items()} | {
        "mixedbread-ai/mxbai-rerank-base-v1": f"{earlier[1]} ¹",
        "mixedbread-ai/mxbai-rerank-base-v2": f"{earlier[2]} ¹",
        "nvidia/llama-nemotron-rerank-1b-v2": f"{earlier[3]} ²",
    }
    expected["Qwen/Qwen3-Reranker-0.6B"] += " ¹"
    for size, pairs in re.findall(
        r"^\| Qwen3-Reranker-(\dB)'s \| ([\d,]+) \([\d.]+\) \| not measured", PERFORMANCE, re.MULTILINE
    ):
        expected[f"Qwen/Qwen3-Reranker-{size}"] = f"{pairs} ²"

    assert {name: cells[-1] for name, cells in rerankers(guide).items() if cells[-1]} == expected


@pytest.mark.parametrize("guide", GUIDES)
def test_speeds_on_a_cpu_are_those_of_the_benchmark(guide: str) -> None:
    section = PERFORMANCE.split("\n## Other families\n")[1].split("\n## ")[0]
    encoders = re.findall(r"^\| ([^,|]+), (\d+) pairs \| [\d.]+ s \| ([\d.]+) s \|", section, re.MULTILINE)
    causal = re.findall(r"^\| ([^|]+) \| [\d,; ]+ \| [\d.; s]+ \| ([\d.]+) s \| [\d.]+ \|$", section, re.MULTILINE)
    measured = {name: int(pairs) / float(seconds) for name, pairs, seconds in encoders}
    measured |= {name: CAUSAL_DOCUMENTS / float(seconds) for name, seconds in causal}
    over_http = re.search(r"^\| this server, bf16 \(default there\) \| ([\d.]+) \| 1 \|", PERFORMANCE, re.MULTILINE)
    assert over_http
    expected = {name: measured[row] for name, row in MEASURED_ON_A_CPU.items()}
    expected["BAAI/bge-reranker-base"] = float(over_http[1])

    shown = {name: cells[-2] for name, cells in rerankers(guide).items() if cells[-2]}
    assert shown == {name: two_digits(speed) for name, speed in expected.items()}


def two_digits(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{float(f'{number:.2g}'):,.0f}"


@pytest.mark.parametrize("readme", READMES)
def test_what_a_readme_says_of_a_gpu_is_measured(readme: str) -> None:
    """Of encoders and texts of mixed length, those of the earlier run too."""
    table = re.findall(r"^\| (\S+'s)(?: size)? \| [\d,]+ \([\d.]+\) \| [\d,]+ \(([\d.]+)\)", PERFORMANCE, re.MULTILINE)
    earlier = re.search(r"DeBERTa-v3-base's size .*?\n? ?and [\d,]+ \(([\d.]+)\)", PERFORMANCE)
    assert earlier
    ratios = [float(earlier[1]), *(float(ratio) for name, ratio in table if not name.startswith("Qwen3"))]
    text = (ROOT / readme).read_text(encoding="utf-8")
    assert re.search(rf"{min(ratios):.1f} (?:to|到) {max(ratios):.1f} ", text)
