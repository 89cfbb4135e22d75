"""Fetching from a Hub that answers, misbehaves, or is not there."""

from __future__ import annotations

import errno
import json
import re
import shutil
import socket
import threading
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from rerank.catalog import room, staging
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import download_command
from rerank.catalog.checkpoint import is_started, read_checkpoint
from rerank.catalog.failures import explaining
from rerank.catalog.hub import fetch
from rerank.catalog.manifest import MANIFEST, read_manifest
from rerank.catalog.repository import inspect_repository, select_files, source_of
from rerank.catalog.session import read, token_for
from rerank.catalog.staging import staging_folder
from rerank.catalog.transfer import RemoteFile
from rerank.errors import FetchFailure, ModelUnavailable, ModelUnsupported, WeightsBroken, WeightsMissing
from rerank.units import human_size
from tests.support.fake_hub import FakeHub, FakeRepository, tiny_checkpoint

NAME = "org/tiny-reranker"
WEIGHTS = "model.safetensors"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def repository(hub: FakeHub) -> FakeRepository:
    return hub.add_repository(NAME, tiny_checkpoint())


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "models" / "tiny-reranker"


def visible_models(destination: Path) -> list[str]:
    """What a server would see in the models folder."""
    folder = destination.parent
    return sorted(entry.name for entry in folder.iterdir() if entry.name != ".incomplete") if folder.is_dir() else []


def failure_of(hub: FakeHub, destination: Path, **options: Any) -> WeightsMissing:
    """The error that fetching raises, after checking what every such error owes its reader."""
    with pytest.raises(WeightsMissing) as caught:
        fetch(NAME, destination, endpoint=hub.url, **options)
    assert visible_models(destination) == []
    assert str(destination.parent) not in caught.value.message
    return caught.value


def refusing(number: int) -> Callable[[int, int], None]:
    """Raises what a disk does that refuses, once some bytes have been written."""

    def refuse(done: int, _total: int) -> None:
        if done:
            raise OSError(number, "refused", "/secret/path")

    return refuse


