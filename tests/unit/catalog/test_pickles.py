from __future__ import annotations

from pathlib import Path

import pytest

from rerank.catalog.pickles import pickled_weights, pickles_in, safe_name


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["config.json", "pytorch_model.bin"], ["pytorch_model.bin"]),
        (["pytorch_model.bin", "model.safetensors"], []),
        (["training_args.bin", "optimizer.bin", "model.bin"], []),
        (
            ["pytorch_model-00002-of-00002.bin", "pytorch_model.bin.index.json", "pytorch_model-00001-of-00002.bin"],
            ["pytorch_model-00001-of-00002.bin", "pytorch_model-00002-of-00002.bin"],
        ),
        (["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"], ["pytorch_model.bin"]),
        (
            [
                "model.safetensors",
                "2_Dense/pytorch_model.bin",
                "1_A/pytorch_model.bin",
                "1_A/model.safetensors",
            ],
            ["2_Dense/pytorch_model.bin"],
        ),
    ],
)
def test_pickles_count_where_no_safetensors_lie_next_to_them(files: list[str], expected: list[str]) -> None:
    assert list(pickled_weights(files)) == expected


def test_a_folder_is_looked_through_one_level_deep(tmp_path: Path) -> None:
    for name in ("pytorch_model.bin", "1_Dense/pytorch_model.bin", "a/b/pytorch_model.bin"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()

    assert pickles_in(tmp_path) == (tmp_path / "pytorch_model.bin", tmp_path / "1_Dense" / "pytorch_model.bin")


def test_the_safetensors_of_a_part_are_named_as_transformers_does() -> None:
    assert safe_name("pytorch_model.bin") == "model.safetensors"
    assert safe_name("pytorch_model-00001-of-00002.bin") == "model-00001-of-00002.safetensors"
