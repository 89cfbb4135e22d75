from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.own_code import runs_own_code
from rerank.catalog.ports import FLASH, NEW, find_port
from rerank.errors import ModelUnavailable

from .folders import write_checkpoint

GTE: dict[str, Any] = {
    "architectures": ["NewForSequenceClassification", "OtherModel"],
    "auto_map": {"AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig"},
    "model_type": "new",
    "hidden_size": 768,
    "num_attention_heads": 12,
    "rope_theta": 20000,
    "rope_scaling": {"factor": 8.0, "type": "ntk"},
}
JINA: dict[str, Any] = {
    "architectures": ["XLMRobertaForSequenceClassification"],
    "auto_map": {"AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig"},
    "position_embedding_type": "absolute",
}


def test_ntk_scaling_is_a_larger_base_and_a_division_of_every_frequency() -> None:
    known = NEW.translate(GTE)

    assert known["rope_parameters"] == {
        "rope_type": "linear",
        "rope_theta": 160000.0,
        "factor": pytest.approx(1.06714, abs=1e-5),
    }
    assert known["model_type"] == "gte"
    assert known["architectures"] == ["GteForSequenceClassification", "OtherModel"]
    assert not known.keys() & {"auto_map", "rope_theta", "rope_scaling"}


def test_without_scaling_the_base_stays() -> None:
    known = NEW.translate(GTE | {"rope_scaling": None})

    assert known["rope_parameters"] == {"rope_type": "linear", "rope_theta": 20000.0, "factor": 1.0}


def test_a_base_that_is_not_said_is_ten_thousand() -> None:
    known = NEW.translate({name: value for name, value in GTE.items() if name != "rope_theta"})

    assert known["rope_parameters"]["rope_theta"] == 80000.0


def test_a_head_is_as_large_as_the_whole_number_of_its_share() -> None:
    # 770 // 12 is 64, too
    assert NEW.translate(GTE | {"hidden_size": 770})["rope_parameters"] == NEW.translate(GTE)["rope_parameters"]


def test_packed_products_are_those_of_xlm_roberta() -> None:
    assert FLASH.translate(JINA | {"auto_map": {}, "vocab_size": 9}) == {
        "architectures": ["XLMRobertaForSequenceClassification"],
        "position_embedding_type": "absolute",
        "vocab_size": 9,
        "model_type": "xlm-roberta",
    }


def test_names_of_weights_begin_as_in_the_files() -> None:
    assert NEW.stored("gte.pooler.dense.weight") == "new.pooler.dense.weight"
    assert NEW.stored("classifier.weight") == "classifier.weight"
    assert FLASH.stored("classifier.dense.weight") == "classifier.dense.weight"


@pytest.mark.parametrize(
    ("config", "port"),
    [
        (GTE, NEW),
        (GTE | {"model_type": "gte", "auto_map": {"AutoConfig": "configuration_hf_alibaba_nlp_gte.GteConfig"}}, NEW),
        (GTE | {"rope_scaling": {"factor": 1, "type": "ntk"}, "num_attention_heads": 1}, NEW),
        (GTE | {"auto_map": {"AutoConfig": "folder.configuration.NewConfig"}}, NEW),
        (JINA, FLASH),
        ({name: value for name, value in JINA.items() if name != "position_embedding_type"}, FLASH),
    ],
)
def test_a_published_layout_is_known_and_runs_no_code(tmp_path: Path, config: dict[str, Any], port: object) -> None:
    folder = write_checkpoint(tmp_path / "mine", config)

    assert find_port(config) is port
    assert not runs_own_code(folder, ModelCard(id="mine"))
    assert not runs_own_code(folder, ModelCard(id="mine", trust_remote_code=True))


@pytest.mark.parametrize(
    "config",
    [
        GTE | {"logn_attention_scale": True},
        GTE | {"layer_norm_type": "rms_norm"},
        GTE | {"position_embedding_type": "absolute"},
        GTE | {"rope_scaling": {"factor": 8.0, "type": "ntk", "mixed_b": 0.7}},
        GTE | {"rope_scaling": {"factor": 8.0, "type": "dynamic"}},
        GTE | {"rope_scaling": {"type": "ntk"}},
        GTE | {"rope_scaling": "ntk"},
        GTE | {"rope_theta": "many"},
        GTE | {"hidden_size": None},
        GTE | {"num_attention_heads": 0},
        JINA | {"position_embedding_type": "rotary"},
        JINA | {"lora_adaptations": ["retrieval.query"]},
        JINA | {"architectures": ["XLMRobertaModel"]},
        JINA | {"hidden_act": "gelu_new"},
    ],
)
def test_variants_that_are_not_computed_here_need_their_own_code(tmp_path: Path, config: dict[str, Any]) -> None:
    folder = write_checkpoint(tmp_path / "mine", config)

    assert find_port(config) is None
    with pytest.raises(ModelUnavailable, match="Python code of its own"):
        runs_own_code(folder, ModelCard(id="mine"))


@pytest.mark.parametrize("config", [{}, {"auto_map": "x"}, {"auto_map": {"AutoConfig": 5}}, {"model_type": "new"}])
def test_other_configurations_are_left_alone(config: dict[str, Any]) -> None:
    assert find_port(config) is None
