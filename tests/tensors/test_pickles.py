"""Conversion of pickles: what is converted, and what is refused without running anything of it."""

from __future__ import annotations

import errno
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch.nested import nested_tensor

from rerank.catalog.checkpoint import read_checkpoint
from rerank.errors import WeightsBroken
from rerank.scorers import pickles
from rerank.scorers.pickles import convert_pickles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "mine"
    made.mkdir()
    return made


def contents(folder: Path) -> list[str]:
    return sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file())


def test_tensors_that_share_memory_get_their_own(folder: Path) -> None:
    table = torch.arange(12.0).view(4, 3)
    tensors = {"embeddings": table, "tied": table, "part": table[1:3], "turned": table.T, "flag": torch.tensor(True)}
    torch.save(tensors, folder / "pytorch_model.bin")

    assert convert_pickles(folder) == (folder / "pytorch_model.bin",)
    read = load_file(folder / "model.safetensors")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert contents(folder) == ["model.safetensors", "pytorch_model.bin"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_numbers_keep_their_format_also_from_the_old_one(folder: Path, dtype: torch.dtype) -> None:
    tensors = {"weight": torch.arange(6).to(dtype)}
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)

    convert_pickles(folder)
    assert torch.equal(load_file(folder / "model.safetensors")["weight"], tensors["weight"])
    assert load_file(folder / "model.safetensors")["weight"].dtype == dtype


def test_parts_become_parts_with_an_index(folder: Path) -> None:
    for number in (1, 2):
        torch.save({f"w{number}": torch.ones(number)}, folder / f"pytorch_model-0000{number}-of-00002.bin")
    (folder / "config.json").write_text('{"architectures": ["BertForSequenceClassification"]}')
    (folder / "tokenizer.json").write_text("{}")

    convert_pickles(folder)
    index = json.loads((folder / "model.safetensors.index.json").read_text())
    assert index["weight_map"] == {
        "w1": "model-00001-of-00002.safetensors",
        "w2": "model-00002-of-00002.safetensors",
    }
    assert len(read_checkpoint(folder).weight_files) == 2


def test_the_pickle_of_a_module_is_converted_in_its_folder(folder: Path) -> None:
    (folder / "1_Dense").mkdir()
    torch.save({"linear.weight": torch.ones(2, 2)}, folder / "1_Dense" / "pytorch_model.bin")

    convert_pickles(folder)
    assert contents(folder) == ["1_Dense/model.safetensors", "1_Dense/pytorch_model.bin"]


