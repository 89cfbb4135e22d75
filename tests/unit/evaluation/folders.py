"""Small collections on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

DOCUMENTS = {"d1": "red apples grow on trees", "d2": "a green pear", "d3": "熊猫吃竹子", "d4": "blue cars"}
QUERIES = {"q1": "red apples", "q2": "熊猫吃什么", "q3": "green pear"}
BEIR_QRELS = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td3\t1\n"


def beir(folder: Path, files: Mapping[str, str] | None = None) -> Path:
    """A folder as BEIR has them, with the given files in addition or in place of its own."""
    texts = {
        "corpus.jsonl": _jsonl(DOCUMENTS),
        "queries.jsonl": _jsonl(QUERIES),
        "qrels/test.tsv": BEIR_QRELS,
        **(files or {}),
    }
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def _jsonl(texts: Mapping[str, str]) -> str:
    return "".join(
        json.dumps({"_id": name, "title": "", "text": text}, ensure_ascii=False) + "\n" for name, text in texts.items()
    )
