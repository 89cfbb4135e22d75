"""`dimensions` and `normalize` over HTTP: the vectors of ``SentenceTransformer.encode``, shorter or not of length 1."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy
import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

from tests.support.kept import share_kept_networks
from tests.support.tiny_checkpoints import make_embedding_model
from tests.support.tiny_language_models import change_config
from tests.support.whole import whole_app

NORMALISED = "ends-with-normalize"
PLAIN = "ends-with-pooling"
TEXTS = ["What is deep learning?", "a branch of AI", "learning " * 20]
WHOLE = 32
DIMENSIONS = (1, 5, WHOLE)
ASKED = ("float", "base64", "/embed", "/tei/embed")
"""Formats of OpenAI's, and TEI's addresses."""

References = Mapping[str, SentenceTransformer]


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Embedding models whose vectors may be cut: with and without a last module that makes their length 1."""
    folder = tmp_path_factory.mktemp("embedding-models")
    for name in (NORMALISED, PLAIN):
        change_config(make_embedding_model(folder / name), is_matryoshka=True)
    listed = folder / PLAIN / "modules.json"
    listed.write_text(json.dumps(json.loads(listed.read_text())[:-1]))
    return folder


@pytest.fixture(scope="module")
def references(checkpoints: Path) -> References:
    return {name: SentenceTransformer(str(checkpoints / name), device="cpu") for name in (NORMALISED, PLAIN)}


@pytest.fixture(scope="module")
def served(checkpoints: Path, strict: bool) -> Iterator[TestClient]:
    share_kept_networks(checkpoints)
    app = whole_app(models_dir=checkpoints, model_device="cpu", model_precision="fp32", strict_vllm=strict)
    with TestClient(app) as client:
        yield client


def ask(client: TestClient, asked: str, model: str, **fields: Any) -> Response:
    body: dict[str, Any] = {"model": model} | fields
    if asked.startswith("/"):
        return client.post(asked, json=body | {"inputs": TEXTS})
    return client.post("/v1/embeddings", json=body | {"input": TEXTS, "encoding_format": asked})


def vectors(client: TestClient, asked: str, model: str, **fields: Any) -> NDArray[Any]:
    answer = ask(client, asked, model, **fields)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    found = body if isinstance(body, list) else [item["embedding"] for item in body["data"]]
    if asked == "base64":
        found = [numpy.frombuffer(base64.b64decode(text), "<f4") for text in found]
    return numpy.array(found)


def lengths(found: NDArray[Any]) -> NDArray[Any]:
    norms: NDArray[Any] = numpy.linalg.norm(found, axis=1)
    return norms


@pytest.mark.parametrize("dimensions", DIMENSIONS)
@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("model", [NORMALISED, PLAIN])
def test_shorter_vectors_of_length_one_are_those_of_encode(
    served: TestClient, references: References, model: str, asked: str, dimensions: int
) -> None:
    expected = references[model].encode(TEXTS, truncate_dim=dimensions, normalize_embeddings=True)

    found = vectors(served, asked, model, dimensions=dimensions, normalize=True)

    assert found.shape == (len(TEXTS), dimensions)
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("dimensions", [None, 5])
def test_vectors_of_a_model_that_normalises_have_length_one_unless_told(
    served: TestClient, references: References, asked: str, dimensions: int | None
) -> None:
    expected = references[NORMALISED].encode(TEXTS, truncate_dim=dimensions, normalize_embeddings=True)

    found = vectors(served, asked, NORMALISED, dimensions=dimensions)

    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("asked", "normalised"), [("float", False), ("base64", False), ("/embed", True), ("/tei/embed", True)]
)
@pytest.mark.parametrize("dimensions", [None, 5])
def test_vectors_of_another_model_have_length_one_only_at_teis_addresses_unless_told(
    served: TestClient, references: References, asked: str, normalised: bool, dimensions: int | None
) -> None:
    expected = references[PLAIN].encode(TEXTS, truncate_dim=dimensions, normalize_embeddings=normalised)

    found = vectors(served, asked, PLAIN, dimensions=dimensions)

    assert found == pytest.approx(expected, abs=1e-5)
    assert (lengths(found) == pytest.approx(1, abs=1e-5)) is normalised


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("dimensions", [None, 5])
def test_normalize_false_gives_the_vectors_before_the_module_that_normalises(
    served: TestClient, references: References, asked: str, dimensions: int | None
) -> None:
    before = SentenceTransformer(modules=list(references[NORMALISED])[:-1], device="cpu")
    expected = before.encode(TEXTS, truncate_dim=dimensions)

    found = vectors(served, asked, NORMALISED, dimensions=dimensions, normalize=False)

    assert found == pytest.approx(expected, abs=1e-5)
    assert lengths(found) != pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("dimensions", [None, 5])
def test_normalize_false_changes_nothing_where_no_module_normalises(
    served: TestClient, references: References, asked: str, dimensions: int | None
) -> None:
    found = vectors(served, asked, PLAIN, dimensions=dimensions, normalize=False)

    assert found == pytest.approx(references[PLAIN].encode(TEXTS, truncate_dim=dimensions), abs=1e-5)


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("dimensions", [0, -1, WHOLE + 1])
def test_dimensions_that_the_vectors_do_not_have_are_refused(served: TestClient, asked: str, dimensions: int) -> None:
    refused = ask(served, asked, NORMALISED, dimensions=dimensions)

    assert refused.status_code == (422 if asked.startswith("/") else 400)
    assert "dimensions" in refused.text
