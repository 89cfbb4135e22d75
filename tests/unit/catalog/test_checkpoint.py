from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from rerank.catalog.checkpoint import check_sha256, is_started, read_checkpoint, usable_positions
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER
from rerank.errors import WeightsBroken

from .folders import BERT_ENCODER, XLM_R, cut_short, write_checkpoint, write_json, write_modules, write_weights

INDEX = "model.safetensors.index.json"
SHARDS = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "models" / "tiny")


@pytest.fixture
def sharded(folder: Path) -> Path:
    (folder / "model.safetensors").unlink()
    for number, shard in enumerate(SHARDS):
        write_weights(folder / shard, f"layer.{number}")
    write_json(folder / INDEX, {"weight_map": {"layer.1": SHARDS[1], "layer.0": SHARDS[0], "layer.2": SHARDS[0]}})
    return folder


def complaint(folder: Path) -> str:
    """What is wrong with the folder; never an absolute path, as callers get to read it."""
    with pytest.raises(WeightsBroken) as broken:
        read_checkpoint(folder)
    assert str(folder.parent) not in broken.value.message
    return broken.value.message


class TestWhole:
    def test_says_what_it_is(self, folder: Path) -> None:
        checkpoint = read_checkpoint(folder)
        assert checkpoint.folder == folder
        assert checkpoint.architecture == "XLMRobertaForSequenceClassification"
        assert checkpoint.family is CROSS_ENCODER
        assert checkpoint.max_positions == 512
        assert checkpoint.weight_files == (folder / "model.safetensors",)
        assert checkpoint.weight_bytes == (folder / "model.safetensors").stat().st_size

    def test_may_be_in_shards(self, sharded: Path) -> None:
        checkpoint = read_checkpoint(sharded)
        assert checkpoint.weight_files == tuple(sharded / shard for shard in SHARDS)
        assert checkpoint.weight_bytes == sum((sharded / shard).stat().st_size for shard in SHARDS)

    @pytest.mark.parametrize("tokenizer", ["vocab.txt", "vocab.json"])
    def test_may_have_any_kind_of_tokenizer(self, folder: Path, tokenizer: str) -> None:
        (folder / "tokenizer.json").rename(folder / tokenizer)
        assert read_checkpoint(folder)

    @pytest.mark.parametrize("tokenizer", ["sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model"])
    def test_of_sentencepiece_need_its_package(
        self, folder: Path, tokenizer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (folder / "tokenizer.json").rename(folder / tokenizer)
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        assert complaint(folder).startswith(f"tiny/tokenizer.json is missing, and {tokenizer} is read only with")
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
        assert read_checkpoint(folder)

    def test_may_hold_pickled_weights_next_to_the_safe_ones(self, folder: Path) -> None:
        (folder / "pytorch_model.bin").write_bytes(b"pickle")
        assert read_checkpoint(folder)


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        (folder / name).write_text(text, encoding="utf-8")

    return spoil


class TestBroken:
    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (remove("config.json"), "tiny/config.json is missing"),
            (write("config.json", '{"architectures": ['), "tiny/config.json is not JSON"),
            (lambda folder: (folder / "config.json").write_bytes(b"\xff\xfe"), "tiny/config.json is not UTF-8"),
            (write("config.json", "[]"), "tiny/config.json is not a JSON object"),
            (remove("model.safetensors"), "tiny/model.safetensors is missing"),
            (write("model.safetensors", ""), "tiny/model.safetensors is corrupt or cut short"),
            (write("model.safetensors", "<html>not found</html>"), "tiny/model.safetensors is corrupt or cut short"),
            (lambda folder: cut_short(folder / "model.safetensors"), "tiny/model.safetensors is corrupt or cut short"),
            (lambda folder: save_file({}, folder / "model.safetensors"), "tiny/model.safetensors holds no tensors"),
            (remove("tokenizer.json"), "tiny/tokenizer.json is missing. If the model was published without it, copy"),
        ],
        ids=[
            "no config",
            "half a config",
            "config in no known encoding",
            "config is a list",
            "no weights",
            "empty weights",
            "weights are a web page",
            "cut-short weights",
            "weights without tensors",
            "no tokenizer",
        ],
    )
    def test_the_message_names_folder_and_file(
        self, folder: Path, spoil: Callable[[Path], None], expected: str
    ) -> None:
        spoil(folder)
        assert complaint(folder).startswith(expected)

    def test_pickled_weights_alone_are_refused_with_a_way_out(self, folder: Path) -> None:
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
        message = complaint(folder)
        assert message.startswith("tiny has no safetensors, and pickled weights are not loaded.")
        assert '`revision = "refs/pr/1"`. `rerank pull --convert` converts the pickles instead.' in message

    def test_a_missing_shard_is_named(self, sharded: Path) -> None:
        (sharded / SHARDS[1]).unlink()
        assert complaint(sharded) == f"tiny/{SHARDS[1]} is missing"

    def test_a_cut_short_shard_is_named(self, sharded: Path) -> None:
        cut_short(sharded / SHARDS[0])
        assert complaint(sharded).startswith(f"tiny/{SHARDS[0]} is corrupt or cut short")

    @pytest.mark.parametrize("index", [{}, {"weight_map": {}}, {"weight_map": ["a.safetensors"]}])
    def test_an_index_must_map_weights(self, sharded: Path, index: dict[str, Any]) -> None:
        write_json(sharded / INDEX, index)
        assert complaint(sharded) == f"tiny/{INDEX} has no weight_map"