class Harmful:
    """A pickle that makes a file when it is read."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (str(self.made),)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(
    folder: Path, tmp_path: Path, new_format: bool
) -> None:
    harmful = {"weight": torch.ones(2), "more": Harmful(tmp_path / "ran")}
    torch.save(harmful, folder / "pytorch_model.bin", _use_new_zipfile_serialization=new_format)

    with pytest.raises(WeightsBroken) as refusal:
        convert_pickles(folder)
    assert refusal.value.message == (
        f"mine/pytorch_model.bin holds more than weights: it names {os.mkdir.__module__}.mkdir, and to read such a "
        "pickle is to run what it names. It was not converted, and nothing of it ran. Use safetensors of this model, "
        "or another model."
    )
    assert not (tmp_path / "ran").exists()
    assert contents(folder) == ["pytorch_model.bin"]


def cut(file: Path) -> None:
    torch.save({"weight": torch.ones(1000)}, file)
    file.write_bytes(file.read_bytes()[:700])


def compressed(file: Path) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(100_000))


def of_two_lengths(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.save({"w": nested_tensor([torch.ones(2), torch.ones(3)])}, file)


def saved(content: object) -> Callable[[Path], None]:
    return lambda file: torch.save(content, file)


@pytest.mark.parametrize(
    ("write", "told"),
    [
        (cut, "mine/pytorch_model.bin "),
        (compressed, "mine/pytorch_model.bin is a compressed archive, which torch does not write: it is not read"),
        (lambda file: file.write_bytes(b"no pickle"), "mine/pytorch_model.bin "),
        (lambda file: file.write_bytes(b""), "mine/pytorch_model.bin "),
        (lambda file: file.write_bytes(pickle.dumps({"weight": 1})), "mine/pytorch_model.bin "),
        (lambda file: torch.save([torch.ones(2)], file), "mine/pytorch_model.bin holds no table of tensors by name"),
        (lambda file: torch.save({}, file), "mine/pytorch_model.bin holds no table of tensors by name"),
        (lambda file: torch.save({"state_dict": {"w": torch.ones(2)}}, file), "mine/pytorch_model.bin holds no table"),
        (saved({"w": torch.eye(2).to_sparse()}), "mine/pytorch_model.bin holds no table"),
        (saved({"w": torch.empty(2, device="meta")}), "mine/pytorch_model.bin holds no table"),
        (of_two_lengths, "mine/pytorch_model.bin holds no table"),
        (saved({"w": torch.ones(2, dtype=torch.complex64)}), "mine/pytorch_model.bin holds no table"),
        (saved({"w": torch.ones(2, dtype=torch.uint16)}), "mine/pytorch_model.bin holds no table"),
        (saved({"w": torch.ones(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}), "mine/pytorch_model.bin holds"),
        (saved({"w": torch.ones(2, dtype=torch.complex64).conj().imag}), "mine/pytorch_model.bin holds no table"),
        (saved({1: torch.ones(2)}), "mine/pytorch_model.bin holds no table of tensors by name"),
        (saved({"__metadata__": torch.ones(2)}), "mine/pytorch_model.bin holds no table of tensors by name"),
        (saved({"w\ud800": torch.ones(2)}), "mine/pytorch_model.bin holds no table of tensors by name"),
        (saved({"w": torch.zeros(1).expand(10**13)}), "mine/pytorch_model.bin has 2 kB, but its tensors would take"),
        (saved(dict.fromkeys(map(str, range(50)), torch.ones(1000))), "mine/pytorch_model.bin has"),
    ],
    ids=[
        *(
            "cut",
            "compressed",
            "no-pickle",
            "empty",
            "numbers",
            "list",
            "nothing",
            "nested",
            "sparse",
            "meta",
            "jagged",
        ),
        *("complex", "uint16", "float4", "negative", "number", "metadata", "surrogate", "expanded", "names"),
    ],
)
def test_a_pickle_that_is_no_table_of_tensors_is_refused_by_name(
    folder: Path, write: Callable[[Path], Any], told: str
) -> None:
    write(folder / "pytorch_model.bin")

    with pytest.raises(WeightsBroken) as refusal:
        convert_pickles(folder)
    assert refusal.value.message.startswith(told)
    assert len(refusal.value.message) < 500
    assert contents(folder) == ["pytorch_model.bin"]


def test_a_table_of_words_may_have_four_names(folder: Path) -> None:
    table = torch.ones(1000)
    torch.save(dict.fromkeys(("shared", "encoder", "decoder", "head"), table), folder / "pytorch_model.bin")

    convert_pickles(folder)
    assert len(load_file(folder / "model.safetensors")) == 4


def test_a_part_that_is_refused_leaves_no_other_converted(folder: Path) -> None:
    torch.save({"w1": torch.ones(1)}, folder / "pytorch_model-00001-of-00002.bin")
    torch.save({"w2": torch.ones(1, dtype=torch.complex64)}, folder / "pytorch_model-00002-of-00002.bin")

    with pytest.raises(WeightsBroken, match="'w2' is no tensor that this server reads"):
        convert_pickles(folder)
    assert contents(folder) == ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"]


def test_tensors_that_torch_cannot_copy_are_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"weight": torch.ones(10)}, folder / "pytorch_model.bin")

    def copy(_tensor: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError("no kernel")

    monkeypatch.setattr(torch.Tensor, "contiguous", copy)
    with pytest.raises(WeightsBroken, match=r"pytorch_model\.bin cannot be converted \(no kernel\)"):
        convert_pickles(folder)


@pytest.mark.parametrize("mode", [0o640, 0o644])
def test_weights_have_the_permissions_of_their_pickle(folder: Path, mode: int) -> None:
    torch.save({"weight": torch.ones(10)}, folder / "pytorch_model.bin")
    (folder / "pytorch_model.bin").chmod(mode)

    convert_pickles(folder)
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == mode


def test_an_old_format_that_does_not_fit_into_memory_is_not_begun(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save({"weight": torch.ones(1000)}, folder / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    monkeypatch.setattr(pickles, "free_memory", lambda _: 1000)

    with pytest.raises(WeightsBroken, match="has to fit into memory, where 1 kB are free"):
        convert_pickles(folder)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"), errno.ENOSPC),
        (SafetensorError("no such dtype"), None),
    ],
)
def test_what_cannot_be_written_leaves_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: int | None
) -> None:
    def save(_tensors: object, file: Path, _metadata: object) -> None:
        file.write_bytes(b"half")
        raise error

    torch.save({"weight": torch.ones(10)}, folder / "pytorch_model.bin")
    monkeypatch.setattr(pickles, "save_file", save)

    with pytest.raises((OSError, WeightsBroken)) as caught:
        convert_pickles(folder)
    assert getattr(caught.value, "errno", None) == expected
    assert contents(folder) == ["pytorch_model.bin"]
