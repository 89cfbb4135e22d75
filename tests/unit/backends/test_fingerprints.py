from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from safetensors.numpy import load_file, save_file

from rerank.activations import IDENTITY, SIGMOID, Activation
from rerank.backends.fingerprints import contents_of, fingerprint, stamps_of, weights_fingerprint
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint, read_checkpoint
from rerank.catalog.prompts import QWEN3_RERANKER
from rerank.catalog.weight_files import WEIGHTS_FILE

LARGE = 100_000
CARD = ModelCard("acme/model", activation=IDENTITY, prompt=QWEN3_RERANKER)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    config = {"architectures": ["BertForSequenceClassification"], "model_type": "bert", "num_labels": 1}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    weights = {"body": numpy.arange(LARGE, dtype=numpy.float32), "head": numpy.zeros(8, numpy.float32)}
    save_file(weights, folder / WEIGHTS_FILE)
    return folder


def checkpoint(folder: Path) -> Checkpoint:
    return read_checkpoint(folder)


def trained(folder: Path, tensor: str, places: slice) -> None:
    weights = load_file(folder / WEIGHTS_FILE)
    weights[tensor][places] += 1
    save_file(weights, folder / WEIGHTS_FILE)


def test_a_copy_in_another_folder_has_the_same_contents(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere" / "copy"
    shutil.copytree(folder, copy)
    (copy / "README.md").write_text("about")
    (copy / ".rerank-manifest.json").write_text("{}")
    os.utime(copy / WEIGHTS_FILE, (1, 1))
    assert contents_of(checkpoint(copy)) == contents_of(checkpoint(folder))


@pytest.mark.parametrize(
    ("tensor", "places"),
    [("head", slice(3, 4)), ("body", slice(None)), ("body", slice(0, 1)), ("body", slice(LARGE - 1, LARGE))],
)
def test_other_weights_of_the_same_size_are_other_contents(folder: Path, tensor: str, places: slice) -> None:
    before = contents_of(checkpoint(folder))
    trained(folder, tensor, places)
    assert contents_of(checkpoint(folder)) != before


@pytest.mark.parametrize(
    "file", ["tokenizer.json", "vocab.txt", "spm.model", "chat_template.jinja", "code.py", "1_Pooling/config.json"]
)
def test_a_small_file_that_changes_makes_other_contents(folder: Path, file: str) -> None:
    before = contents_of(checkpoint(folder))
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text('{"changed": true}')
    assert contents_of(checkpoint(folder)) != before


def test_weights_of_a_module_are_part_of_the_contents(folder: Path) -> None:
    before = contents_of(checkpoint(folder))
    (folder / "2_Dense").mkdir()
    save_file({"linear": numpy.zeros(4, numpy.float32)}, folder / "2_Dense" / WEIGHTS_FILE)
    assert contents_of(checkpoint(folder)) != before


def test_stamps_change_with_the_files(folder: Path) -> None:
    before = stamps_of(checkpoint(folder))
    assert stamps_of(checkpoint(folder)) == before
    os.utime(folder / WEIGHTS_FILE, (1, 1))
    assert stamps_of(checkpoint(folder)) != before


@pytest.mark.parametrize(
    "other",
    [
        (replace(CARD, max_length=64), "contents", "bf16"),
        (replace(CARD, prompt=None), "contents", "bf16"),
        (CARD, "other contents", "bf16"),
        (CARD, "contents", "fp32"),
        (replace(CARD, id="acme/other"), "contents", "bf16"),
    ],
)
def test_what_a_score_depends_on_makes_another_fingerprint(other: tuple[ModelCard, str, str]) -> None:
    card, *facts = other
    assert fingerprint(card, *facts) != fingerprint(CARD, "contents", "bf16")


def test_names_people_and_places_are_no_part_of_a_fingerprint() -> None:
    other = replace(CARD, aliases=("the-model",), pinned=True, keep_alive=5.0, path=Path("/elsewhere"))
    assert fingerprint(other) == fingerprint(CARD)


def test_another_process_makes_the_same_fingerprint() -> None:
    program = "from tests.unit.backends.test_fingerprints import *; print(fingerprint(CARD, 'contents'))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == fingerprint(CARD, "contents")


class TestFingerprintsOfWeights:
    @pytest.mark.parametrize(
        "card",
        [
            replace(CARD, id="other", aliases=("more",)),
            replace(CARD, precision="int8"),
            replace(CARD, path=Path("/elsewhere")),
            replace(CARD, max_length=8),
            replace(CARD, calibration="auto"),
            # what the checkpoint says is among the facts
            replace(CARD, activation=None, family="cross-encoder"),
        ],
    )
    def test_what_concerns_machine_and_names_is_no_part_of_it(self, card: ModelCard) -> None:
        assert weights_fingerprint(card, IDENTITY, "contents") == weights_fingerprint(CARD, IDENTITY, "contents")

    @pytest.mark.parametrize(
        "card",
        [
            replace(CARD, prompt=None),
            replace(CARD, labels=(0, 1)),
            replace(CARD, instruction="find it"),
            replace(CARD, normalize="nfkc"),
        ],
    )
    def test_what_makes_other_scores_is(self, card: ModelCard) -> None:
        assert weights_fingerprint(card, IDENTITY, "contents") != weights_fingerprint(CARD, IDENTITY, "contents")

    @pytest.mark.parametrize("activation", [SIGMOID, replace(IDENTITY, scale=5.0)])
    def test_another_activation_has_another(self, activation: Activation) -> None:
        assert weights_fingerprint(CARD, activation, "contents") != weights_fingerprint(CARD, IDENTITY, "contents")

    def test_other_weights_have_another(self) -> None:
        assert weights_fingerprint(CARD, IDENTITY, "contents") != weights_fingerprint(CARD, IDENTITY, "others")

    def test_another_version_of_the_server_has_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        before = weights_fingerprint(CARD, IDENTITY, "contents")
        monkeypatch.setattr("rerank.__version__", "99")
        assert weights_fingerprint(CARD, IDENTITY, "contents") == before
