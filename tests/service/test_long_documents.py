"""A document longer than the model reads is read in chunks, and judged by the best. One word is one token here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from tests.service.conftest import OpenApp
from tests.support.app import AppUnderTest, indices
from tests.support.whole import whole_server

LONG = " ".join(f"x{number}" for number in range(2000))


def with_needle(place: int) -> str:
    words = LONG.split()
    return " ".join([*words[:place], "needle", *words[place:]])


def asked(app: AppUnderTest, documents: list[str], **fields: Any) -> list[dict[str, Any]]:
    response = app.rerank(query="needle", documents=documents, **fields)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    return results


@pytest.mark.parametrize("place", [0, 600, 1000, 1999])
def test_a_needle_is_found_wherever_it_stands(app: AppUnderTest, place: int) -> None:
    document = with_needle(place)
    first, *_ = asked(app, [LONG, document], max_chunks_per_doc=16)
    assert first["index"] == 1
    span = first["best_chunk"]
    assert "needle" in document[span["start"] : span["end"]].split()


def test_a_needle_past_the_models_length_is_not_found_without_chunks(app: AppUnderTest) -> None:
    response = app.rerank(query="needle", documents=[LONG, with_needle(1000)])
    assert indices(response) == [0, 1]


def test_a_chunk_sent_as_a_document_has_the_same_score(app: AppUnderTest) -> None:
    document = with_needle(1000)
    (result,) = asked(app, [document], max_chunks_per_doc=16, return_chunks=True)
    texts = [document[chunk["start"] : chunk["end"]] for chunk in result["chunks"]]
    alone = {each["index"]: each["relevance_score"] for each in asked(app, texts)}
    assert [chunk["relevance_score"] for chunk in result["chunks"]] == [alone[place] for place in range(len(texts))]


def test_all_chunks_of_a_request_are_no_more_than_it_may_have_documents(open_app: OpenApp) -> None:
    app = open_app(max_documents=10)
    document = with_needle(1000)
    results = asked(app, [document] * 2, max_chunks_per_doc=4096, return_chunks=True, truncate_prompt_tokens=12)
    assert [len(result["chunks"]) for result in results] == [5, 5]
    assert all(result["truncated"] for result in results)
    results = asked(app, [document] * 10, max_chunks_per_doc=4096, return_chunks=True)
    assert not any("chunks" in result for result in results)


def test_truncated_documents_are_counted(tmp_path: Path) -> None:
    with whole_server(tmp_path) as url:
        body = {"query": "fox", "documents": ["word " * 2000, "a fox"]}
        found = requests.post(f"{url}/v1/rerank", json=body, timeout=100).json()["results"]
        metrics = requests.get(f"{url}/metrics", timeout=100).text
    assert {result["index"]: result["truncated"] for result in found} == {0: True, 1: False}
    assert 'rerank_documents_truncated_total{model="sentence-transformers/all-MiniLM-L6-v2"} 1.0' in metrics
