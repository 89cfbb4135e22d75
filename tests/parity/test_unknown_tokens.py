"""Texts that name a token of the tokenizer for which the model has no vector."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from tokenizers import Tokenizer, processors

from rerank.core import Chunking, EmbeddingOptions, Pair, ScoringOptions
from rerank.errors import InvalidRequest, ModelUnsupported, TokenUnknown
from rerank.scorers.base import finish, score
from rerank.scorers.chunks import read_chunks
from tests.parity.late import make_stanford
from tests.parity.layouts import ZERANK, Make, causal, embeddings, encoder, then, with_logit_score
from tests.support.tiny_checkpoints import make_bert, make_qwen3, make_xlm_roberta

from .test_scorers import load

NAMED = "a {[xx]} bear"
MADE: dict[str, Make] = {
    "bert": make_bert,
    "xlm-roberta": make_xlm_roberta,
    "fallback": partial(encoder, model_type="albert", embedding_size=32),
    "embeddings": then(partial(encoder, model_type="bert", body=True), embeddings),
    "embeddings-in-the-fallback": then(partial(encoder, model_type="bert", body=True), partial(embeddings, dense=1)),
    "late-interaction": make_stanford,
    "prompted-in-the-fallback": then(
        partial(causal, model_type="qwen3", template=ZERANK.replace("system", "user")),
        lambda folder: with_logit_score(folder, 7),
    ),
}


def add_token(folder: Path) -> None:
    """A token behind the end of the table, which was not resized."""
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    rows = json.loads((folder / "config.json").read_text())["vocab_size"]
    tokenizer.add_tokens([f"[row {row}]" for row in range(tokenizer.get_vocab_size(), rows)])
    tokenizer.add_tokens(["{[xx]}"])
    tokenizer.save(str(file))


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_a_document_that_names_it_is_refused_by_its_place(tmp_path: Path, runtime: str, make: Make) -> None:
    folder = tmp_path / "tiny"
    make(folder)
    known = load(folder, runtime=runtime)
    pairs = [Pair("the panda", "a bear"), Pair("the panda", "a panda")]
    expected = score(known, known.encode(pairs))
    add_token(folder)
    scorer = load(folder, runtime=runtime)

    assert score(scorer, scorer.encode(pairs)) == pytest.approx(expected, abs=1e-6)
    for _ in range(2):
        with pytest.raises(TokenUnknown, match=r"documents\.2 holds the token '\{\[xx\]\}', which its tokenizer knows"):
            scorer.encode([*pairs, Pair("the panda", NAMED)])
    with pytest.raises(InvalidRequest, match=r"^query holds the token"):
        scorer.encode([Pair(NAMED, "a bear")])


def test_a_text_to_embed_is_refused_by_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "tiny"
    MADE["embeddings"](folder)
    add_token(folder)
    embedder = load(folder).embedder

    assert embedder is not None
    with pytest.raises(InvalidRequest, match=r"input\.1 holds the token") as refused:
        finish(embedder.reading(["a bear", NAMED], EmbeddingOptions()))
    assert refused.value.param == "input.1"


def test_a_later_chunk_names_its_document(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "tiny")
    add_token(folder)
    scorer = load(folder, max_length=16)
    pairs = [Pair("the panda", "a bear"), Pair("the panda", "one more word " * 20 + NAMED)]

    with pytest.raises(TokenUnknown, match=r"documents\.1 holds the token"):
        finish(read_chunks(scorer, pairs, ScoringOptions(), Chunking(most=50, overlap=0)))


def test_a_text_in_a_prompt_cannot_name_it(tmp_path: Path, runtime: str) -> None:
    folder = make_qwen3(tmp_path / "tiny")
    known = load(folder, runtime=runtime)
    pairs = [Pair("the panda", NAMED)]
    expected = score(known, known.encode(pairs))
    add_token(folder)
    scorer = load(folder, runtime=runtime)

    assert score(scorer, scorer.encode(pairs)) == pytest.approx(expected, abs=1e-6)


def test_a_model_whose_tokenizer_frames_texts_with_it_is_refused(tmp_path: Path, runtime: str) -> None:
    folder = make_bert(tmp_path / "tiny")
    add_token(folder)
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    ends = [("[CLS]", tokenizer.token_to_id("{[xx]}")), ("[SEP]", 3)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ends
    )
    tokenizer.save(str(file))

    with pytest.raises(ModelUnsupported, match="behind the end of its table"):
        load(folder, runtime=runtime)
