"""Folders of models as a stranger, a broken disk or a careless copy leaves them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import read_checkpoint
from rerank.catalog.manifest import MANIFEST
from rerank.catalog.models_file import read_models_file
from rerank.catalog.own_code import refuse_untrusted_code
from rerank.errors import ModelNotFound, SettingsError, WeightsBroken
from tests.process.server import ROOT, ServerProcess, clean_environment
from tests.support.fake_hub import FakeHub, tiny_checkpoint
from tests.support.permissions import bound_by_permissions
from tests.unit.catalog.folders import XLM_R, write_cache_snapshot, write_checkpoint, write_json, write_weights

STANDSTILL = 10.0
INDEX = "model.safetensors.index.json"
BASE = "BAAI/bge-reranker-base"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"

Spoil = Callable[[Path], object]

pytestmark = pytest.mark.usefixtures("hub_cache")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    write_checkpoint(folder / "sound")
    return folder


def found(models: Path) -> list[str]:
    """Ids of the models that a server finds in the folder, all of them looked at as ``/v1/models`` does."""
    catalog = Catalog(models)
    cards = catalog.cards()[len(BUILT_IN) :]
    for card in cards:
        catalog.is_local(card)
    return [card.id for card in cards]


def loop(path: Path) -> None:
    path.symlink_to(path.name)


def bytes_folder(models: Path) -> None:
    folder = models / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "config.json").write_text("{}")


class TestPassedOver:
    @pytest.mark.parametrize(
        ("spoil", "lines"),
        [
            (lambda models: loop(models / "loop"), 1),
            (lambda models: write_json(models / "line\nfeed" / "config.json", {}), 1),
            (bytes_folder, 1),
            (lambda models: write_json(models / 'quo"ted' / "config.json", {}), 1),
            (lambda models: os.mkfifo(models / "pipe"), 0),
            (lambda models: (models / "file").touch(), 0),
            (lambda models: (models / "nowhere").symlink_to("/no/such/folder"), 0),
            (lambda models: (models / "lost+found").mkdir(), 0),
        ],
        ids=["loop", "line feed", "not UTF-8", "quote", "pipe", "file", "dead link", "empty"],
    )
    def test_entries_that_are_no_models_are_passed_over_with_one_log_line(
        self, models: Path, spoil: Spoil, lines: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        spoil(models)
        catalog = Catalog(models)
        for _ in range(5):
            assert [card.id for card in catalog.cards()[len(BUILT_IN) :]] == ["sound"]
        json.dumps([card.id for card in catalog.cards()]).encode()
        assert len(caplog.records) == lines, caplog.text

    def test_a_model_is_passed_over_whatever_an_inner_config_leads_to(self, models: Path) -> None:
        (models / "inner").mkdir()
        loop(models / "inner" / "config.json")
        assert found(models) == ["sound"]

    def test_more_models_than_anybody_has(self, models: Path) -> None:
        for number in range(1_200):
            write_json(models / f"model-{number}" / "config.json", {})
        began = time.process_time()
        assert len(Catalog(models).cards()) == len(BUILT_IN) + 1_000
        assert time.process_time() - began < STANDSTILL

    def test_more_entries_than_anybody_has(self, models: Path, caplog: pytest.LogCaptureFixture) -> None:
        for number in range(20_001):
            (models / f"file-{number}").touch()
        began = time.process_time()
        Catalog(models).cards()
        assert time.process_time() - began < STANDSTILL
        assert len(caplog.records) == 1
        assert "only 20000 entries" in caplog.text


def index(*shards: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        write_json(folder / INDEX, {"weight_map": {str(number): shard for number, shard in enumerate(shards)}})

    return spoil


def config(**changes: Any) -> Spoil:
    return lambda folder: write_json(folder / "config.json", XLM_R | changes)


def header(length: int, content: bytes = b"{}") -> Spoil:
    return lambda folder: (folder / "model.safetensors").write_bytes(length.to_bytes(8, "little") + content)


def tensors(**described: Any) -> Spoil:
    content = json.dumps(described).encode()
    return header(len(content), content + bytes(64))


def replaced(name: str, content: bytes) -> Spoil:
    return lambda folder: (folder / name).write_bytes(content)


def pipe(name: str) -> Spoil:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


F32 = {"dtype": "F32", "shape": [4, 2], "data_offsets": [0, 32]}


class TestBroken:
    """Each is refused by name, and none of them is waited for."""

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (replaced("config.json", b"[" * 200_000), "mine/config.json is not JSON (nested too deeply)"),
            (replaced("config.json", b'{"a":' * 200_000), "mine/config.json is not JSON (nested too deeply)"),
            (replaced("config.json", b"1" * 100_000), "mine/config.json is not JSON"),
            (lambda folder: os.truncate(folder / "config.json", 10**9), "mine/config.json is larger than 32 MB"),
            (index("x" * 5_000 + ".safetensors"), f"mine/{INDEX} names a file of 5012 letters"),
            (index("../sound/model.safetensors"), f"mine/{INDEX} names '../sound/model.safetensors', which is no"),
            (index("/etc/model.safetensors"), f"mine/{INDEX} names '/etc/model.safetensors'"),
            (index("..\\model.safetensors"), f"mine/{INDEX} names"),
            (index("nul\0.safetensors"), f"mine/{INDEX} names"),
            (index("pytorch_model.bin"), f"mine/{INDEX} names 'pytorch_model.bin', which is not a safetensors"),
            (replaced(INDEX, b"{" * 10), None),
            (pipe("config.json"), "mine/config.json is neither a file nor a folder"),
            (pipe("tokenizer_config.json"), "mine/tokenizer_config.json is neither a file nor a folder"),
            (pipe("modules.json"), "mine/modules.json is neither"),
            (pipe("model.safetensors"), "mine/model.safetensors is neither"),
            (lambda folder: (folder / "vocab.txt").symlink_to("/dev/zero"), "mine/vocab.txt is neither"),
            (replaced("model.safetensors", POINTER), "mine/model.safetensors is a pointer of Git LFS"),
            (replaced("tokenizer.json", POINTER), "mine/tokenizer.json is a pointer of Git LFS"),
            (replaced("tokenizer.json", b"\xef\xbb\xbf{}"), "mine/tokenizer.json begins with a byte order mark"),
            (replaced("config.json", b"\xef\xbb\xbf{}"), "mine/config.json begins with a byte order mark"),
            (replaced("vocab.txt", b"\xef\xbb\xbf[PAD]"), "mine/vocab.txt begins with a byte order mark"),
            (header(2**60), "mine/model.safetensors is corrupt or cut short (a header of 1152921504606846976"),
            (header(2**63 + 7), "mine/model.safetensors is corrupt or cut short"),
            (header(90_000_000), "mine/model.safetensors is corrupt or cut short (a header of 90000000"),
            (tensors(a=F32, b=F32), "mine/model.safetensors is corrupt or cut short"),
            (tensors(a=F32 | {"data_offsets": [0, 2**60]}), "mine/model.safetensors is corrupt or cut short"),
            (tensors(a=F32 | {"shape": [2**40, 2**40]}), "mine/model.safetensors is corrupt or cut short"),
            (tensors(a=F32 | {"shape": [-4, -2]}), "mine/model.safetensors is corrupt or cut short"),
            (tensors(a=F32 | {"data_offsets": [32, 0]}), "mine/model.safetensors is corrupt or cut short"),
        ],
    )
    def test_a_folder_is_refused_by_name(self, models: Path, spoil: Spoil, expected: str | None) -> None:
        folder = write_checkpoint(models / "mine")
        spoil(folder)
        began = time.process_time()
        if expected:
            with pytest.raises(WeightsBroken) as broken:
                read_checkpoint(folder)
            assert broken.value.message.startswith(expected)
            assert len(broken.value.message) < 500
        assert sorted(found(models)) in (["mine", "sound"], ["sound"])
        refuse_untrusted_code(folder, ModelCard(id="mine"))
        assert time.process_time() - began < STANDSTILL

    @pytest.mark.parametrize(
        ("changes", "held", "what"),
        [
            ({"num_hidden_layers": 6_000}, "encoder.layer.1.output.weight", "6,000 layers, but the weights hold 2"),
            (
                {"text_config": {"num_hidden_layers": 6_000}},
                "model.layers.1.mlp.weight",
                "6,000 layers, but the weights hold 2",
            ),
            ({"vocab_size": 10**9}, "embeddings.word_embeddings.weight", "1,000,000,000 vocab_size"),
            ({"max_position_embeddings": 10**8}, "embeddings.position_embeddings.weight", "100,000,000 max_position"),
            (
                {"num_hidden_layers": 1, "hidden_size": 10**6, "intermediate_size": 10**6},
                "encoder.layer.0.output.weight",
                "2,000,000,000,000 weights",
            ),
        ],
    )
    def test_a_configuration_for_another_size_is_refused_before_memory_is_taken(
        self, models: Path, changes: dict[str, Any], held: str, what: str
    ) -> None:
        folder = write_checkpoint(models / "mine")
        write_weights(folder / "model.safetensors", held)
        config(**changes)(folder)
        with pytest.raises(WeightsBroken, match=f"mine/config.json asks for {what}"):
            read_checkpoint(folder)

    @pytest.mark.parametrize(
        "changes",
        [
            {"num_hidden_layers": 12, "num_hidden_groups": 1, "hidden_size": 64, "intermediate_size": 64},
            {"num_hidden_layers": "many", "vocab_size": None, "hidden_size": True},
            {"num_hidden_layers": 6_000, "quantization_config": {}},
        ],
    )
    def test_what_says_nothing_for_certain_is_let_through(self, models: Path, changes: dict[str, Any]) -> None:
        folder = write_checkpoint(models / "mine")
        config(**changes)(folder)
        assert read_checkpoint(folder)

    def test_pickled_weights_beside_safe_ones_are_not_read(self, models: Path) -> None:
        folder = write_checkpoint(models / "mine")
        (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
        assert [file.name for file in read_checkpoint(folder).weight_files] == ["model.safetensors"]

    def test_links_to_blobs_as_in_the_hubs_cache_go_on_working(self, hub_cache: Path) -> None:
        snapshot = write_cache_snapshot(hub_cache, "org/mine")
        for file in list(snapshot.iterdir()):
            blob = snapshot.parents[1] / "blobs" / file.name
            blob.parent.mkdir(exist_ok=True)
            file.rename(blob)
            file.symlink_to(blob)
        assert Catalog(hub_cache / "models").folder(ModelCard(id="org/mine", repo="org/mine")) == snapshot

    @pytest.mark.parametrize("content", [b"[" * 200_000, b"\xff", b"[]"])
    def test_a_broken_one_in_the_hubs_cache_is_passed_over(self, hub_cache: Path, content: bytes) -> None:
        (write_cache_snapshot(hub_cache, "org/mine") / "config.json").write_bytes(content)
        assert Catalog(hub_cache / "models").folder(ModelCard(id="org/mine", repo="org/mine")) is None

    def test_a_loop_in_the_hubs_cache_is_passed_over(self, hub_cache: Path) -> None:
        shutil.rmtree(write_cache_snapshot(hub_cache, "org/mine"))
        loop(hub_cache / "models--org--mine" / "snapshots" / "c0ffee")
        assert Catalog(hub_cache / "models").folder(ModelCard(id="org/mine", repo="org/mine")) is None


class TestManifest:
    """A manifest names the repository only of a folder that a fetch would have named so."""

    @pytest.mark.parametrize("claimed", [BASE, "evil/other", "../..", "/etc", "x" * 10_000, 7, None, ["a"]])
    def test_manifest_of_a_stranger_lends_no_name(self, models: Path, claimed: object) -> None:
        write_json(models / "sound" / MANIFEST, {"repo": claimed, "commit": "c0ffee"})
        assert found(models) == ["sound"]
        assert Catalog(models).resolve(BASE).path is None

    def test_manifest_of_a_stranger_takes_no_folder_away(self, models: Path) -> None:
        folder = write_checkpoint(models / "bge-reranker-base")
        write_json(folder / MANIFEST, {"repo": "evil/other", "commit": "c0ffee"})
        catalog = Catalog(models)
        assert catalog.folder(catalog.resolve(BASE)) == folder

    @pytest.mark.parametrize("content", [b"[" * 200_000, b"x" * 2_000_000, b"\xff", b"null"])
    def test_manifest_that_is_none_says_nothing(self, models: Path, content: bytes) -> None:
        (models / "sound" / MANIFEST).write_bytes(content)
        assert found(models) == ["sound"]

    def test_manifest_that_is_a_pipe_is_not_waited_for(self, models: Path) -> None:
        os.mkfifo(models / "sound" / MANIFEST)
        assert found(models) == ["sound"]


class TestModelsFile:
    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"#" * 100_000_000, "it is larger than 4 MB"),
            (b"a = " + b"[" * 100_000, "not valid TOML"),
            (b"\xff\xfe", "it is not UTF-8"),
        ],
        ids=["100 MB", "nested", "UTF-16"],
    )
    def test_models_file_is_refused_by_name(self, tmp_path: Path, content: bytes, says: str) -> None:
        file = tmp_path / "models.toml"
        file.write_bytes(content)
        with pytest.raises(SettingsError, match=f"models.toml: {says}"):
            read_models_file(file)

    def test_models_file_that_is_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "models.toml")
        with pytest.raises(SettingsError, match="it is not a regular file"):
            read_models_file(tmp_path / "models.toml")

    def test_models_file_may_begin_with_a_byte_order_mark(self, tmp_path: Path) -> None:
        file = tmp_path / "models.toml"
        file.write_bytes(b'\xef\xbb\xbf[[model]]\nid = "org/name"\n')
        assert [card.id for card in read_models_file(file)] == ["org/name"]

    def test_models_file_may_hold_as_many_aliases_as_fit(self, tmp_path: Path) -> None:
        file = tmp_path / "models.toml"
        aliases = ", ".join(f'"alias-{number}"' for number in range(200_000))
        file.write_text(f'[[model]]\nid = "org/name"\naliases = [{aliases}]\n')
        began = time.process_time()
        catalog = Catalog.open(tmp_path / "models", file)
        assert catalog.resolve("ALIAS-199999").id == "org/name"
        with pytest.raises(ModelNotFound):
            catalog.resolve("nobody")
        assert time.process_time() - began < 3 * STANDSTILL

    @pytest.mark.parametrize("name", ["a/../..", "..", "line\\nfeed", 'quo\\"te', "/a"])
    def test_names_that_leave_the_folder_are_refused(self, tmp_path: Path, name: str) -> None:
        file = tmp_path / "models.toml"
        file.write_text(f'[[model]]\nid = "{name}"\nrepo = "org/name"\n')
        with pytest.raises(SettingsError, match=r"model\.0\.id"):
            read_models_file(file)

    @pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "pipe"])
    def test_a_path_that_is_no_folder_holds_no_model(self, tmp_path: Path, path: str) -> None:
        os.mkfifo(tmp_path / "pipe")
        file = tmp_path / "models.toml"
        file.write_text(f'[[model]]\nid = "mine"\npath = "{path}"\n')
        catalog = Catalog.open(tmp_path / "models", file)
        assert catalog.folder(catalog.resolve("mine")) is None


@pytest.fixture
def closed() -> Iterator[Callable[[Path, int], None]]:
    """Take rights away, until the test is over."""
    changed: list[Path] = []

    def close(path: Path, mode: int = 0) -> None:
        path.chmod(mode)
        changed.append(path)

    yield close
    for path in changed:
        path.chmod(0o700)


Close = Callable[..., None]


@pytest.mark.skipif(sys.platform != "linux", reason="of prctl")
class TestUnreadable:
    """To the server, which has rights like anybody's, whoever runs the tests."""

    def test_unreadable_folders_are_passed_over_with_one_line_each(self, tmp_path: Path, closed: Close) -> None:
        models = tmp_path / "models"
        for name in ("sound", "closed", "bge-reranker-base"):
            write_checkpoint(models / name)
        (models / "lost+found").mkdir()
        for name in ("closed", "bge-reranker-base", "lost+found"):
            closed(models / name)
        with ServerProcess(tmp_path, preexec_fn=bound_by_permissions) as server:
            for _ in range(3):
                listed = requests.get(f"{server.url}/v1/models", timeout=60)
                assert listed.status_code == 200
                assert requests.get(f"{server.url}/", timeout=60).status_code == 200
            body = {"query": "q", "documents": ["d"], "model": "bge-reranker-base"}
            refused = requests.post(f"{server.url}/v1/rerank", json=body, timeout=60)
        ids = [model["id"] for model in listed.json()["data"]]
        assert "sound" in ids
        assert not {"closed", "lost+found"} & set(ids)
        for name in ("closed", "lost+found"):
            assert len([line for line in server.log if f"models/{name} cannot be read" in line]) == 1
        assert refused.status_code == 503
        assert "bge-reranker-base cannot be read (Permission denied)" in refused.json()["message"]

    @pytest.mark.parametrize(
        ("spoil", "says"),
        [
            (lambda models, closed: (models.mkdir(), closed(models)), "models cannot be read: Permission denied"),
            (lambda models, _: models.touch(), "models cannot be read: Not a directory"),
        ],
        ids=["closed", "a file"],
    )
    def test_a_models_folder_stops_the_start_with_a_sentence(
        self, tmp_path: Path, closed: Close, spoil: Callable[[Path, Close], object], says: str
    ) -> None:
        spoil(tmp_path / "models", closed)
        started = subprocess.run(
            [sys.executable, str(ROOT / "rerank_server.py"), "--port", "0"],
            cwd=tmp_path,
            env=clean_environment(tmp_path),
            preexec_fn=bound_by_permissions,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        assert started.returncode == 2, started.stderr
        assert f"RERANK_MODELS_DIR: {says}" in started.stderr
        assert "Traceback" not in started.stderr

    def test_a_models_folder_that_cannot_be_written_says_so_when_something_is_fetched(
        self, tmp_path: Path, closed: Close
    ) -> None:
        write_checkpoint(tmp_path / "models" / "sound")
        closed(tmp_path / "models", 0o555)
        with FakeHub() as hub:
            hub.add_repository(BASE, tiny_checkpoint())
            with ServerProcess(tmp_path, {"HF_ENDPOINT": hub.url}, preexec_fn=bound_by_permissions) as server:
                body = {"query": "q", "documents": ["d"], "model": BASE}
                refused = requests.post(f"{server.url}/v1/rerank", json=body, timeout=60)
        assert refused.status_code == 503
        assert "The models folder cannot be written (Permission denied)" in refused.json()["message"]
