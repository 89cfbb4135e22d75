from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER
from rerank.catalog.own_code import runs_own_code
from rerank.errors import ModelUnavailable, WeightsBroken

from .folders import XLM_R, write_checkpoint, write_json, write_modules

CARD = ModelCard(id="maker/mine")
TRUSTED = ModelCard(id="maker/mine", trust_remote_code=True)
MAPPED = {"auto_map": {"AutoConfig": "configuring.OwnConfig", "AutoModel": "modeling.OwnModel"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "mine", XLM_R | MAPPED)


def test_a_checkpoint_without_code_runs_none_even_if_trusted(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    write_modules(folder, "Transformer", "Pooling")
    assert not runs_own_code(folder, CARD)
    assert not runs_own_code(folder, TRUSTED)


def test_code_needs_a_card_that_says_so(folder: Path) -> None:
    with pytest.raises(ModelUnavailable) as refusal:
        runs_own_code(folder, CARD)
    assert refusal.value.message == (
        "maker/mine cannot be used: it needs Python code of its own (configuring.OwnConfig, modeling.OwnModel), which "
        "runs only if the model's card in models.toml says `trust_remote_code = true`. Read the code first."
    )


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["tokenizing.OwnTokenizer", None]}}),
        ("0_Transformer/config.json", MAPPED),
        ("modules.json", [{"idx": 0, "type": "own_pooling.OwnPooling"}]),
    ],
)
def test_code_is_found_wherever_a_checkpoint_asks_for_it(tmp_path: Path, file: str, content: Any) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    write_json(folder / file, content)
    with pytest.raises(ModelUnavailable, match="Python code of its own"):
        runs_own_code(folder, CARD)


def test_a_card_that_says_so_lets_the_files_of_the_folder_run(folder: Path) -> None:
    (folder / "configuring.py").touch()
    (folder / "modeling.py").touch()
    assert runs_own_code(folder, TRUSTED)


def test_a_file_that_is_not_there_is_named(folder: Path) -> None:
    (folder / "configuring.py").touch()
    with pytest.raises(WeightsBroken, match=r"mine/modeling\.py is missing"):
        runs_own_code(folder, TRUSTED)


def test_code_of_another_repository_is_refused_even_then(tmp_path: Path) -> None:
    mapped = {"auto_map": {"AutoModel": "someone/else--modeling.OwnModel"}}
    folder = write_checkpoint(tmp_path / "mine", XLM_R | mapped)
    with pytest.raises(ModelUnavailable, match=r"another repository \(someone/else\).*`modeling\.OwnModel`"):
        runs_own_code(folder, TRUSTED)


@pytest.mark.parametrize(
    ("architecture", "family", "other"),
    [
        ("JinaBertForSequenceClassification", None, "Use a reranker without code of its own"),
        ("JinaBertModel", None, "Use an embedding model without code of its own, such as BAAI/bge-m3."),
        ("JinaBertModel", CROSS_ENCODER, "Use a reranker without code of its own"),
        ("JinaBertForSequenceClassification", BI_ENCODER, "Use an embedding model without code of its own"),
    ],
)
@pytest.mark.parametrize("card", [CARD, TRUSTED], ids=["untrusted", "trusted"])
def test_code_for_an_older_library_is_refused_with_a_model_of_the_same_family(
    tmp_path: Path, card: ModelCard, architecture: str, family: str | None, other: str
) -> None:
    mapped = {"auto_map": {"AutoConfig": "someone/else--configuring.JinaBertConfig"}}
    folder = write_checkpoint(tmp_path / "mine", XLM_R | mapped | {"architectures": [architecture]})
    with pytest.raises(ModelUnavailable) as refusal:
        runs_own_code(folder, replace(card, family=family))
    assert "does not run with version 5" in refusal.value.message
    assert other in refusal.value.message


def test_files_of_the_folder_run_under_a_name_whose_published_code_no_longer_does(tmp_path: Path) -> None:
    mapped = {"auto_map": {"AutoConfig": "configuring.JinaBertConfig"}}
    folder = write_checkpoint(tmp_path / "mine", XLM_R | mapped)
    (folder / "configuring.py").touch()
    assert runs_own_code(folder, TRUSTED)
    with pytest.raises(ModelUnavailable, match="does not run with version 5"):
        runs_own_code(folder, CARD)


@pytest.mark.parametrize("content", [{"auto_map": "x"}, {"auto_map": {"AutoModel": 5}}, [], "x"])
def test_what_makes_no_sense_asks_for_nothing(tmp_path: Path, content: Any) -> None:
    folder = write_checkpoint(tmp_path / "mine")
    write_json(folder / "tokenizer_config.json", content)
    write_json(folder / "modules.json", content)
    assert not runs_own_code(folder, CARD)
