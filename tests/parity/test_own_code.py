"""Checkpoints that bring Python code of their own, and cards that replace a checkpoint's activation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from transformers import AutoModel, LlamaConfig

from rerank.activations import IDENTITY, SIGMOID
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.errors import ModelUnavailable, WeightsBroken
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.parity.layouts import BY_VERSION_5, causal, encoder, rewrite
from tests.support.tiny_checkpoints import (
    make_bert,
    make_embedding_model,
    make_modernbert,
    make_qwen3,
    make_xlm_roberta,
)

PAIRS = [Pair("what is machine learning?", "Machine learning is a branch of AI"), Pair("panda", "python")]
CODE = """
from pathlib import Path
from transformers import BertConfig, BertForSequenceClassification

Path({witness!r}).touch()


class OwnConfig(BertConfig):
    model_type = "own-bert"


class OwnForSequenceClassification(BertForSequenceClassification):
    config_class = OwnConfig
"""


def load(folder: Path, card: ModelCard, runtime: str = "torch") -> Scorer:
    placement = Placement(choose_device("cpu", "fp32", runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder, card), card, placement)


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """Appears when the checkpoint's code runs."""
    return tmp_path / "ran"


@pytest.fixture
def folder(tmp_path: Path, witness: Path) -> Path:
    folder = make_bert(tmp_path / "own")
    (folder / "modeling_own.py").write_text(CODE.format(witness=str(witness)))
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own-bert",
        "architectures": ["OwnForSequenceClassification"],
        "auto_map": {
            "AutoConfig": "modeling_own.OwnConfig",
            "AutoModelForSequenceClassification": "modeling_own.OwnForSequenceClassification",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(autouse=True)
def own_module_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


def test_code_without_a_card_that_trusts_it_does_not_run(folder: Path, witness: Path) -> None:
    with pytest.raises(ModelUnavailable, match=r"maker/own cannot be used: .* `trust_remote_code = true`"):
        load(folder, ModelCard(id="maker/own"))
    assert not witness.exists()


def test_trusted_code_runs_and_is_logged(
    folder: Path, witness: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own = load(folder, ModelCard(id="maker/own", trust_remote_code=True))
    plain = load(make_bert(tmp_path / "plain"), ModelCard(id="plain"))

    assert witness.exists()
    assert "maker/own runs Python code of its own" in caplog.text
    scores = [score(scorer, scorer.encode(PAIRS)) for scorer in (own, plain)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)


def test_a_card_says_what_code_of_its_own_gives(folder: Path) -> None:
    trusted = ModelCard(id="maker/own", trust_remote_code=True)
    expected = scores_of(folder, trusted)
    code = folder / "modeling_own.py"
    code.write_text(code.read_text().replace("OwnForSequenceClassification", "OwnRanker"))
    mapped = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForSequenceClassification": "modeling_own.OwnRanker"}
    rewrite(folder / "config.json", architectures=["OwnRanker"], auto_map=mapped)

    with pytest.raises(ModelUnavailable, match='`family = "cross-encoder"` and `trust_remote_code = true`'):
        load(folder, trusted)
    assert scores_of(folder, replace(trusted, family="cross-encoder")) == pytest.approx(expected, abs=1e-6)


def test_a_card_takes_the_mean_of_what_code_of_its_own_computes(tmp_path: Path, witness: Path) -> None:
    plain = encoder(tmp_path / "plain", "bert", body=True)
    expected = scores_of(plain, ModelCard(id="plain", family="bi-encoder"))
    own = encoder(tmp_path / "own", "bert", body=True)
    code = CODE.replace("BertForSequenceClassification", "BertModel").replace("OwnForSequenceClassification", "OwnBert")
    (own / "modeling_own.py").write_text(code.format(witness=str(witness)))
    mapped = {"AutoConfig": "modeling_own.OwnConfig", "AutoModel": "modeling_own.OwnBert"}
    rewrite(own / "config.json", architectures=["OwnBert"], auto_map=mapped, model_type="own-bert")
    card = ModelCard(id="maker/own", trust_remote_code=True)

    with pytest.raises(ModelUnavailable, match="take the mean of its tokens"):
        load(own, card)
    assert scores_of(own, replace(card, family="bi-encoder")) == pytest.approx(expected, abs=1e-6)
    assert witness.exists()


def test_trusted_code_is_not_converted(folder: Path) -> None:
    scorer = load(folder, ModelCard(id="maker/own", trust_remote_code=True), "openvino")

    assert scorer.runtime.startswith("torch fp32")


OWN_BODY = """
from transformers import LlamaConfig, LlamaForSequenceClassification, LlamaModel


class OwnConfig(LlamaConfig):
    model_type = "llama"


class OwnModel(LlamaModel):
    config_class = {config}

    def forward(self, *given, **named):
        found = super().forward(*given, **named)
        found.last_hidden_state = 2 * found.last_hidden_state
        return found


class OwnForSequenceClassification(LlamaForSequenceClassification):
    config_class = {config}
"""


def with_own_body(folder: Path, config: str) -> Path:
    """A classifier of one label, with a head of transformers, whose own body gives twice what that of Llama gives."""
    causal(folder, "llama", None, classifier=True, **BY_VERSION_5)
    (folder / "own.py").write_text(OWN_BODY.format(config=config))
    mapped = {
        "AutoConfig": f"own.{config}",
        "AutoModel": "own.OwnModel",
        "AutoModelForSequenceClassification": "own.OwnForSequenceClassification",
    }
    rewrite(folder / "config.json", auto_map=mapped)
    return folder


def scores_of(folder: Path, card: ModelCard) -> list[float]:
    scorer = load(folder, card)
    return score(scorer, scorer.encode(PAIRS))


def test_trusted_code_below_a_head_of_transformers_runs(tmp_path: Path) -> None:
    own = with_own_body(tmp_path / "own", "OwnConfig")
    plain = scores_of(causal(tmp_path / "plain", "llama", None, classifier=True, **BY_VERSION_5), ModelCard(id="plain"))

    trusted = ModelCard(id="maker/own", trust_remote_code=True)
    for _ in range(2):
        assert scores_of(own, trusted) == pytest.approx([2 * logit for logit in plain], abs=1e-5)
    with pytest.raises(ModelUnavailable, match="Python code of its own"):
        load(own, ModelCard(id="maker/own"))


def test_trusted_code_of_one_folder_never_runs_for_a_model_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # transformers notes there that code of a folder asked for the class
    monkeypatch.setattr(LlamaConfig, "_auto_class", None)
    plain = causal(tmp_path / "plain", "llama", None, classifier=True, **BY_VERSION_5)
    expected = scores_of(plain, ModelCard(id="plain"))

    for config in ("OwnConfig", "LlamaConfig"):
        load(with_own_body(tmp_path / config, config), ModelCard(id=config, trust_remote_code=True))

    assert scores_of(plain, ModelCard(id="plain")) == expected
    body = AutoModel.from_pretrained(plain)
    assert type(body).__module__.startswith("transformers.")


@pytest.mark.parametrize("make", [make_xlm_roberta, make_modernbert, make_qwen3, make_embedding_model])
def test_the_cards_activation_replaces_the_checkpoints(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    folder = make(tmp_path / "tiny")
    assert load(folder, ModelCard(id="tiny")).activation is not IDENTITY
    assert load(folder, ModelCard(id="tiny", activation=IDENTITY)).activation is IDENTITY


def test_a_card_helps_where_the_checkpoints_activation_is_unknown(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "tiny", activation="torch.nn.modules.activation.Tanh")
    with pytest.raises(WeightsBroken, match="Tanh"):
        load(folder, ModelCard(id="tiny"))
    assert load(folder, ModelCard(id="tiny", activation=SIGMOID)).activation is SIGMOID
