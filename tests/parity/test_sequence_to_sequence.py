"""monoT5 and its relatives: the first word of the answer, against the model of transformers asked in one text."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import sentencepiece
from safetensors.torch import load_file, save_file

from rerank.activations import SIGMOID
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.catalog.prompts import MONOT5, MT5_MMARCO, PTT5_MSMARCO, PromptFormat
from rerank.core import Pair, ScoringOptions, Truncation
from rerank.devices import choose_device
from rerank.errors import InvalidRequest, ModelUnavailable, ModelUnsupported, WeightsBroken
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.t5 import WORDS, first_word, make_t5

PAIRS = [
    ("what is machine learning", "a branch of AI"),
    ("what is\tmachine", " one  more\n\nword "),
    ("what", ""),
    ("what is AI", "one more word " * 9),
    ("未知", "机器学习 x"),
]


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


def test_a_folder_with_only_a_sentencepiece_model_is_read_as_transformers_does(tmp_path: Path) -> None:
    folder = make_t5(tmp_path / "tiny", vocab_size=80)
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([" ".join(WORDS)] * 20),
        model_writer=model,
        vocab_size=50,
        user_defined_symbols=["▁true", "▁false"],
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        hard_vocab_limit=False,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    (folder / "tokenizer.json").unlink()
    scorer = load(folder, ModelCard(id="tiny", prompt=MONOT5))

    short = PAIRS[:3]
    found = score(scorer, scorer.encode([Pair(*pair) for pair in short]))
    assert found == pytest.approx(first_word(folder, short, MONOT5), abs=1e-4)


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
