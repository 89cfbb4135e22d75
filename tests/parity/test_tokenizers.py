"""A scorer's tokenizer against transformers' own, on checkpoints of every family."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from rerank.errors import InvalidRequest
from rerank.scorers.base import Scorer
from tests.support.tiny_checkpoints import MAKERS, kind_of, make_embedding_model

from .test_scorers import load

TEXTS = ["Machine learning is a branch of AI", "", " two  spaces\n", "机器学习 <|im_end|> </s>", "a" * 300]


@pytest.fixture(scope="module", params=[*MAKERS, make_embedding_model], ids=kind_of)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    request.param(folder)
    return folder


@pytest.fixture(scope="module")
def scorer(folder: Path) -> Scorer:
    return load(folder)


@pytest.fixture(scope="module")
def reference(folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    return tokenizer


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_tokens_are_the_tokenizers_own(
    scorer: Scorer, reference: PreTrainedTokenizerBase, text: str, special: bool
) -> None:
    tokens = scorer.tokenizer.tokens(text, special=special)
    ids = reference.encode(text, add_special_tokens=special)
    assert list(tokens.ids) == ids
    assert list(tokens.pieces) == reference.convert_ids_to_tokens(ids)


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("text", TEXTS)
def test_ids_become_the_text_that_the_tokenizer_makes(
    scorer: Scorer, reference: PreTrainedTokenizerBase, text: str, special: bool
) -> None:
    ids = reference.encode(text)
    assert scorer.tokenizer.text(ids, special=special, field="ids") == reference.decode(
        ids, skip_special_tokens=not special
    )


def test_a_token_says_which_characters_it_stands_for(scorer: Scorer) -> None:
    text = "Machine learning"
    tokens = scorer.tokenizer.tokens(text, special=True)
    spans = [span for span, special in zip(tokens.spans, tokens.special, strict=True) if not special]
    assert "".join(text[start:stop] for start, stop in spans).split() in (text.split(), ["Machinelearning"])


def test_an_id_that_no_token_has_is_named(scorer: Scorer) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        scorer.tokenizer.text([1, 2, 2**31], special=True, field="tokens")
    assert refusal.value.param == "tokens.2"
