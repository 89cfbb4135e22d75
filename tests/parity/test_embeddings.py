"""Vectors equal those of ``SentenceTransformer.encode``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import AutoModel, AutoTokenizer

from rerank.activations import IDENTITY
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.catalog.text_prompts import TextPrompts
from rerank.core import EmbeddingOptions, Pair, ScoringOptions, Truncation
from rerank.devices import choose_device
from rerank.errors import InvalidRequest, ModelUnsupported, WeightsBroken
from rerank.scorers import networks
from rerank.scorers.base import Embedder, Placement, finish, score
from rerank.scorers.load import load_scorer
from tests.parity.conversions import convert_others
from tests.parity.layouts import causal, embeddings, encoder, ending, rewrite, then
from tests.parity.layouts import load as by_card
from tests.support.tiny_checkpoints import make_bert, make_embedding_model, make_modernbert, make_xlm_roberta

from .test_scorers import load

TEXTS = ["What is deep learning?", "a branch of AI", "", "法国的首都是巴黎。", "learning " * 20]
SETTINGS: dict[str, dict[str, Any]] = {"qwen3": {}, "mistral": {"sliding_window": None}}
TASK = "Instruct: Given a web search query, retrieve passages\nQuery:"
PROMPTS = {"query": "what word: ", "passage": "a word: ", "clustering": "sort this: "}


def embedder_of(folder: Path, **options: Any) -> Embedder:
    embedder = load(folder, **options).embedder
    assert embedder is not None
    return embedder


def vectors(embedder: Embedder, texts: Sequence[str], options: EmbeddingOptions) -> NDArray[Any]:
    batch = finish(embedder.reading(texts, options))
    return numpy.array([list(vector) for vector in embedder.start(batch).result()])


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.fixture
def prompted(tmp_path: Path) -> Path:
    """A model with prompts, the last of which is its default, whose vectors are not of length 1."""
    folder = make_embedding_model(tmp_path / "prompted", make_base=make_xlm_roberta, prompts=PROMPTS)
    change(folder / "config_sentence_transformers.json", default_prompt_name="clustering")
    modules = json.loads((folder / "modules.json").read_text())
    (folder / "modules.json").write_text(json.dumps(modules[:2]))
    return folder


@pytest.mark.parametrize(
    "made",
    [
        {"make_base": make_bert},
        {"make_base": make_xlm_roberta, "pooling": "cls"},
        {"make_base": make_modernbert},
        {"make_base": make_bert, "pooling": "max"},
    ],
    ids=["bert-mean", "xlm-roberta-cls", "modernbert", "bert-max"],
)
def test_vectors_are_those_of_encode(tmp_path: Path, runtime: str, made: dict[str, Any]) -> None:
    folder = make_embedding_model(tmp_path / "embeddings", **made)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)

    found = vectors(embedder_of(folder, runtime=runtime), TEXTS, EmbeddingOptions())

    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_language_model_gives_the_vectors_of_encode_without_padding(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "embeddings"
    then(
        lambda folder: causal(folder, model_type=kind, template=None, **SETTINGS[kind]),
        ending,
        lambda folder: embeddings(folder, pooling="lasttoken"),
    )(folder)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)

    for runtime in ("openvino", "torch"):
        assert vectors(embedder_of(folder, runtime=runtime), TEXTS, EmbeddingOptions()) == pytest.approx(
            expected, abs=1e-5
        )
    monkeypatch.setattr(networks, "runs_packed", lambda _: True)
    packed = embedder_of(folder, runtime="torch")
    assert vectors(packed, TEXTS, EmbeddingOptions()) == pytest.approx(expected, abs=1e-5)
    assert not packed.padded


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("runtime", ["openvino", "torch"])
def test_a_gemma_whose_tokens_see_one_another_gives_the_vectors_of_encode(
    tmp_path: Path, runtime: str, precision: str
) -> None:
    folder = tmp_path / "embeddings"
    gemma: dict[str, Any] = {"use_bidirectional_attention": True, "sliding_window": 8, "num_hidden_layers": 3}
    layers = ["sliding_attention", "full_attention", "sliding_attention"]
    causal(folder, model_type="gemma3_text", template=None, layer_types=layers, **gemma)
    embeddings(folder, dense=1)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    placement = Placement(choose_device("cpu", precision, runtime), tmp_path / ".openvino")
    scorer = load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)
    assert scorer.embedder is not None

    found = vectors(scorer.embedder, TEXTS, EmbeddingOptions())

    assert scorer.runtime.startswith(f"{runtime} ")
    assert found == pytest.approx(expected, abs=1e-5 if precision == "fp32" else 0.05)


def test_a_conversion_that_computes_something_else_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = make_embedding_model(tmp_path / "embeddings", make_base=make_bert, pooling="max")
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    convert_others(monkeypatch)

    scorer = load(folder, runtime="openvino")

    assert scorer.runtime.startswith("torch fp32, padded")
    assert scorer.embedder is not None
    assert vectors(scorer.embedder, TEXTS, EmbeddingOptions()) == pytest.approx(expected, abs=1e-5)
    assert "the conversion computes something else" in caplog.text


def test_positions_that_change_with_the_length_stay_in_torch(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "embeddings"
    turns = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}
    causal(folder, model_type="phi", template=None, rope_parameters=turns)
    embeddings(folder)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)

    scorer = load(folder, runtime="openvino")

    assert scorer.runtime.startswith("torch")
    assert scorer.embedder is not None
    assert vectors(scorer.embedder, TEXTS, EmbeddingOptions()) == pytest.approx(expected, abs=1e-5)
    assert "runs in plain torch, which is slower: its rotary positions are dynamic" in caplog.text


@pytest.mark.parametrize(
    ("options", "asked"),
    [
        (EmbeddingOptions(), {}),
        (EmbeddingOptions(prompt="passage"), {"prompt_name": "passage"}),
        (EmbeddingOptions(normalised=True), {"normalize_embeddings": True}),
        (EmbeddingOptions(dimensions=5), {"truncate_dim": 5}),
        (EmbeddingOptions(dimensions=5, normalised=True), {"truncate_dim": 5, "normalize_embeddings": True}),
    ],
    ids=["default", "prompt", "normalised", "dimensions", "dimensions, normalised"],
)
def test_options_of_a_request_are_those_of_encode(
    prompted: Path, options: EmbeddingOptions, asked: dict[str, Any]
) -> None:
    change(prompted / "config.json", is_matryoshka=True)
    expected = SentenceTransformer(str(prompted), device="cpu").encode(TEXTS, **asked)

    assert vectors(embedder_of(prompted), TEXTS, options) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("saved", "before_documents"),
    [(PROMPTS, "passage"), (PROMPTS | {"document": "a text: "}, "document"), ({"clustering": "sort: "}, "document")],
    ids=["passage", "document", "none"],
)
def test_roles_of_texts_have_the_prompts_of_queries_and_documents(
    prompted: Path, saved: dict[str, str], before_documents: str
) -> None:
    change(prompted / "config_sentence_transformers.json", prompts=saved)
    model, embedder = SentenceTransformer(str(prompted), device="cpu"), embedder_of(prompted)

    queries, documents = (vectors(embedder, TEXTS, EmbeddingOptions(role=role)) for role in ("query", "document"))

    assert queries == pytest.approx(model.encode_query(TEXTS), abs=1e-5)
    assert documents == pytest.approx(model.encode(TEXTS, prompt_name=before_documents), abs=1e-5)


@pytest.mark.parametrize(
    ("saved", "prompt"),
    [
        ({"query": TASK, "document": ""}, "Instruct: find bears\nQuery:"),
        ({"web": f"{TASK} ", "sts": "Instruct: Retrieve text.\nQuery: "}, "Instruct: find bears\nQuery: "),
    ],
    ids=["one-task", "a-prompt-per-task"],
)
def test_an_instruction_is_the_task_in_the_prompt_of_queries(
    prompted: Path, saved: dict[str, str], prompt: str
) -> None:
    change(prompted / "config_sentence_transformers.json", prompts=saved, default_prompt_name=None)
    model, pairs = SentenceTransformer(str(prompted), device="cpu"), [Pair(TEXTS[0], text) for text in TEXTS]
    asked = model.encode(TEXTS[:1], prompt=prompt)
    expected = model.similarity(asked, model.encode_document(TEXTS))[0].tolist()
    plain, by_card = load(prompted), load(prompted, card=ModelCard(id="m", instruction="find bears"))

    of_request = score(plain, plain.encode(pairs, ScoringOptions(instruction="find bears")))

    assert plain.takes_instruction
    assert of_request == pytest.approx(expected, abs=1e-5)
    assert score(by_card, by_card.encode(pairs)) == pytest.approx(expected, abs=1e-5)
    assert score(plain, plain.encode(pairs)) != pytest.approx(expected, abs=1e-3)
    assert by_card.embedder is not None
    assert vectors(by_card.embedder, TEXTS[:1], EmbeddingOptions(role="query")) == pytest.approx(asked, abs=1e-5)
    assert plain.embedder is not None
    of_texts = vectors(plain.embedder, TEXTS[:1], EmbeddingOptions(role="query", instruction="find bears"))
    assert of_texts == pytest.approx(asked, abs=1e-5)


@pytest.mark.parametrize(
    "options",
    [{}, {"role": "document"}, {"role": "query", "prompt": "sts"}],
    ids=["no role", "document", "another prompt"],
)
def test_an_instruction_is_refused_for_texts_that_are_no_queries(prompted: Path, options: dict[str, Any]) -> None:
    saved = {"query": TASK, "sts": "Instruct: Retrieve text.\nQuery:"}
    change(prompted / "config_sentence_transformers.json", prompts=saved, default_prompt_name=None)

    with pytest.raises(InvalidRequest, match="for queries: send `input_type: query` too") as refused:
        vectors(embedder_of(prompted), ["a"], EmbeddingOptions(instruction="find bears", **options))
    assert refused.value.param == "instruction"


def test_an_instruction_for_vectors_is_refused_where_no_prompt_names_a_task(prompted: Path) -> None:
    with pytest.raises(InvalidRequest, match="takes no instruction: put it before each text") as refused:
        vectors(embedder_of(prompted), ["a"], EmbeddingOptions(role="query", instruction="find bears"))
    assert refused.value.param == "instruction"


def test_the_cards_prompts_are_those_of_the_roles(prompted: Path) -> None:
    model = SentenceTransformer(str(prompted), device="cpu")
    embedder = embedder_of(prompted, card=ModelCard(id="m", prompts=TextPrompts("is it ")))
    asked = model.encode(TEXTS, prompt="is it ")

    assert vectors(embedder, TEXTS, EmbeddingOptions(role="query")) == pytest.approx(asked, abs=1e-5)
    assert vectors(embedder, TEXTS, EmbeddingOptions(prompt="query")) == pytest.approx(asked, abs=1e-5)
    documents = vectors(embedder, TEXTS, EmbeddingOptions(role="document"))
    assert documents == pytest.approx(model.encode(TEXTS, prompt_name="passage"), abs=1e-5)
    assert vectors(embedder, TEXTS, EmbeddingOptions()) == pytest.approx(model.encode(TEXTS), abs=1e-5)


def test_prompts_of_a_card_are_refused_for_a_reranker(tmp_path: Path) -> None:
    with pytest.raises(ModelUnsupported, match=r"the `prompts` in its card .* and this one is a cross-encoder"):
        load(make_bert(tmp_path / "reranker"), card=ModelCard(id="m", prompts=TextPrompts("is it ")))


def test_an_instruction_changes_nothing_where_no_prompt_names_a_task(prompted: Path) -> None:
    scorer, pairs = load(prompted), [Pair(TEXTS[0], TEXTS[1])]

    assert not scorer.takes_instruction
    assert scorer.encode(pairs, ScoringOptions(instruction="find bears")) == scorer.encode(pairs)


def test_a_vector_stays_whole_where_nothing_allows_to_cut_it(prompted: Path) -> None:
    whole = vectors(embedder_of(prompted), ["a"], EmbeddingOptions()).shape[1]
    vectors(embedder_of(prompted), ["a"], EmbeddingOptions(dimensions=whole))

    advised = (
        f"dimensions is 5; the vectors of this model may have {whole}. If .*, `shorter_vectors = true` in its card"
    )
    with pytest.raises(InvalidRequest, match=advised):
        vectors(embedder_of(prompted), ["a"], EmbeddingOptions(dimensions=5))
    with pytest.raises(InvalidRequest, match=rf"may have {whole}\.$"):
        vectors(embedder_of(prompted), ["a"], EmbeddingOptions(dimensions=whole + 1))
    allowed = embedder_of(prompted, card=ModelCard(id="m", shorter_vectors=True))
    assert vectors(allowed, ["a"], EmbeddingOptions(dimensions=5)).shape == (1, 5)
    with pytest.raises(InvalidRequest, match=f"may have 1 to {whole}"):
        vectors(allowed, ["a"], EmbeddingOptions(dimensions=whole + 1))


def test_listed_dimensions_are_the_only_ones(prompted: Path) -> None:
    change(prompted / "config.json", matryoshka_dimensions=[4, 8])
    embedder = embedder_of(prompted)

    assert vectors(embedder, ["a"], EmbeddingOptions(dimensions=8)).shape == (1, 8)
    with pytest.raises(InvalidRequest, match=r"may have 4 or 8 or \d+\.$"):
        vectors(embedder, ["a"], EmbeddingOptions(dimensions=5))


def test_a_list_of_the_whole_vector_alone_is_final(prompted: Path) -> None:
    change(prompted / "config.json", matryoshka_dimensions=[])

    with pytest.raises(InvalidRequest, match=r"may have \d+\.$"):
        vectors(embedder_of(prompted), ["a"], EmbeddingOptions(dimensions=5))


@pytest.mark.parametrize("dense", [0, 1], ids=["its-own-body", "in-the-fallback"])
@pytest.mark.parametrize("normalised", [False, True], ids=["as-they-are", "of-length-1"])
def test_vectors_are_cut_as_they_were_saved(tmp_path: Path, dense: int, *, normalised: bool) -> None:
    folder = tmp_path / "cut"
    encoder(folder, "bert", body=True)
    embeddings(folder, dense=dense, normalised=normalised)
    change(folder / "config_sentence_transformers.json", truncate_dim=8)
    model, pairs = SentenceTransformer(str(folder), device="cpu"), [Pair(TEXTS[0], text) for text in TEXTS]
    expected = model.similarity(model.encode_query(TEXTS[:1]), model.encode_document(TEXTS))[0].tolist()
    scorer = load(folder)
    embedder = embedder_of(folder)

    assert score(scorer, scorer.encode(pairs)) == pytest.approx(expected, abs=1e-5)
    cut = vectors(embedder, TEXTS, EmbeddingOptions())
    assert cut == pytest.approx(model.encode(TEXTS, normalize_embeddings=normalised), abs=1e-5)
    assert cut.shape == (len(TEXTS), 8)
    whole = 16 if dense else 32
    assert vectors(embedder, TEXTS, EmbeddingOptions(dimensions=whole)) == pytest.approx(
        model.encode(TEXTS, truncate_dim=whole), abs=1e-5
    )
    with pytest.raises(InvalidRequest, match=f"may have 8 or {whole}. If .* `shorter_vectors = true`"):
        vectors(embedder, ["a"], EmbeddingOptions(dimensions=5))


def test_a_number_of_dimensions_that_is_none_is_refused(tmp_path: Path) -> None:
    folder = make_embedding_model(tmp_path / "cut")
    change(folder / "config_sentence_transformers.json", truncate_dim=0)

    with pytest.raises(ModelUnsupported, match=r"cuts vectors to 0 dimensions \(truncate_dim\)"):
        load(folder)


@pytest.mark.parametrize(
    ("kind", "said", "last"),
    [
        ("LlamaForCausalLM", {}, True),
        ("LlamaForCausalLM", {"is_causal": False}, False),
        ("LlamaModel", {}, False),
    ],
    ids=["with-a-head", "with-a-head-whose-tokens-see-one-another", "body"],
)
def test_a_language_model_that_nothing_was_saved_with_is_read_at_its_last_token_or_its_mean(
    tmp_path: Path, kind: str, said: dict[str, Any], *, last: bool
) -> None:
    folder = causal(tmp_path / "tiny", "llama", None)
    rewrite(folder / "config.json", architectures=[kind], **said)
    embedder = by_card(folder, ModelCard(id="tiny", family="bi-encoder")).embedder
    assert embedder is not None

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    read = tokenizer("What is deep learning?", return_tensors="pt")
    with torch.inference_mode():
        states = model(**read).last_hidden_state[0]
    expected = states[-1] if last else states.mean(dim=0)
    # a longer text next to it pads it
    found, _ = vectors(embedder, ["What is deep learning?", "learning " * 20], EmbeddingOptions())
    assert found == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_pooling_that_leaves_prompts_out_reads_texts_without_one(tmp_path: Path) -> None:
    folder = make_embedding_model(tmp_path / "left-out", prompts={"query": "find: "})
    rewrite(folder / "1_Pooling" / "config.json", include_prompt=False)
    card = ModelCard(id="tiny", prompts=TextPrompts(query="", document=""))
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, prompt="")

    found = vectors(embedder_of(folder, card=card), TEXTS, EmbeddingOptions(role="query"))
    assert found == pytest.approx(expected, abs=1e-5)


def test_an_unknown_prompt_is_refused_with_those_there_are(prompted: Path) -> None:
    with pytest.raises(
        InvalidRequest, match="no prompt 'nope'; it has: clustering, document, passage, query"
    ) as refused:
        vectors(embedder_of(prompted), ["a"], EmbeddingOptions(prompt="nope"))
    assert refused.value.param == "prompt_name"


def test_a_long_text_is_cut_at_either_end_or_refused(tmp_path: Path) -> None:
    folder = make_embedding_model(tmp_path / "embeddings")
    embedder, text = embedder_of(folder), "deep learning is a branch of AI"
    right, left = (
        finish(embedder.reading([text], EmbeddingOptions(Truncation(max_tokens=5, side=side))))[0]
        for side in ("right", "left")
    )

    assert right.tokens == left.tokens == 5
    assert right != left
    with pytest.raises(InvalidRequest, match=r"maximum context length is 5 tokens. However, input.1 has"):
        finish(embedder.reading(["a", text], EmbeddingOptions(Truncation(max_tokens=5, allowed=False))))


def test_requests_of_other_options_share_a_batch(prompted: Path) -> None:
    embedder = embedder_of(prompted, card=ModelCard(id="m", shorter_vectors=True))
    options = [EmbeddingOptions(), EmbeddingOptions(dimensions=5, normalised=True)]
    batch = [item for each in options for item in finish(embedder.reading(["a"], each))]

    whole, short = (list(vector) for vector in embedder.start(batch).result())

    assert whole == pytest.approx(vectors(embedder, ["a"], options[0])[0], abs=1e-6)
    assert short == pytest.approx(vectors(embedder, ["a"], options[1])[0], abs=1e-6)


def test_a_reranker_gives_no_vectors(tmp_path: Path) -> None:
    assert load(make_bert(tmp_path / "reranker")).embedder is None


@pytest.mark.parametrize(
    ("similarity", "normalised", "logged"),
    [
        ("dot", True, False),
        ("dot", False, False),
        ("euclidean", True, True),
        ("cosine", False, False),
        (None, True, False),
    ],
)
def test_the_log_says_where_vectors_are_compared_by_another_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, similarity: str | None, normalised: bool, logged: bool
) -> None:
    folder = encoder(tmp_path / "tiny", "bert", body=True)
    embeddings(folder, normalised=normalised)
    change(folder / "config_sentence_transformers.json", similarity_fn_name=similarity)

    load(folder)

    assert (f"scores by cosine: its similarity_fn_name is {similarity}" in caplog.text) == logged


def dots(model: SentenceTransformer, pairs: Sequence[tuple[str, str]]) -> list[float]:
    return [float(model.encode(query) @ model.encode(document)) for query, document in pairs]


@pytest.mark.parametrize(
    ("kind", "similarity", "card"),
    [
        ("bert", "dot", {}),
        ("albert", "dot", {}),
        ("bert", None, {"repo": "sentence-transformers/msmarco-distilbert-base-tas-b"}),
    ],
)
def test_a_model_of_dot_products_is_scored_by_them(
    tmp_path: Path, kind: str, similarity: str | None, card: dict[str, Any]
) -> None:
    folder = encoder(tmp_path / "tiny", kind, body=True, **({"embedding_size": 32} if kind == "albert" else {}))
    embeddings(folder, normalised=False)
    change(folder / "config_sentence_transformers.json", similarity_fn_name=similarity)
    pairs = [("what is a panda", document) for document in ("the giant panda is a bear", "machine learning", "AI " * 9)]

    scorer = load(folder, card=ModelCard(id="tiny", **card))
    found = score(scorer, scorer.encode([Pair(*pair) for pair in pairs]))

    assert scorer.activation == IDENTITY
    assert found == pytest.approx(dots(SentenceTransformer(str(folder), device="cpu"), pairs), rel=1e-5)


def test_a_vector_is_of_length_one_only_where_that_is_the_last_step(tmp_path: Path) -> None:
    folder = embeddings(encoder(tmp_path / "tiny", "bert", body=True), dense=1, normalised=False)
    listed = json.loads((folder / "modules.json").read_text())
    normalize = {"idx": 9, "name": "9", "path": "9_Normalize", "type": "sentence_transformers.models.Normalize"}
    (folder / "modules.json").write_text(json.dumps([*listed[:2], normalize, *listed[2:]]))
    (folder / "9_Normalize").mkdir()

    found = vectors(embedder_of(folder), ["a word"], EmbeddingOptions())

    assert found[0] == pytest.approx(SentenceTransformer(str(folder), device="cpu").encode("a word"), abs=1e-5)


def test_a_default_prompt_that_is_not_there_is_named(tmp_path: Path) -> None:
    folder = embeddings(encoder(tmp_path / "tiny", "bert", body=True), words="a word: ")
    change(folder / "config_sentence_transformers.json", default_prompt_name="wordz")
    with pytest.raises(WeightsBroken, match="json has the default prompt 'wordz', which is not among its prompts"):
        load(folder)


OWN_MODULE = """
from sentence_transformers.models import Transformer