class TestInspect:
    def test_describes_the_needed_files_in_one_request(self, hub: FakeHub, repository: FakeRepository) -> None:
        described = inspect_repository(NAME, endpoint=hub.url)

        assert described.commit == repository.commit
        assert {file.path for file in described.files} == set(repository.files)
        assert described.total_bytes == sum(len(file.content) for file in repository.files.values())
        assert described.files[-1].sha256 == repository.files[WEIGHTS].sha256
        assert len(hub.requests) == 1

    def test_a_trailing_slash_of_the_endpoint_does_no_harm(self, hub: FakeHub, repository: FakeRepository) -> None:
        assert inspect_repository(NAME, endpoint=f"{hub.url}/").commit == repository.commit

    def test_refused_connection_fails_without_a_pause(self, unused_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
        with pytest.raises(WeightsMissing, match=f"`{download_command(NAME)}`") as caught:
            inspect_repository(NAME, endpoint=f"http://127.0.0.1:{unused_port}")

        assert caught.value.failure is FetchFailure.UNREACHABLE
        assert "hf-mirror.com" in caught.value.message
        assert f"or resume, with `{download_command(NAME)}`" in caught.value.message
        assert "models/tiny-reranker" in caught.value.message

    def test_unknown_host(self) -> None:
        with pytest.raises(WeightsMissing) as caught:
            inspect_repository(NAME, endpoint="http://hub.invalid")
        assert caught.value.failure is FetchFailure.UNREACHABLE

    @pytest.mark.parametrize(("timeout", "seconds"), [(0.1, 60.0), (60.0, 0.1)], ids=["connection", "whole"])
    def test_a_server_that_never_answers(self, timeout: float, seconds: float) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as silent,
            pytest.raises(WeightsMissing, match=r"does not answer \(timeout\)") as caught,
            explaining(source_of(ModelCard(id=NAME), None, None)),
        ):
            read(f"http://127.0.0.1:{silent.getsockname()[1]}", None, timeout, seconds)
        assert caught.value.failure is FetchFailure.UNREACHABLE

    def test_an_endpoint_that_is_no_address_and_holds_a_password(self) -> None:
        with pytest.raises(WeightsMissing, match="not an address") as caught:
            inspect_repository(NAME, endpoint="me:secret@mirror")
        assert "secret" not in caught.value.message

    def test_offline_mode(self, hub: FakeHub, repository: FakeRepository, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(WeightsMissing, match="offline mode is on") as caught:
            inspect_repository(NAME, endpoint=hub.url)
        assert caught.value.failure is FetchFailure.UNREACHABLE
        assert not hub.requests

    @pytest.mark.parametrize(
        ("status", "failure", "says"),
        [
            (401, FetchFailure.NO_ACCESS, "HF_TOKEN"),
            (403, FetchFailure.NO_ACCESS, "licence"),
            (404, FetchFailure.NOT_FOUND, NAME),
            (429, FetchFailure.UNREACHABLE, "too many requests"),
            (500, FetchFailure.UNREACHABLE, "status 500"),
        ],
    )
    def test_statuses(
        self, hub: FakeHub, repository: FakeRepository, status: int, failure: FetchFailure, says: str
    ) -> None:
        repository.status = status
        with pytest.raises(WeightsMissing, match=says) as caught:
            inspect_repository(NAME, endpoint=hub.url)
        assert caught.value.failure is failure
        assert hub.url in caught.value.message

    def test_unknown_repository(self, hub: FakeHub) -> None:
        with pytest.raises(WeightsMissing, match="repository org/tiny-reranker") as caught:
            inspect_repository(NAME, endpoint=hub.url)
        assert caught.value.failure is FetchFailure.NOT_FOUND

    def test_unknown_revision(self, hub: FakeHub, repository: FakeRepository) -> None:
        with pytest.raises(WeightsMissing, match="revision 'v9'") as caught:
            inspect_repository(NAME, "v9", endpoint=hub.url)
        assert caught.value.failure is FetchFailure.NOT_FOUND

    def test_a_name_no_repository_can_have(self, hub: FakeHub) -> None:
        with pytest.raises(WeightsMissing) as caught:
            inspect_repository("org/..", endpoint=hub.url)
        assert caught.value.failure is FetchFailure.NOT_FOUND
        assert not hub.requests

    def test_pickles_alone_are_refused(self, hub: FakeHub) -> None:
        hub.add_repository(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
        with pytest.raises(WeightsMissing, match="pickled weights are not loaded") as caught:
            inspect_repository(NAME, endpoint=hub.url)
        assert caught.value.failure is FetchFailure.NO_SAFETENSORS

    def test_the_pull_request_with_safetensors_is_named(self, hub: FakeHub) -> None:
        hub.add_repository(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
        hub.add_repository(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"}, branches=("refs/pr/9",))
        hub.add_repository(NAME, tiny_checkpoint(), branches=("refs/pr/4",))
        hub.conversions[NAME] = (4, 9)
        with pytest.raises(WeightsMissing) as caught:
            inspect_repository(NAME, endpoint=hub.url)
        assert caught.value.failure is FetchFailure.NO_SAFETENSORS
        assert 'as in `revision = "refs/pr/4"`, or fetch it with `rerank pull --revision refs/pr/4`' in (
            caught.value.message
        )

    @pytest.mark.parametrize("numbers", [(), (7,)], ids=["none", "gone"])
    def test_without_one_the_refusal_tells_where_to_look(self, hub: FakeHub, numbers: tuple[int, ...]) -> None:
        hub.add_repository(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
        hub.conversions[NAME] = numbers
        with pytest.raises(WeightsMissing, match="look for it under Community"):
            inspect_repository(NAME, endpoint=hub.url)

    def test_at_a_revision_that_was_asked_for_no_other_is_looked_for(self, hub: FakeHub) -> None:
        hub.add_repository(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"}, branches=("old",))
        hub.conversions[NAME] = (4,)
        with pytest.raises(WeightsMissing, match="look for it under Community"):
            inspect_repository(NAME, "old", endpoint=hub.url)
        assert not hub.requests_of("discussions")

    @pytest.mark.parametrize(
        ("file", "told"),
        [
            ("pytorch_model.bin", r'`revision = "refs/pr/1"`'),
            ("model-Q8_0.gguf", r"holds weights for llama\.cpp \(GGUF\)"),
            ("onnx/model.onnx", "holds weights for ONNX"),
            ("README.md", r"has no safetensors\."),
        ],
        ids=["pickles", "gguf", "onnx", "nothing"],
    )
    def test_what_there_is_instead_of_safetensors_is_named(self, hub: FakeHub, file: str, told: str) -> None:
        hub.add_repository(NAME, {"config.json": b"{}", file: b"weights"})
        with pytest.raises(WeightsMissing, match=told):
            inspect_repository(NAME, endpoint=hub.url)

    def test_an_adapter_is_named(self, hub: FakeHub) -> None:
        hub.add_repository(NAME, {"adapter_config.json": b"{}", "adapter_model.safetensors": b"weights"})
        with pytest.raises(WeightsMissing, match="holds a LoRA adapter and no model"):
            inspect_repository(NAME, endpoint=hub.url)

    @pytest.mark.parametrize(
        ("files", "told"),
        [
            (("router_config.json", "query_0_Transformer/model.safetensors"), r"sends queries and documents to diff"),
            (("modules.json", "0_StaticEmbedding/model.safetensors"), "is a static embedding model"),
            (("modules.json", "0_Transformer/model.safetensors"), "has its model in the folder 0_Transformer"),
        ],
        ids=["router", "static", "early"],
    )
    def test_a_layout_without_configuration_is_named(self, hub: FakeHub, files: tuple[str, ...], told: str) -> None:
        hub.add_repository(NAME, dict.fromkeys(files, b"weights"))
        with pytest.raises(WeightsMissing, match=told):
            inspect_repository(NAME, endpoint=hub.url)

    def test_an_adapter_without_configuration_is_refused(self, hub: FakeHub) -> None:
        hub.add_repository(NAME, {"adapter_model.safetensors": b"weights"})
        with pytest.raises(WeightsMissing, match=r"no config\.json"):
            inspect_repository(NAME, endpoint=hub.url)

    def test_a_server_that_is_no_hub(self, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        hub.add_repository(NAME, {}).commit = ""
        with pytest.raises(WeightsMissing, match="does not answer as a Hub does"):
            inspect_repository(NAME, endpoint=hub.url)


class TestSelection:
    @staticmethod
    def select(*paths: str) -> set[str]:
        return {file.path for file in select_files(RemoteFile(path, 1, None, "0") for path in paths)}

    def test_only_what_is_loaded(self) -> None:
        needed = {
            "config.json",
            "modules.json",
            "tokenizer.json",
            "vocab.txt",
            "merges.txt",
            "sentencepiece.bpe.model",
            "chat_template.jinja",
            "artifact.metadata",
            "1_Pooling/config.json",
            "2_Dense/model.safetensors",
            WEIGHTS,
        }
        useless = {
            "README.md",
            ".gitattributes",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino/openvino_model.xml",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "model.pt",
            "last.ckpt",
            "model.pkl",
            "tf_model.h5",
            "flax_model.msgpack",
            "model.gguf",
            "modeling.py",
            "figure.png",
            "trainer_state.json",
            "training_args.bin",
            "original/model.safetensors",
            "1_Pooling/deep/config.json",
        }
        assert self.select(*needed, *useless) == needed

    def test_nothing_leaves_the_folder(self) -> None:
        assert self.select("../config.json", "/etc/config.json", "..\\config.json", "1_P/../../x.json") == set()

    def test_the_plain_weights_win_over_variants(self) -> None:
        assert self.select(WEIGHTS, "model.fp16.safetensors", "model-00001-of-00002.safetensors") == {WEIGHTS}

    def test_the_shards_of_the_index_win_over_variants(self) -> None:
        shards = {
            "model.safetensors.index.json",
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        }
        assert self.select(*shards, "model.fp16-00001-of-00001.safetensors", "consolidated.safetensors") == shards

    def test_other_names_are_kept_where_there_is_nothing_else(self) -> None:
        assert self.select("weights.safetensors") == {"weights.safetensors"}


class TestFetch:
    def test_a_whole_model(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        repository.files["1_Pooling/config.json"] = type(repository.files[WEIGHTS])(b"{}")
        steps: list[tuple[int, int]] = []

        assert fetch(NAME, destination, endpoint=hub.url, progress=lambda *step: steps.append(step)) == destination

        assert read_checkpoint(destination).architecture == "XLMRobertaForSequenceClassification"
        for path, file in repository.files.items():
            assert (destination / path).read_bytes() == file.content
        total = sum(len(file.content) for file in repository.files.values())
        assert steps[-1] == (total, total)
        assert {path.name for path in destination.iterdir()} == {MANIFEST, "1_Pooling", *tiny_checkpoint()}
        assert not staging_folder(destination).exists()

    def test_the_manifest(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        fetch(NAME, destination, endpoint=hub.url)

        manifest = json.loads((destination / MANIFEST).read_text())
        stated = {file["path"]: (file["size"], file["sha256"]) for file in manifest["files"]}
        weights = repository.files[WEIGHTS]
        assert (manifest["repo"], manifest["commit"]) == (NAME, repository.commit)
        assert stated[WEIGHTS] == (len(weights.content), weights.sha256)
        found = read_manifest(destination)
        assert found is not None
        assert (found.commit, found.revision) == (repository.commit, None)

    def test_a_manifest_that_is_none(self, tmp_path: Path) -> None:
        (tmp_path / MANIFEST).write_text("[]")
        assert read_manifest(tmp_path) is None

    def test_every_request_goes_to_the_endpoint(
        self, hub: FakeHub, repository: FakeRepository, destination: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_TOKEN", "hf_secret")
        fetch(NAME, destination, endpoint=hub.url)

        # one to inspect, one a small file, two for the redirected one; no tree, no HEAD, no xet
        assert [request.method for request in hub.requests] == ["GET"] * 5
        (redirected,) = hub.requests_of(f"|{WEIGHTS}")
        assert "authorization" in hub.requests[0].headers
        assert "authorization" not in redirected.headers

    def test_a_revision(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        older = hub.add_repository(NAME, tiny_checkpoint(seed=1), branches=("v1",))
        fetch(ModelCard(id="mine", repo=NAME, revision="v1"), destination, endpoint=hub.url)
        assert (destination / WEIGHTS).read_bytes() == older.files[WEIGHTS].content
        found = read_manifest(destination)
        assert found is not None
        assert (found.commit, found.revision) == (older.commit, "v1")
        assert found.is_of("v1")
        assert not found.is_of("main")

    def test_an_adapter_of_unknown_use_is_refused_before_the_weights_come(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        repository.files["adapter_config.json"] = type(repository.files[WEIGHTS])(b"{}")
        with pytest.raises(ModelUnsupported, match=r"holds adapter_config\.json next to whole weights"):
            fetch(NAME, destination, endpoint=hub.url)
        assert not hub.requests_of(WEIGHTS)

    def test_code_that_no_card_trusts_is_refused_before_the_weights_come(self, hub: FakeHub, destination: Path) -> None:
        mapped = b'{"architectures": ["OwnForSequenceClassification"], "auto_map": {"AutoModel": "modeling.OwnModel"}}'
        hub.add_repository(NAME, tiny_checkpoint() | {"config.json": mapped, "modeling.py": b"print()"})
        with pytest.raises(ModelUnavailable, match="trust_remote_code"):
            fetch(NAME, destination, endpoint=hub.url)
        assert not hub.requests_of(WEIGHTS)
        assert visible_models(destination) == []

        fetch(ModelCard(id=NAME, repo=NAME, trust_remote_code=True), destination, endpoint=hub.url)
        assert (destination / "modeling.py").exists()

    def test_python_files_only_for_a_card_that_runs_them(self, hub: FakeHub, destination: Path, tmp_path: Path) -> None:
        hub.add_repository(NAME, tiny_checkpoint() | {"modeling.py": b"print()", "examples/run.py": b"print()"})
        fetch(NAME, destination, endpoint=hub.url)
        assert not (destination / "modeling.py").exists()

        trusted = tmp_path / "models" / "trusted"
        fetch(ModelCard(id=NAME, repo=NAME, trust_remote_code=True), trusted, endpoint=hub.url)
        assert (trusted / "modeling.py").read_bytes() == b"print()"
        assert not (trusted / "examples").exists()

    def test_a_card_without_repository(self, destination: Path) -> None:
        with pytest.raises(ValueError, match="no repository"):
            fetch(ModelCard(id="mine"), destination)

    @pytest.mark.parametrize("path", [WEIGHTS, "config.json"])
    def test_wrong_bytes(self, hub: FakeHub, repository: FakeRepository, destination: Path, path: str) -> None:
        file = repository.files[path]
        file.served = bytes(len(file.content))
        error = failure_of(hub, destination)
        assert error.failure is FetchFailure.CORRUPT
        assert error.message.startswith(f"{path} of {NAME}")
        assert not list(staging_folder(destination).glob(f"{path}*"))

        file.served = None
        fetch(NAME, destination, endpoint=hub.url)
        assert (destination / path).read_bytes() == file.content

    def test_gated(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        repository.gated = True
        error = failure_of(hub, destination)
        assert error.failure is FetchFailure.NO_ACCESS
        assert f"{hub.url}/{NAME}" in error.message
        assert "set HF_TOKEN" in error.message

    @pytest.mark.parametrize("endpoint", [constants.ENDPOINT, "https://mirror.invalid"])
    @pytest.mark.parametrize(
        ("spoil", "why"),
        [(Path.mkdir, r"\w[\w ]+"), (lambda file: file.write_bytes(b"hf_secret\xff"), "it is no text")],
        ids=["folder", "bytes"],
    )
    def test_a_token_that_cannot_be_read_is_not_sent(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        endpoint: str,
        spoil: Callable[[Path], object],
        why: str,
    ) -> None:
        file = tmp_path / "token"
        spoil(file)
        for variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
            monkeypatch.delenv(variable, raising=False)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(file))
        assert token_for(endpoint) is None
        assert re.search(rf"the token in {re.escape(str(file))} cannot be read \({why}\); none is sent", caplog.text)
        assert "secret" not in caplog.text

    def test_gated_with_a_token(
        self, hub: FakeHub, repository: FakeRepository, destination: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.gated = True
        monkeypatch.setenv("HF_TOKEN", "hf_mine")
        fetch(NAME, destination, endpoint=hub.url)
        assert {request.headers.get("authorization") for request in hub.requests_of("config.json")} == {
            "Bearer hf_mine"
        }

    @pytest.mark.parametrize(
        ("token", "failure"), [(None, FetchFailure.NO_ACCESS), ("hf_anothers", FetchFailure.NOT_FOUND)]
    )
    def test_private_without_its_token(
        self,
        hub: FakeHub,
        repository: FakeRepository,
        destination: Path,
        monkeypatch: pytest.MonkeyPatch,
        token: str | None,
        failure: FetchFailure,
    ) -> None:
        repository.private_to = "hf_owner"
        monkeypatch.delenv("HF_TOKEN", raising=False)
        if token:
            monkeypatch.setenv("HF_TOKEN", token)
        error = failure_of(hub, destination)
        assert error.failure is failure
        assert "private" in error.message
        assert "set HF_TOKEN to a" in error.message
        assert hub.url in error.message

    def test_private_with_its_token(
        self, hub: FakeHub, repository: FakeRepository, destination: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        repository.private_to = "hf_owner"
        monkeypatch.setenv("HF_TOKEN", "hf_owner")
        fetch(NAME, destination, endpoint=hub.url)
        assert read_checkpoint(destination)

    def test_a_file_that_a_mirror_lacks_is_named(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        repository.files[WEIGHTS].status = 404
        error = failure_of(hub, destination)
        assert error.failure is FetchFailure.NOT_FOUND
        assert f"The Hub at {hub.url} lists {WEIGHTS} of {NAME}, but does not have it" in error.message

    def test_the_folder_to_copy_to_is_the_models_own(
        self, hub: FakeHub, repository: FakeRepository, tmp_path: Path
    ) -> None:
        repository.status = 500
        error = failure_of(hub, tmp_path / "weights" / "org--tiny-reranker")
        assert "copy the folder from another machine into weights/org--tiny-reranker" in error.message

    def test_the_hash_of_the_card_is_checked_before_the_download(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        with pytest.raises(WeightsMissing, match="expects 0000") as caught:
            fetch(ModelCard(id=NAME, repo=NAME, sha256="0" * 64), destination, endpoint=hub.url)
        assert caught.value.failure is FetchFailure.CORRUPT
        assert len(hub.requests) == 1

    def test_a_model_of_another_kind_is_refused_before_its_weights_are_fetched(
        self, hub: FakeHub, destination: Path
    ) -> None:
        hub.add_repository(NAME, tiny_checkpoint() | {"config.json": b'{"architectures": ["JinaForRanking"]}'})
        with pytest.raises(ModelUnsupported, match="listwise"):
            fetch(NAME, destination, endpoint=hub.url)
        assert not any(request.path.endswith(WEIGHTS) for request in hub.requests)
        assert not staging_folder(destination).exists()

    def test_a_card_makes_an_embedding_model_of_a_sound_repository(self, hub: FakeHub, destination: Path) -> None:
        hub.add_repository(NAME, tiny_checkpoint() | {"config.json": b'{"architectures": ["BertModel"]}'})
        card = ModelCard(id=NAME, repo=NAME, family="bi-encoder")
        assert fetch(card, destination, endpoint=hub.url) == destination

    def test_a_sound_repository_that_is_no_reranker(self, hub: FakeHub, destination: Path) -> None:
        hub.add_repository(NAME, tiny_checkpoint() | {"config.json": b'{"architectures": ["BertModel"]}'})
        with pytest.raises(WeightsBroken, match="not a reranker"):
            fetch(NAME, destination, endpoint=hub.url)
        assert not staging_folder(destination).exists()
        assert visible_models(destination) == []

    def test_files_of_another_commit_are_dropped(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        folder = staging_folder(destination)
        folder.mkdir(parents=True)
        (folder / "old.json").write_text("{}")
        (folder / f"{WEIGHTS}.0123456789abcdef.part").write_bytes(b"old")
        (folder / "config.json").write_text("old")
        fetch(NAME, destination, endpoint=hub.url)
        assert {path.name for path in destination.iterdir()} == {MANIFEST, *repository.files}
        assert not hub.ranges


class TestDisk:
    def test_too_little_room(
        self, hub: FakeHub, repository: FakeRepository, destination: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 10**9 - 1_500_000, 1_500_000))
        error = failure_of(hub, destination)
        assert error.failure is FetchFailure.DISK_FULL
        assert "needs 50 MB" in error.message
        assert "has 2 MB free" in error.message
        assert len(hub.requests) == 1

    def test_what_is_there_counts(
        self, hub: FakeHub, repository: FakeRepository, destination: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        total = sum(len(file.content) for file in repository.files.values())
        failure_of(hub, destination, progress=refusing(errno.ENOSPC))
        held = sum(file.stat().st_size for file in staging_folder(destination).rglob("*"))
        assert 0 < held < total
        free = total - held + room._MARGIN
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: Usage(10**9, 0, free))
        fetch(NAME, destination, endpoint=hub.url)

    @pytest.mark.parametrize(
        ("number", "says"),
        [
            (errno.ENOSPC, "filled up while org/tiny-reranker was fetched, which needs 50 MB more"),
            (errno.EROFS, "cannot be written"),
            (errno.EACCES, "written"),
        ],
    )
    def test_a_disk_that_refuses(
        self,
        hub: FakeHub,
        repository: FakeRepository,
        destination: Path,
        number: int,
        says: str,
    ) -> None:
        error = failure_of(hub, destination, progress=refusing(number))
        assert error.failure is FetchFailure.DISK_FULL
        assert says in error.message

    def test_other_trouble_of_the_disk_is_not_hidden(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        with pytest.raises(OSError, match="refused") as caught:
            fetch(NAME, destination, endpoint=hub.url, progress=refusing(errno.EIO))
        assert caught.value.errno == errno.EIO


class TestPlace:
    def test_what_is_there_is_left_alone(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        fetch(NAME, destination, endpoint=hub.url)
        (destination / "mine.txt").touch()
        fetch(NAME, destination, endpoint=hub.url)
        assert (destination / "mine.txt").exists()
        assert len(hub.requests_of(f"|{WEIGHTS}")) == 1

    def test_a_broken_folder_is_refused(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        destination.mkdir(parents=True)
        (destination / "config.json").write_text("{}")
        with pytest.raises(WeightsBroken, match=WEIGHTS):
            fetch(NAME, destination, endpoint=hub.url)

    def test_replaced_on_demand(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        destination.mkdir(parents=True)
        (destination / "config.json").write_text("{}")
        fetch(NAME, destination, endpoint=hub.url, replace=True)
        assert (destination / WEIGHTS).exists()
        assert [entry.name for entry in staging_folder(destination).parent.iterdir()] in ([], [".tiny-reranker.lock"])

    def test_a_link_is_replaced_but_not_followed(
        self, hub: FakeHub, repository: FakeRepository, destination: Path, tmp_path: Path
    ) -> None:
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "config.json").write_text("{}")
        destination.parent.mkdir()
        destination.symlink_to(elsewhere)
        fetch(NAME, destination, endpoint=hub.url, replace=True)
        assert not destination.is_symlink()
        assert (elsewhere / "config.json").exists()

    def test_a_failed_replacement_keeps_the_old_model(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        fetch(NAME, destination, endpoint=hub.url)
        repository.files[WEIGHTS].served = b"rubbish"
        with pytest.raises(WeightsMissing):
            fetch(NAME, destination, endpoint=hub.url, replace=True)
        assert read_checkpoint(destination)

    def test_a_rename_that_fails_puts_the_old_model_back(self, destination: Path) -> None:
        destination.mkdir(parents=True)
        (destination / "old").touch()
        staging_folder(destination).parent.mkdir()
        with pytest.raises(FileNotFoundError):
            staging.put_in_place(staging_folder(destination), destination, replace=True)
        assert (destination / "old").exists()

    @pytest.mark.parametrize(
        ("occupy", "told"),
        [
            (lambda place: place.write_text("mine"), "is no folder"),
            (lambda place: place.symlink_to("nowhere"), "is a link that leads to no model"),
            (lambda place: [place.mkdir(), (place / ".git").mkdir()], r"holds '\.git'"),
        ],
        ids=["file", "dangling-link", "hidden-entries"],
    )
    def test_only_a_replacement_removes_what_is_no_model(
        self,
        hub: FakeHub,
        repository: FakeRepository,
        destination: Path,
        occupy: Callable[[Path], object],
        told: str,
    ) -> None:
        destination.parent.mkdir()
        occupy(destination)
        before = destination.lstat()
        with pytest.raises(WeightsBroken, match=f"models/tiny-reranker {told}, where {NAME} belongs") as caught:
            fetch(NAME, destination, endpoint=hub.url)
        assert f"`{download_command(NAME)} --force`" in caught.value.message
        assert destination.lstat() == before
        assert not hub.requests_of(WEIGHTS)

        fetch(NAME, destination, endpoint=hub.url, replace=True)
        assert read_checkpoint(destination)

    def test_an_empty_folder_gives_way(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        destination.mkdir(parents=True)
        fetch(NAME, destination, endpoint=hub.url)
        assert read_checkpoint(destination)

    def test_what_comes_during_a_download_stays(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        def put(_done: int, _total: int) -> None:
            destination.mkdir(exist_ok=True)
            (destination / "config.json").write_text("mine")

        with pytest.raises(OSError, match="not empty"):
            fetch(NAME, destination, endpoint=hub.url, progress=put)
        assert (destination / "config.json").read_text() == "mine"

    def test_a_model_may_be_named_as_a_lock_is(self, hub: FakeHub, destination: Path) -> None:
        other = destination.with_name("tiny-reranker.lock")
        for name, place in ((NAME, destination), (f"{NAME}.lock", other)):
            hub.add_repository(name, tiny_checkpoint())
            fetch(name, place, endpoint=hub.url)
        assert [read_checkpoint(place).folder for place in (destination, other)] == [destination, other]

    def test_an_unfinished_model_named_as_a_replaced_one_is_kept(
        self, hub: FakeHub, repository: FakeRepository, destination: Path
    ) -> None:
        unfinished = staging_folder(destination.with_name("tiny-reranker.replaced"))
        unfinished.mkdir(parents=True)
        (unfinished / "config.json").write_text("{}")
        fetch(NAME, destination, endpoint=hub.url, replace=True)
        assert (unfinished / "config.json").exists()

    def test_two_at_once_fetch_once(self, hub: FakeHub, repository: FakeRepository, destination: Path) -> None:
        weights = repository.files[WEIGHTS]
        weights.holding = True
        first = threading.Thread(target=fetch, args=(NAME, destination), kwargs={"endpoint": hub.url})
        second = threading.Thread(target=fetch, args=(NAME, destination), kwargs={"endpoint": hub.url})
        first.start()
        assert weights.held.wait(20)
        second.start()
        weights.release.set()
        first.join()
        second.join()
        assert is_started(destination)
        assert len(hub.requests_of(f"|{WEIGHTS}")) == 1


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (4_200, "4 kB"),
        (999_900, "1 MB"),
        (999_900_000, "1.0 GB"),
        (2_290_000_000, "2.3 GB"),
    ],
)
def test_human_size(size: int, text: str) -> None:
    assert human_size(size) == text


@pytest.fixture
def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
