"""`rerank bench`: what it runs, and how it prints."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rerank import devices
from rerank.catalog.built_in import EMBEDDED_MODEL_ID
from rerank.cli.main import main
from rerank.evaluation import apart
from rerank.evaluation.apart import Failed
from rerank.evaluation.speed import Run, Speed
from tests.unit.catalog.folders import write_checkpoint

BOTH = ["--device", "cpu", "--precision", "fp32", "--precision", "int8"]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """The runs that would be measured; those in int8 fail."""
    asked: list[Run] = []

    def run_apart(work: Callable[..., Any], run: Run) -> Speed:
        # another process would get them so
        assert pickle.loads(pickle.dumps((work, run))) == (work, run)
        asked.append(run)
        if run.precision == "int8":
            raise Failed("no room")
        share = None if run.model == "unknown" else 0.75
        return Speed(run.model, run.device, run.precision, "torch", 1.25, 4 * 10**8, 100.04, 2000.4, 12.34, 20, share)

    monkeypatch.setattr(apart, "run_apart", run_apart)
    return asked


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder, with one model."""
    monkeypatch.setenv("RERANK_MODELS_DIR", str(tmp_path / "models"))
    write_checkpoint(tmp_path / "models" / "tiny")
    return tmp_path


@pytest.mark.usefixtures("folder")
def test_a_line_is_printed_for_each_run_and_a_failure_says_why(
    runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *BOTH]) == 1
    printed = capsys.readouterr()
    machine, _, heading, measured, failed = printed.out.splitlines()
    assert machine.startswith("rerank ")
    assert "p50  of matrix rate  runtime" in heading
    expected = "tiny cpu fp32 1.2 s 400 MB 100.0 2000 12.3 ms 75% torch"
    assert measured.split() == expected.split()
    assert failed.split() == ["tiny", "cpu", "int8", "-", "-", "-", "-", "-", "-", "failed"]
    assert "rerank: tiny on cpu in int8: no room\n" in printed.err
    assert [len(request) for request in runs[0].requests] == [20] * 64


@pytest.mark.usefixtures("folder")
def test_columns_are_as_wide_as_ids_that_are_longer_than_names(
    monkeypatch: pytest.MonkeyPatch, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint(folder / "models" / "bge-reranker-base")

    def run_apart(_: Callable[..., Any], run: Run) -> Speed:
        return Speed("BAAI/bge-reranker-base", run.device, run.precision, "torch", 1, 10**8, 100, 2000, 12, 20, None)

    monkeypatch.setattr(apart, "run_apart", run_apart)
    assert main(["bench", "bge-reranker-base", "--device", "cpu", "--precision", "fp32"]) == 0
    _, _, heading, measured = capsys.readouterr().out.splitlines()
    assert heading.index("device") == measured.index("cpu")


@pytest.mark.usefixtures("runs", "folder")
def test_json_is_an_object_per_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", *BOTH, "--json"]) == 1
    measured, failed = map(json.loads, capsys.readouterr().out.splitlines())
    assert (measured["model"], measured["pairs_per_second"], measured["matrix_share"]) == ("tiny", 100.04, 0.75)
    assert failed == {"model": "tiny", "device": "cpu", "precision": "int8", "error": "no room"}


@pytest.mark.usefixtures("runs", "folder")
def test_markdown_is_a_table_to_paste(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--device", "cpu", "--precision", "fp32", "--markdown"]) == 0
    heading, rules, row = (line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()[2:])
    assert len(heading) == len(rules) == len(row) == 10
    assert rules[:4] == [" ----- ", " ------ ", " --------- ", " ---: "]
    assert row[0] == " tiny "


@pytest.mark.usefixtures("folder")
def test_a_gpu_is_measured_next_to_the_cpu(runs: list[Run], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda _: "GPU")
    monkeypatch.setattr(devices, "_native_precision", lambda *_, **__: "bf16")
    monkeypatch.setenv("MODEL_RUNTIME", "torch")
    assert main(["bench"]) == 0
    kinds = [(run.device, run.precision) for run in runs]
    assert kinds == [("cpu", "fp32"), ("cuda:0", "fp32"), ("cuda:0", "fp16"), ("cuda:0", "bf16")]


def test_without_models_on_disk_the_bundled_one_is_measured(
    runs: list[Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RERANK_MODELS_DIR", str(tmp_path / "none"))
    assert main(["bench", "--device", "cpu", "--precision", "fp32"]) == 0
    assert [run.model for run in runs] == [EMBEDDED_MODEL_ID]


@pytest.mark.usefixtures("folder")
def test_a_model_is_measured_once_with_the_texts_of_a_file(runs: list[Run], folder: Path) -> None:
    (folder / "texts").write_text("one\ntwo\nthree\n", encoding="utf-8")
    options = ["--device", "cpu", "--precision", "fp32", "--documents", "2", "--file", str(folder / "texts")]
    assert main(["bench", "tiny", "TINY", *options]) == 0
    assert [[pair.document for pair in request] for request in runs[0].requests] == [["one", "two"], ["three"]]
    assert len(runs) == 1


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["BAAI/bge-reranker-base"], 3, "BAAI/bge-reranker-base is not on disk; fetch it first: "),
        (["nope"], 2, "The model `nope` does not exist"),
        (["lexical"], 2, "lexical has no weights on this machine"),
        (["tiny", "--device", "gpu"], 2, "MODEL_DEVICE: it can be auto, cpu"),
        (["tiny", "--precision", "fp8"], 2, "MODEL_PRECISION: "),
        (["tiny", "--json", "--markdown"], 2, "--json and --markdown exclude each other"),
        (["tiny", "--file", "none.txt"], 2, "none.txt: cannot be read (No such file or directory)"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("folder")
def test_what_cannot_be_measured_is_refused_before_anything_is_loaded(
    arguments: list[str], status: int, said: str, runs: list[Run], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *arguments]) == status
    assert said in capsys.readouterr().err
    assert runs == []


@pytest.mark.usefixtures("runs", "folder")
def test_a_precision_that_a_device_lacks_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODEL_RUNTIME", "torch")
    assert main(["bench", *BOTH]) == 0
    assert "int8 on cpu is left out: MODEL_PRECISION=int8 is for OpenVINO" in capsys.readouterr().err
    assert main(["bench", "--device", "cpu", "--precision", "int8"]) == 2


@pytest.mark.usefixtures("folder")
def test_ctrl_c_keeps_what_was_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(apart, "run_apart", interrupted)
    assert main(["bench", *BOTH]) == 130
    printed = capsys.readouterr()
    assert "of matrix rate" in printed.out
    assert printed.err == "rerank: interrupted\n"
