"""Fields of requests for vectors, as the clients of several servers name them."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from rerank.api.dialects.tei.vectors import EmbedBody
from rerank.api.dialects.vectors import VectorsBody
from rerank.api.dialects.vllm.embeddings import StrictEmbeddingsBody
from rerank.core import EmbeddingOptions, Truncation
from rerank.errors import InvalidRequest


def options(**fields: Any) -> EmbeddingOptions:
    return VectorsBody.model_validate(fields).options()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, EmbeddingOptions()),
        ({"task": "retrieval.query"}, EmbeddingOptions(role="query")),
        ({"task": "retrieval.passage"}, EmbeddingOptions(role="document")),
        ({"task": "retrieval.passage", "input_type": "passage"}, EmbeddingOptions(role="document")),
        ({"input_type": "search_query"}, EmbeddingOptions(role="query")),
        ({"output_dimension": 8}, EmbeddingOptions(dimensions=8)),
        ({"output_dimension": "8", "dimensions": 8}, EmbeddingOptions(dimensions=8)),
        ({"normalized": True}, EmbeddingOptions(normalised=True)),
        ({"normalized": False}, EmbeddingOptions(normalised=False)),
        ({"use_activation": False}, EmbeddingOptions(normalised=False)),
        ({"prompt_name": "sts"}, EmbeddingOptions(prompt="sts")),
        ({"instruct": "find bears"}, EmbeddingOptions(instruction="find bears")),
        ({"chat_template_kwargs": {"instruction": "find bears"}}, EmbeddingOptions(instruction="find bears")),
        ({"truncate_prompt_tokens": 9}, EmbeddingOptions(Truncation(9))),
        ({"prompt": "", "messages": [], "max_length": 0, "embedding_types": []}, EmbeddingOptions()),
        ({"late_chunking": "false", "modality": ["text", "text"], "output_dtype": None}, EmbeddingOptions()),
    ],
    ids=str,
)
def test_fields_of_one_meaning_give_one_option(fields: dict[str, Any], expected: EmbeddingOptions) -> None:
    assert options(**fields) == expected


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"dimensions": 8, "output_dimension": 9}, "output_dimension"),
        ({"normalize": True, "normalized": False}, "normalized"),
        ({"normalize": False, "use_activation": True}, "use_activation"),
        ({"input_type": "document", "task": "retrieval.query"}, "task"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
def test_fields_that_disagree_are_refused(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{' and '.join(fields)} contradict each other") as refused:
        options(**fields)
    assert refused.value.param == param


def test_types_of_vectors_that_disagree_are_refused() -> None:
    body = VectorsBody.model_validate({"embedding_type": "float", "embedding_types": ["base64"]})
    with pytest.raises(InvalidRequest, match="embedding_type and embedding_types contradict each other"):
        _ = body.encoding


@pytest.mark.parametrize(
    ("fields", "encoding"),
    [
        ({}, "float"),
        ({"embedding_type": "base64"}, "base64"),
        ({"encoding_type": "base64"}, "base64"),
        ({"embedding_types": ["base64"]}, "base64"),
        ({"embedding_type": "base64", "encoding_format": "float"}, "float"),
    ],
    ids=str,
)
def test_the_encoding_is_that_of_the_format_else_of_the_type(fields: dict[str, Any], encoding: str) -> None:
    assert VectorsBody.model_validate(fields).encoding == encoding


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("late_chunking", True, "Input should be false: each text is embedded without the others"),
        ("return_multivector", 1, "Input should be false: each text has one vector"),
        ("prompt", "a", "This field is not supported: put it before each text, or name a saved one"),
        ("messages", [{}], "This field is not supported: send the texts as a list"),
        ("max_length", 512, "`truncate_prompt_tokens` limits the tokens of a text"),
        ("task", "classification", "should be 'retrieval.query' or 'retrieval.passage'"),
        ("embedding_types", ["float", "float"], "should be 'float' or 'base64'"),
        ("modality", ["text", "image"], "should be 'text'"),
    ],
)
def test_a_refusal_says_what_is_supported(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        VectorsBody.model_validate({field: value})
    (problem,) = refused.value.errors()
    assert problem["loc"] == (field,)
    assert said in problem["msg"]


def test_tei_makes_vectors_of_length_one_unless_any_name_says_otherwise() -> None:
    given: list[dict[str, Any]] = [{}, {"normalize": False}, {"normalized": False}]
    found = [EmbedBody.model_validate({"inputs": "a"} | fields).embedding_request() for fields in given]
    assert [request.options.normalised for request in found] == [True, False, False]


@pytest.mark.parametrize(("limit", "allowed"), [(None, False), (-1, True), (9, True)])
def test_a_strict_body_lets_a_text_be_cut_where_it_has_a_limit(limit: int | None, allowed: bool) -> None:
    body = StrictEmbeddingsBody.model_validate({"input": "a", "truncate_prompt_tokens": limit})
    assert body.options().truncation == Truncation(limit, allowed=allowed)