class Ending(Transformer):
    def METHOD(self, texts, **kwargs):
        return super().METHOD([text + " end" for text in texts], **kwargs)
"""
BARE_MODULE = """
from sentence_transformers.models import Transformer
from torch import nn

class Ending(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.model = self.auto_model = inner.auto_model
        self.tokenizer = inner.tokenizer
        self.max_seq_length = 64

    @classmethod
    def load(cls, *arguments, **kwargs):
        return cls(Transformer.load(*arguments, **kwargs))

    def tokenize(self, texts, **kwargs):
        return self.inner.tokenize([text + " end" for text in texts])

    def forward(self, features, **kwargs):
        return self.inner(features)
"""


@pytest.mark.parametrize(
    "code", [OWN_MODULE.replace("METHOD", "tokenize"), OWN_MODULE.replace("METHOD", "preprocess"), BARE_MODULE]
)
def test_a_first_module_that_reads_texts_itself_is_refused(tmp_path: Path, code: str) -> None:
    folder = embeddings(encoder(tmp_path / "tiny", "bert", body=True))
    (folder / "ending.py").write_text(code)
    listed = json.loads((folder / "modules.json").read_text())
    listed[0]["type"] = "ending.Ending"
    (folder / "modules.json").write_text(json.dumps(listed))
    with pytest.raises(ModelUnsupported, match="its first module, Ending, tokenises texts by code of its own"):
        load(folder, card=ModelCard(id="tiny", trust_remote_code=True))
