"""monoT5 and its relatives: the first word of the answer, against the model of transformers asked in one text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModelForSeq2SeqLM, AutoTokenizer, T5Tokenizer

from rerank.activations import SIGMOID
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.catalog.prompts import MONOT5, MT5_MMARCO, PTT5_MSMARCO, PromptFormat
from rerank.core import Pair, ScoringOptions, Truncation
from rerank.devices import choose_device
from rerank.errors import InvalidRequest, ModelUnavailable, ModelUnsupported, WeightsBroken
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.layouts import rewrite

WORDS = (
    *("what", "is", "machine", "learning", "a", "branch", "of", "AI", "one", "more", "word"),
    *("Query:", "Document:", "Relevant:", "true", "false", "yes", "no", "sim", "não"),
)
PAIRS = [
    ("what is machine learning", "a branch of AI"),
    ("what is\tmachine", " one  more\n\nword "),
    ("what", ""),
    ("what is AI", "one more word " * 9),
    ("未知", "机器学习 x"),
]


def make_t5(folder: Path, kind: str = "t5", **changes: Any) -> Path:
    """A T5 whose vocabulary has the words that are scored; mT5's output matrix is its own."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    pieces += [(f"▁{word}", -3.0) for word in dict.fromkeys(WORDS)]
    pieces += [(letter, -8.0) for letter in sorted({letter for word in WORDS for letter in word})]
    tokenizer: Any = T5Tokenizer
    tokenizer(vocab=pieces, extra_ids=0, model_max_length=64).save_pretrained(folder)
    asked = {
        "vocab_size": len(pieces) + 5,
        "d_model": 32,
        "d_kv": 8,
        "d_ff": 64,
        "num_layers": 2,
        "num_heads": 4,
        "initializer_factor": 2.0,
        "decoder_start_token_id": 0,
        "pad_token_id": 0,
        "tie_word_embeddings": kind == "t5",
    } | changes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto: Any = AutoModelForSeq2SeqLM
        model = auto.from_config(AutoConfig.for_model(kind, **asked))
        model.save_pretrained(folder)
        weights = load_file(folder / "model.safetensors")
        if kind == "mt5":
            weights["lm_head.weight"] = 0.3 * torch.randn(asked["vocab_size"], 32)
            save_file(weights, folder / "model.safetensors", {"format": "pt"})
    rewrite(folder / "config.json", tie_word_embeddings=kind == "t5")
    return folder


@torch.inference_mode()
def first_word(folder: Path, pairs: Sequence[tuple[str, str]], prompt: PromptFormat) -> list[float]:
    """The whole model, one text at a time, as pygaggle asks it; its last product from the file, as T5 scales it."""
    model: Any = AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in (prompt.yes, prompt.no))
    scores = []
    for query, document in pairs:
        read = tokenizer(f"Query: {query} Document: {document} Relevant:", return_tensors="pt")
        logits = model(**read, decoder_input_ids=torch.tensor([[0]])).logits[0, 0]
        scores.append(float(logits[yes] - logits[no]))
    return scores


def load(folder: Path, card: ModelCard, runtime: str = "torch") -> Scorer:
    placement = Placement(choose_device("cpu", "fp32", runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


@pytest.fixture(scope="module", params=["t5", "mt5"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A monoT5, not to be written to."""
    return make_t5(tmp_path_factory.mktemp("seq2seq") / "tiny", request.param)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
@pytest.mark.parametrize("prompt", [MONOT5, MT5_MMARCO, PTT5_MSMARCO], ids=["true", "yes", "sim"])
def test_the_score_is_one_word_less_another(folder: Path, runtime: str, prompt: PromptFormat) -> None:
    scorer = load(folder, ModelCard(id="tiny", prompt=prompt), runtime)

    assert scorer.runtime.startswith("openvino") == (runtime == "openvino")
    assert scorer.activation == SIGMOID
    together = score(scorer, scorer.encode([Pair(*pair) for pair in PAIRS]))
    assert together == pytest.approx(first_word(folder, PAIRS, prompt), abs=1e-4)


def test_a_long_document_is_cut_before_what_ends_the_prompt(folder: Path) -> None:
    scorer = load(folder, ModelCard(id="tiny", prompt=MONOT5))
    long, cut = scorer.encode([Pair("what", "word " * 200), Pair("what", "word " * 59)])

    assert scorer.max_length == 64
    assert long == cut
    with pytest.raises(InvalidRequest, match="205 input tokens"):
        scorer.encode([Pair("what", "word " * 200)], ScoringOptions(Truncation(allowed=False)))


@pytest.mark.parametrize("name", ["castorini/monot5-base-msmarco", "unicamp-dl/mt5-base-mmarco-v2"])
def test_known_repositories_need_no_prompt_in_their_card(folder: Path, name: str) -> None:
    scorer = load(folder, ModelCard(id="mine", repo=name))
    prompt = MONOT5 if "castorini" in name else MT5_MMARCO

    found = score(scorer, scorer.encode([Pair(*pair) for pair in PAIRS]))
    assert found == pytest.approx(first_word(folder, PAIRS, prompt), abs=1e-4)


def test_an_output_matrix_that_is_missing_is_never_the_embeddings(tmp_path: Path) -> None:
    folder = make_t5(tmp_path / "tiny", "mt5")
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})

    with pytest.raises(WeightsBroken, match=r"no fitting weights for lm_head\.weight"):
        load(folder, ModelCard(id="tiny", prompt=MONOT5))


def test_words_that_the_vocabulary_does_not_have_are_named(folder: Path) -> None:
    prompt = PromptFormat(
        system="", request="Query: {query} Document:", lead=" ", suffix=" Relevant:", no="", yes="oui"
    )

    with pytest.raises(ModelUnsupported, match="does not know the word oui"):
        load(folder, ModelCard(id="tiny", prompt=prompt))


@pytest.mark.parametrize(
    "prompt",
    [
        PromptFormat(system="You judge.", request="{query}", suffix=" Relevant:"),
        PromptFormat(system="", request="{query} {instruction}", suffix=" Relevant:"),
        PromptFormat(system="", request="{query}", suffix=" Relevant:", document_first=True),
    ],
)
def test_prompts_of_language_models_are_refused(folder: Path, prompt: PromptFormat) -> None:
    with pytest.raises(ModelUnavailable, match="the prompt in its card is one of language models"):
        load(folder, ModelCard(id="tiny", prompt=prompt))