class TestFamily:
    @pytest.mark.parametrize("architecture", ["BertForSequenceClassification", "Qwen3ForSequenceClassification"])
    def test_a_head_that_scores_makes_a_cross_encoder(self, folder: Path, architecture: str) -> None:
        write_json(folder / "config.json", {**XLM_R, "architectures": [architecture]})
        assert read_checkpoint(folder).family is CROSS_ENCODER

    @pytest.mark.parametrize(
        ("modules", "family"),
        [
            (("Transformer", "Pooling", "Normalize"), BI_ENCODER),
            (("Transformer", "Pooling", "Dense"), BI_ENCODER),
            (("Transformer", "LogitScore"), CROSS_ENCODER),
            (("Transformer", "Dense"), CROSS_ENCODER),
        ],
    )
    def test_modules_decide_where_the_architecture_has_no_head(
        self, tmp_path: Path, modules: tuple[str, ...], family: str
    ) -> None:
        folder = write_checkpoint(tmp_path / "encoder", BERT_ENCODER)
        write_modules(folder, *modules)
        assert read_checkpoint(folder).family is family

    def test_a_head_decides_before_the_modules(self, folder: Path) -> None:
        write_modules(folder, "Transformer", "Pooling")
        assert read_checkpoint(folder).family is CROSS_ENCODER

    @pytest.mark.parametrize("modules", [None, ("Transformer",), ()])
    def test_what_neither_scores_nor_pools_is_no_reranker(
        self, tmp_path: Path, modules: tuple[str, ...] | None
    ) -> None:
        folder = write_checkpoint(tmp_path / "encoder", BERT_ENCODER)
        if modules is not None:
            write_modules(folder, *modules)
        message = complaint(folder)
        assert message.startswith("encoder names the architecture BertModel in its config.json")
        assert "it is not a reranker. If it is an embedding model, `family = " in message

    @pytest.mark.parametrize("architectures", [[], None, {}, 3, "BertModel", [3]])
    def test_an_unnamed_architecture_is_no_reranker(self, folder: Path, architectures: object) -> None:
        write_json(folder / "config.json", {**XLM_R, "architectures": architectures})
        assert complaint(folder).startswith(
            "tiny/config.json names no architecture, so nothing says what it is. Write there what its publisher does"
        )

    def test_strange_entries_among_the_modules_are_passed_over(self, tmp_path: Path) -> None:
        folder = write_checkpoint(tmp_path / "encoder", BERT_ENCODER)
        write_json(folder / "modules.json", ["Pooling", {}, {"type": "sentence_transformers.models.Pooling"}])
        assert read_checkpoint(folder).family is BI_ENCODER


