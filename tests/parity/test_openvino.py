"""The converted network gives the same scores and is kept on disk; its storage is tested in test_kept_networks."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.errors import SettingsError
from rerank.runtimes import openvino_cpu, openvino_numbers
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
from tests.support.tiny_checkpoints import make_bert, make_xlm_roberta

PAIRS = [Pair("what is machine learning?", "word " * length) for length in (1, 5, 40, 3, 17)]


def load(folder: Path, precision: str = "fp32", runtime: str = "auto") -> Scorer:
    placement = Placement(choose_device("cpu", precision, runtime), folder.parent / ".openvino")
    return load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)


def logits(scorer: Scorer) -> list[float]:
    return score(scorer, scorer.encode(PAIRS))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_xlm_roberta(tmp_path / "reranker")


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    made: list[object] = []
    convert = openvino_cpu.openvino.convert_model

    def counted(*arguments: Any, **options: Any) -> object:
        made.append(arguments)
        return convert(*arguments, **options)

    monkeypatch.setattr(openvino_cpu.openvino, "convert_model", counted)
    return made


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each network was compiled with, the last one being what computes scores."""
    noted: list[dict[str, Any]] = []
    compile_model = openvino_cpu.openvino.Core.compile_model

    def compile_noted(core: object, network: object, device: str, chosen: dict[str, Any]) -> object:
        noted.append(dict(chosen))
        return compile_model(core, network, device, chosen)

    monkeypatch.setattr(openvino_cpu.openvino.Core, "compile_model", compile_noted)
    return noted


def test_the_cpu_runs_openvino_and_says_so(folder: Path) -> None:
    assert load(folder).runtime.startswith("openvino ")
    assert load(folder).runtime.endswith(" fp32, sdpa attention")
    assert load(folder, runtime="torch").runtime == "torch fp32, sdpa attention"


def test_a_second_start_converts_nothing_and_scores_the_same(folder: Path, conversions: list[object]) -> None:
    first, second = logits(load(folder)), logits(load(folder))

    assert first == second
    assert len(conversions) == 1


def test_other_weights_are_converted_again(folder: Path, tmp_path: Path, conversions: list[object]) -> None:
    first = logits(load(folder))
    make_xlm_roberta(folder, seed=1)

    assert logits(load(folder)) != pytest.approx(first, abs=1e-2)
    assert logits(load(folder)) == pytest.approx(logits(load(folder, runtime="torch")), abs=1e-4)
    assert len(conversions) == 2


def test_a_network_that_cannot_be_converted_runs_in_torch_and_the_log_says_why(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise RuntimeError("no such operation")

    monkeypatch.setattr(openvino_cpu.openvino, "convert_model", refuse)

    assert load(folder).runtime == "torch fp32, sdpa attention"
    assert "reranker runs in plain torch" in caplog.text
    assert "no such operation" in caplog.text


def test_half_precision_stays_close(tmp_path: Path) -> None:
    folder = make_xlm_roberta(tmp_path / "reranker", initializer_range=0.15)

    exact, half = logits(load(folder)), logits(load(folder, precision="bf16"))

    assert half == pytest.approx(exact, abs=2e-2)
    assert max(exact) - min(exact) > 1e-3


def test_int8_stays_close_and_is_kept_apart(tmp_path: Path, conversions: list[object]) -> None:
    folder = make_xlm_roberta(tmp_path / "reranker", initializer_range=0.15)

    exact, rough, again = logits(load(folder)), logits(load(folder, precision="int8")), logits(load(folder))

    assert rough == pytest.approx(exact, abs=5e-2)
    assert rough != exact
    assert again == exact
    assert len(conversions) == 2
    assert load(folder, precision="int8").precision == "int8"


@pytest.mark.parametrize(("hidden", "together"), [(192, 192), (32, 64)], ids=["whole rows", "short rows"])
def test_int8_products_have_one_scale_per_row_of_their_inputs(
    tmp_path: Path, settings: list[dict[str, Any]], hidden: int, together: int
) -> None:
    load(make_xlm_roberta(tmp_path / "reranker", hidden=hidden), precision="int8")

    assert settings[-1]["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == together


@pytest.mark.parametrize(("native", "hint"), [(True, "bf16"), (False, "f32")])
def test_what_is_no_product_is_bf16_within_int8_where_the_cpu_has_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch, settings: list[dict[str, Any]], native: bool, hint: str
) -> None:
    exact = logits(load(folder))
    for module in (openvino_cpu, openvino_numbers):
        monkeypatch.setattr(module, "has_native_bf16", lambda: native)
    rough = logits(load(folder, precision="int8"))

    assert settings[-1]["INFERENCE_PRECISION_HINT"] == hint
    assert rough == pytest.approx(exact, abs=0.2)
    assert len(set(rough)) == len(set(exact))


def test_numbers_in_bf16_are_read_as_they_are() -> None:
    exact = numpy.array([[1.5, -0.0, 3.0e38], [2.0**-126, numpy.inf, -7.03125]], numpy.float32)
    upper_halves = (exact.view(numpy.uint32) >> 16).astype(numpy.uint16)
    rounded = (exact.view(numpy.uint32) & 0xFFFF0000).view(numpy.float32)
    tensor = openvino_cpu.openvino.Tensor(upper_halves, exact.shape, openvino_cpu.openvino.Type.bf16)

    read = openvino_numbers.copier(tensor)(tensor.data)

    assert read.dtype == numpy.float32
    assert read.tolist() == rounded.tolist()


def test_converting_without_the_memory_for_it_is_not_tried(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(openvino_cpu, "free_memory", lambda _: 1000)

    assert load(folder).runtime == "torch fp32, sdpa attention"
    assert "of memory, 0.0 GB are free" in caplog.text


def test_segments_reach_the_converted_network(tmp_path: Path) -> None:
    folder = make_bert(tmp_path / "reranker")

    assert logits(load(folder)) == pytest.approx(logits(load(folder, runtime="torch")), abs=1e-4)


def test_what_openvino_cannot_run_on_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="MODEL_RUNTIME=openvino: on the CPU it takes fp32 or bf16"):
        choose_device("cpu", "fp16", "openvino")


def test_nothing_is_reported_over_the_network() -> None:
    assert sys.modules["openvino_telemetry"] is None


def test_the_log_names_the_conversion(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        load(folder)

    assert "converted for OpenVINO in" in caplog.text