class TestPositions:
    @pytest.mark.parametrize(
        ("config", "usable"),
        [
            ({"model_type": "xlm-roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
            ({"model_type": "xlm-roberta", "max_position_embeddings": 8194, "pad_token_id": 1}, 8192),
            ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
            ({"model_type": "roberta", "max_position_embeddings": 514, "pad_token_id": 0}, 513),
            ({"model_type": "mpnet", "max_position_embeddings": 514, "pad_token_id": 0}, 512),
            ({"model_type": "longformer", "max_position_embeddings": 4098, "pad_token_id": 1}, 4096),
            ({"model_type": "data2vec-text", "max_position_embeddings": 514, "pad_token_id": 1}, 512),
            ({"model_type": "bert", "max_position_embeddings": 512, "pad_token_id": 0}, 512),
            ({"model_type": "modernbert", "max_position_embeddings": 8192, "pad_token_id": 50283}, 8192),
            ({"model_type": "bert"}, None),
            ({"model_type": "bert", "max_position_embeddings": "512"}, None),
            ({}, None),
        ],
    )
    def test_leave_out_what_the_roberta_family_never_uses(self, config: dict[str, Any], usable: int | None) -> None:
        assert usable_positions(config) == usable


class TestSha256:
    def test_the_expected_hash_passes(self, tmp_path: Path) -> None:
        file = tmp_path / "model.safetensors"
        file.write_bytes(b"weights")
        check_sha256(file, hashlib.sha256(b"weights").hexdigest())

    def test_another_hash_is_named_with_the_expected_one(self, tmp_path: Path) -> None:
        file = tmp_path / "tiny" / "model.safetensors"
        file.parent.mkdir()
        file.write_bytes(b"tampered")
        with pytest.raises(WeightsBroken) as broken:
            check_sha256(file, "0" * 64)
        actual = hashlib.sha256(b"tampered").hexdigest()
        assert broken.value.message == f"tiny/model.safetensors has sha256 {actual}, expected {'0' * 64}"


class TestStarted:
    def test_no_folder(self, tmp_path: Path) -> None:
        assert not is_started(tmp_path / "tiny")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert not is_started(tmp_path)

    def test_a_folder_with_hidden_files_only(self, tmp_path: Path) -> None:
        (tmp_path / ".gitkeep").touch()
        assert not is_started(tmp_path)

    def test_a_folder_that_holds_something(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").touch()
        assert is_started(tmp_path)

    def test_a_file_is_no_folder(self, tmp_path: Path) -> None:
        (tmp_path / "tiny").touch()
        assert not is_started(tmp_path / "tiny")


class TestOddContents:
    @pytest.mark.parametrize("content", ["[", "3", "{}"])
    def test_a_list_of_modules_that_is_none_is_told(self, folder: Path, content: str) -> None:
        write_json(folder / "config.json", BERT_ENCODER)
        (folder / "modules.json").write_text(content)
        assert complaint(folder).startswith("tiny/modules.json is not")

    @pytest.mark.parametrize("padding", [{}, {"pad_token_id": None}, {"pad_token_id": "one"}])
    def test_a_roberta_without_a_padding_id_counts_from_two(self, padding: dict[str, object]) -> None:
        config = {"model_type": "xlm-roberta", "max_position_embeddings": 514} | padding
        assert usable_positions(config) == 512

    def test_one_file_beats_an_index_as_in_transformers(self, folder: Path) -> None:
        write_json(folder / "model.safetensors.index.json", {"weight_map": {"a": "missing.safetensors"}})
        assert [file.name for file in read_checkpoint(folder).weight_files] == ["model.safetensors"]

    def test_a_sha256_of_several_files_is_refused(self, folder: Path) -> None:
        with pytest.raises(WeightsBroken, match="only be checked for weights in one file"):
            check_sha256(folder / "nowhere.safetensors", "0" * 64)

    def test_an_unreadable_file_is_told_without_its_path(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def deny(*_: object, **__: object) -> int:
            raise PermissionError(13, "Permission denied", str(folder))

        monkeypatch.setattr(os, "open", deny)
        assert complaint(folder) == "tiny/config.json cannot be read (Permission denied)"
