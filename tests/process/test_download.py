"""The download command as a user meets it: arguments, what it prints, its exit status, and what is on disk after."""

from __future__ import annotations

import io
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.catalog import download_command
from rerank.catalog.checkpoint import read_checkpoint
from rerank.catalog.staging import staging_folder
from rerank.cli.main import main
from tests.process.server import clean_environment, wait_for_bytes
from tests.support.fake_hub import FakeHub, FakeRepository, tiny_checkpoint

ROOT = Path(__file__).parents[2]
NAME = "org/tiny-reranker"
WEIGHTS = "model.safetensors"


class Outcome(NamedTuple):
    """What a run left: its exit status and what it printed."""

    status: int
    out: str
    err: str


@pytest.fixture
def repository(hub: FakeHub) -> FakeRepository:
    return hub.add_repository(NAME, tiny_checkpoint())


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


@pytest.fixture
def command(
    hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.chdir(tmp_path)
    for variable in ("RERANK_MODELS_DIR", "RERANK_MODELS_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    return Command(capsys, monkeypatch)


class Command:
    """Runs the command inside this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.on_terminal = False
        self._capsys = capsys
        self._monkeypatch = monkeypatch

    def __call__(self, *arguments: str) -> Outcome:
        self._capsys.readouterr()
        for stream in (sys.stdin, sys.stdout):
            self._monkeypatch.setattr(stream, "isatty", lambda: self.on_terminal, raising=False)
        status = main(["pull", *arguments])
        printed = self._capsys.readouterr()
        return Outcome(status, printed.out, printed.err)


def visible(models: Path) -> list[str]:
    """What a server would see in the models folder."""
    return sorted(entry.name for entry in models.iterdir() if entry.name != ".incomplete") if models.is_dir() else []


def start(hub: FakeHub, folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The real command in a process of its own, with a Hugging Face home of its own."""
    return subprocess.Popen(
        [sys.executable, str(ROOT / "download_model.py"), *arguments],
        cwd=folder,
        env=clean_environment(folder) | {"HF_ENDPOINT": hub.url},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a test run in the background may ignore Ctrl-C, and its children would inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


class TestFetching:
    def test_pull_fetches_a_model(self, command: Command, repository: FakeRepository, models: Path) -> None:
        outcome = command(NAME)
        assert outcome == (0, f"{NAME}: 17 kB in models/tiny-reranker\n", f"{NAME}: fetching\n")
        assert read_checkpoint(models / "tiny-reranker")

    def test_quiet_prints_only_the_result(self, command: Command, repository: FakeRepository) -> None:
        assert command(NAME, "--quiet").err == ""

    def test_pull_into_another_folder(self, command: Command, repository: FakeRepository, tmp_path: Path) -> None:
        assert command(NAME, "--dir", "elsewhere").status == 0
        assert read_checkpoint(tmp_path / "elsewhere" / "tiny-reranker")

    def test_pull_by_a_name_of_the_models_file(
        self, command: Command, repository: FakeRepository, tmp_path: Path
    ) -> None:
        (tmp_path / "models.toml").write_text(f'[[model]]\nid = "own"\naliases = ["nick"]\nrepo = "{NAME}"\n')
        assert command("nick").out == "own: 17 kB in models/own\n"

    def test_pull_all_bundled_models(self, command: Command, hub: FakeHub, models: Path) -> None:
        for card in BUILT_IN:
            if card.repo:
                hub.add_repository(card.repo, tiny_checkpoint(), branches=(card.revision or "main",))
        assert command("--all", "bge-reranker-base").status == 0
        assert visible(models) == sorted(card.basename for card in BUILT_IN if card.repo)
        # one for the address, one at the place it leads to
        assert len(hub.requests_of(WEIGHTS)) == 2 * len(visible(models))

    @pytest.mark.parametrize(
        ("name", "licence"),
        [
            ("BAAI/bge-reranker-base", "MIT"),
            ("jinaai/jina-reranker-v2-base-multilingual", "CC-BY-NC-4.0, not commercial"),
        ],
        ids=["free", "not-commercial"],
    )
    def test_pull_prints_the_licence_of_a_known_model(
        self, command: Command, hub: FakeHub, name: str, licence: str
    ) -> None:
        hub.add_repository(name, tiny_checkpoint())
        licensed, fetched = command(name).out.splitlines()
        assert licensed == f"{name}: licence {licence}"
        assert fetched.startswith(f"{name}: 17 kB in models/")
        # nothing is fetched
        assert "licence" not in command(name).out

    def test_the_bundled_weights_are_not_fetched(self, command: Command, hub: FakeHub) -> None:
        outcome = command("all-MiniLM-L6-v2")
        assert outcome.status == 0
        assert "bundled with the server" in outcome.out
        assert not hub.requests

    @pytest.mark.parametrize(
        ("name", "status", "said"), [("lexical", 1, "no weights to download"), ("", 2, "is empty")]
    )
    def test_what_has_no_weights_or_no_name_is_not_fetched(
        self, command: Command, hub: FakeHub, name: str, status: int, said: str
    ) -> None:
        outcome = command(name)
        assert outcome.status == status
        assert said in outcome.err
        assert not hub.requests

    def test_only_needed_files_are_fetched(self, command: Command, hub: FakeHub, models: Path) -> None:
        hub.add_repository(NAME, tiny_checkpoint() | {"pytorch_model.bin": b"pickle", "README.md": b"hello"})
        assert command(NAME).status == 0
        assert not hub.requests_of("pytorch_model.bin")
        assert not hub.requests_of("README.md")

    def test_a_broken_connection_is_resumed(self, command: Command, hub: FakeHub, repository: FakeRepository) -> None:
        repository.files[WEIGHTS].breaks = 1
        assert command(NAME).status == 0
        assert hub.ranges


def pickled(**more: Any) -> dict[str, bytes]:
    """The files of ``tiny_checkpoint`` with its weights as a pickle, and ``more`` in that."""
    files = tiny_checkpoint()
    weights = io.BytesIO()
    torch.save({"weight": torch.ones(4096)} | more, weights)
    del files[WEIGHTS]
    return files | {"pytorch_model.bin": weights.getvalue()}


class TestConvert:
    def test_pickles_become_safetensors(self, command: Command, hub: FakeHub, models: Path) -> None:
        hub.add_repository(NAME, pickled())

        outcome = command(NAME, "--convert")
        assert outcome.status == 0
        assert "converted to safetensors: pytorch_model.bin" in outcome.out
        folder = models / "tiny-reranker"
        assert sorted(file.name for file in folder.iterdir() if not file.name.startswith(".")) == [
            "config.json",
            WEIGHTS,
            "tokenizer.json",
        ]
        assert torch.equal(load_file(folder / WEIGHTS)["weight"], torch.ones(4096))
        assert "already on disk" in command(NAME, "--convert").out

    def test_only_on_that_wish(self, command: Command, hub: FakeHub, models: Path) -> None:
        hub.add_repository(NAME, pickled())

        outcome = command(NAME)
        assert outcome.status == 3
        assert "`rerank pull --convert` converts the pickles instead" in outcome.err
        assert visible(models) == []
        assert not hub.requests_of("pytorch_model.bin")

    def test_safetensors_are_taken_where_there_are_any(self, command: Command, hub: FakeHub) -> None:
        hub.add_repository(NAME, pickled() | tiny_checkpoint())

        assert command(NAME, "--convert").status == 0
        assert not hub.requests_of("pytorch_model.bin")

    def test_a_pickle_that_names_more_than_tensors_leaves_nothing(
        self, command: Command, hub: FakeHub, models: Path
    ) -> None:
        hub.add_repository(NAME, pickled(more=Path("elsewhere")))

        outcome = command(NAME, "--convert")
        assert outcome.status == 7
        assert "holds more than weights" in outcome.err
        assert visible(models) == []
        assert not list(models.glob(".incomplete/*/*"))

    def test_a_folder_on_disk_is_converted_in_place(self, command: Command, models: Path, hub: FakeHub) -> None:
        folder = models / "tiny-reranker"
        folder.mkdir(parents=True)
        for name, content in pickled().items():
            (folder / name).write_bytes(content)

        outcome = command(NAME, "--convert")
        assert outcome.status == 0
        assert "pytorch_model.bin is no longer needed and can be deleted" in outcome.out
        assert (folder / "pytorch_model.bin").is_file()
        assert torch.equal(load_file(folder / WEIGHTS)["weight"], torch.ones(4096))
        assert not hub.requests

    def test_there_has_to_be_room_for_both(
        self, command: Command, hub: FakeHub, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub.add_repository(NAME, pickled())
        size = sum(len(content) for content in pickled().values())
        monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=size + 50_010_000))

        outcome = command(NAME, "--convert")
        assert outcome.status == 6
        assert "more on the disk of the models folder" in outcome.err


class TestWhatIsThere:
    def test_a_whole_model_is_skipped(self, command: Command, hub: FakeHub, repository: FakeRepository) -> None:
        command(NAME)
        hub.requests.clear()
        assert command(NAME) == (0, f"{NAME}: already on disk, 17 kB in models/tiny-reranker\n", "")
        assert not hub.requests

    def test_force_fetches_again(self, command: Command, hub: FakeHub, repository: FakeRepository) -> None:
        command(NAME)
        hub.requests.clear()
        assert command(NAME, "--force").status == 0
        assert hub.requests_of(WEIGHTS)

    def test_a_broken_model_needs_force(self, command: Command, repository: FakeRepository, models: Path) -> None:
        command(NAME)
        (models / "tiny-reranker" / WEIGHTS).write_bytes(b"cut")

        refused = command(NAME)
        assert refused.status == 7
        assert f"tiny-reranker/{WEIGHTS} is corrupt or cut short" in refused.err
        assert "--force" in refused.err
        assert (models / "tiny-reranker" / WEIGHTS).read_bytes() == b"cut"

        assert command(NAME, "--force").status == 0
        assert read_checkpoint(models / "tiny-reranker")
        assert visible(models) == ["tiny-reranker"]

    def test_a_file_in_the_place_of_a_model_needs_force(
        self, command: Command, repository: FakeRepository, models: Path
    ) -> None:
        models.mkdir()
        (models / "tiny-reranker").write_text("mine")

        refused = command(NAME)
        assert refused.status == 7
        assert "models/tiny-reranker is no folder" in refused.err
        assert (models / "tiny-reranker").read_text() == "mine"

        assert command(NAME, "--force").status == 0
        assert read_checkpoint(models / "tiny-reranker")

    def test_another_revision_replaces_the_model(
        self, command: Command, hub: FakeHub, repository: FakeRepository, models: Path
    ) -> None:
        older = hub.add_repository(NAME, tiny_checkpoint(seed=1), branches=("v1",))
        weights = models / "tiny-reranker" / WEIGHTS
        command(NAME)
        hub.requests.clear()

        assert "already on disk" in command(NAME, "--revision", repository.commit).out
        assert not hub.requests
        assert "already on disk" in command(NAME, "--revision", "main").out
        assert command(NAME, "--revision", "v1").status == 0
        assert weights.read_bytes() == older.files[WEIGHTS].content

    def test_a_revision_pinned_by_the_models_file_is_fetched(
        self, command: Command, hub: FakeHub, repository: FakeRepository, models: Path, tmp_path: Path
    ) -> None:
        pinned = hub.add_repository(NAME, tiny_checkpoint(seed=1), branches=("v1",))
        command(NAME)
        (tmp_path / "models.toml").write_text(f'[[model]]\nid = "{NAME}"\nrevision = "v1"\n')
        assert command(NAME).status == 0
        assert (models / "tiny-reranker" / WEIGHTS).read_bytes() == pinned.files[WEIGHTS].content

        hub.requests.clear()
        assert "already on disk" in command(NAME).out
        assert not hub.requests

    def test_a_revision_of_a_copied_folder_is_unknown(
        self, command: Command, repository: FakeRepository, models: Path
    ) -> None:
        (models / "tiny-reranker").mkdir(parents=True)
        for name, content in tiny_checkpoint().items():
            (models / "tiny-reranker" / name).write_bytes(content)
        outcome = command(NAME, "--revision", "main")
        assert outcome.status == 1
        assert "--force replaces it" in outcome.err

    def test_a_local_folder_cannot_be_fetched_again(self, command: Command, models: Path) -> None:
        (models / "mine").mkdir(parents=True)
        for name, content in tiny_checkpoint().items():
            (models / "mine" / name).write_bytes(content)
        assert command("mine").status == 0
        assert command("mine", "--force").status == 1


class TestFailures:
    @pytest.mark.parametrize(("status", "exit_status"), [(404, 3), (401, 4), (403, 4), (500, 5)])
    def test_every_status_of_the_hub_has_an_exit_status(
        self, command: Command, repository: FakeRepository, models: Path, status: int, exit_status: int
    ) -> None:
        repository.status = status
        outcome = command(NAME)
        assert outcome.status == exit_status
        assert "rerank: " in outcome.err
        assert outcome.out == ""
        assert visible(models) == []

    @pytest.mark.parametrize("endpoint", ["https://me:secret@[::1", "https://hub:port", "https://", "me:secret@hub"])
    def test_an_endpoint_that_is_no_address_is_wrong_usage(self, command: Command, endpoint: str) -> None:
        outcome = command(NAME, "--endpoint", endpoint)
        assert outcome.status == 2
        assert "--endpoint: it has to be a whole address that begins with https:// or http://" in outcome.err
        assert "secret" not in outcome.err

    def test_an_unknown_revision_is_not_found(self, command: Command, repository: FakeRepository) -> None:
        assert command(NAME, "--revision", "v9").status == 3

    def test_a_gated_repository_is_no_access(self, command: Command, repository: FakeRepository) -> None:
        repository.gated = True
        outcome = command(NAME)
        assert outcome.status == 4
        assert "accept its licence" in outcome.err

    def test_a_repository_without_safetensors_is_not_found(self, command: Command, hub: FakeHub) -> None:
        hub.add_repository(NAME, {"config.json": b"{}", "pytorch_model.bin": b"pickle"})
        assert command(NAME).status == 3

    def test_an_unreachable_hub_has_its_exit_status_without_a_pause(
        self, command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("it waited"))
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        outcome = command(NAME, "--endpoint", f"http://127.0.0.1:{port}")
        assert outcome.status == 5
        assert f"`{download_command(NAME)}`" in outcome.err

    def test_a_full_disk_has_its_exit_status(
        self, command: Command, repository: FakeRepository, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10, 10, 0))
        outcome = command(NAME)
        assert outcome.status == 6
        assert "needs 50 MB more" in outcome.err

    def test_a_models_folder_that_is_a_file_is_wrong_usage(
        self, command: Command, repository: FakeRepository, models: Path
    ) -> None:
        models.touch()
        outcome = command(NAME)
        assert outcome.status == 2
        assert "Traceback" not in outcome.err

    def test_a_corrupt_file_is_refused_and_fetched_again(
        self, command: Command, repository: FakeRepository, models: Path
    ) -> None:
        weights = repository.files[WEIGHTS]
        weights.served = bytes(len(weights.content))
        outcome = command(NAME)
        assert outcome.status == 7
        assert f"{WEIGHTS} of {NAME}" in outcome.err
        assert visible(models) == []

        weights.served = None
        assert command(NAME).status == 0

    def test_the_rest_is_fetched_after_a_failure(
        self, command: Command, repository: FakeRepository, models: Path
    ) -> None:
        outcome = command("org/absent", NAME, "org/other")
        assert outcome.status == 3
        assert outcome.out == f"{NAME}: 17 kB in models/tiny-reranker\n"
        assert visible(models) == ["tiny-reranker"]


class TestUsage:
    def test_no_names_without_a_terminal_are_wrong_usage(self, command: Command) -> None:
        outcome = command()
        assert outcome.status == 2
        assert "--list" in outcome.err

    def test_an_unknown_name_is_wrong_usage(self, command: Command, hub: FakeHub) -> None:
        outcome = command(NAME, "bge-reranker-bas")
        assert outcome.status == 2
        assert "Known models: BAAI/bge-reranker-base" in outcome.err
        assert not hub.requests

    def test_an_impossible_repository_name_is_wrong_usage(self, command: Command, hub: FakeHub) -> None:
        outcome = command("org/two words")
        assert outcome.status == 2
        assert "org/two words" in outcome.err
        assert not hub.requests

    def test_a_revision_goes_with_one_model(self, command: Command) -> None:
        assert command("--all", "--revision", "main").status == 2

    def test_an_invalid_models_file_is_wrong_usage(self, command: Command, tmp_path: Path) -> None:
        (tmp_path / "models.toml").write_text("[")
        assert command("--list").status == 2

    def test_help_documents_the_exit_status(self, command: Command) -> None:
        outcome = command("--help")
        assert outcome.status == 0
        assert "130  interrupted" in outcome.out

    def test_list_shows_known_models_and_their_state(
        self, command: Command, repository: FakeRepository, models: Path
    ) -> None:
        command(NAME)
        (models / "bge-reranker-base").mkdir()
        (models / "bge-reranker-base" / "config.json").touch()
        unfinished = staging_folder(models / "bge-reranker-large")
        unfinished.mkdir()
        (unfinished / "config.json").touch()

        outcome = command("--list")
        lines = {line.split("  ")[0]: line for line in outcome.out.splitlines()}
        assert outcome.status == 0
        assert next(iter(lines)) == "name"
        assert lines["BAAI/bge-reranker-base"].endswith("broken")
        assert lines["BAAI/bge-reranker-large"].endswith("incomplete, will resume")
        assert lines["BAAI/bge-reranker-v2-m3"].endswith("-")
        assert lines[NAME].endswith("on disk")
        assert "2.3 GB" in lines["BAAI/bge-reranker-v2-m3"]


class TestMenu:
    @pytest.fixture
    def answers(self, command: Command, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        """What the user types, line by line; then the input ends."""
        given: list[str] = []

        def answer(_prompt: str) -> str:
            if not given:
                raise EOFError
            return given.pop(0)

        monkeypatch.setattr("builtins.input", answer)
        command.on_terminal = True
        return given

    def test_the_menu_takes_numbers_and_names(
        self, command: Command, hub: FakeHub, repository: FakeRepository, models: Path, answers: list[str]
    ) -> None:
        hub.add_repository("BAAI/bge-reranker-base", tiny_checkpoint())
        answers.append(f"1, {NAME}")
        outcome = command()
        assert outcome.status == 0
        assert "Chinese, English; MIT" in outcome.out
        assert visible(models) == ["bge-reranker-base", "tiny-reranker"]

    def test_no_name_is_cut_short_in_a_narrow_terminal(
        self, command: Command, answers: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("COLUMNS", "60")
        name = f"organisation/{'long-' * 9}reranker"
        (tmp_path / "models.toml").write_text(f'[[model]]\nid = "{name}"\n')
        command.on_terminal = True
        shown = command().out
        assert "…" not in shown
        column = "".join(line.split("│")[2].strip() for line in shown.splitlines() if line.startswith("│"))
        assert name in column
        assert all(len(line) <= 60 for line in shown.splitlines() if line.startswith("│"))

    def test_the_menu_asks_again_after_a_wrong_answer(
        self, command: Command, repository: FakeRepository, models: Path, answers: list[str]
    ) -> None:
        answers.extend(["99", "nonsense", NAME])
        outcome = command()
        assert outcome.status == 0
        assert "there is no number 99" in outcome.err
        assert "`nonsense` does not exist" in outcome.err
        assert visible(models) == ["tiny-reranker"]

    @pytest.mark.parametrize("typed", [[], [""]])
    def test_an_empty_answer_quits_the_menu(
        self, command: Command, hub: FakeHub, answers: list[str], typed: list[str]
    ) -> None:
        answers.extend(typed)
        assert command().status == 0
        assert not hub.requests

    def test_ctrl_c_at_the_menu_is_interrupted(
        self, command: Command, answers: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupt(_prompt: str) -> str:
            raise KeyboardInterrupt

        monkeypatch.setattr("builtins.input", interrupt)
        assert command().status == 130


class TestProcess:
    def test_an_interrupted_download_is_resumed(
        self, hub: FakeHub, repository: FakeRepository, models: Path, tmp_path: Path
    ) -> None:
        weights = repository.files[WEIGHTS]
        weights.content = tiny_checkpoint(size=1 << 20)[WEIGHTS]
        weights.holding = True
        process = start(hub, tmp_path, NAME)
        assert weights.held.wait(30)
        wait_for_bytes(models / ".incomplete" / "tiny-reranker")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == 130
        assert err.endswith("rerank: interrupted; run the same command again to resume\n")
        assert "Traceback" not in err
        assert visible(models) == []

        weights.holding = False
        weights.release.set()
        resumed = start(hub, tmp_path, NAME)
        out, err = resumed.communicate(timeout=30)
        assert (resumed.returncode, out) == (0, f"{NAME}: 4 MB in models/tiny-reranker\n"), err
        assert hub.ranges, "the second run asks only for what is missing"
        assert (models / "tiny-reranker" / WEIGHTS).read_bytes() == weights.content

    def test_two_downloads_of_one_model_fetch_it_once(
        self, hub: FakeHub, repository: FakeRepository, tmp_path: Path
    ) -> None:
        weights = repository.files[WEIGHTS]
        weights.holding = True
        first = start(hub, tmp_path, NAME)
        assert weights.held.wait(30)
        second = start(hub, tmp_path, NAME)
        assert second.stderr is not None
        assert "fetching" in second.stderr.readline()
        assert "waiting" in second.stderr.readline()
        weights.release.set()
        for process in (first, second):
            out, err = process.communicate(timeout=30)
            assert (process.returncode, out) == (0, f"{NAME}: 17 kB in models/tiny-reranker\n"), err
        assert len(hub.requests_of(f"|{WEIGHTS}")) == 1

    def test_pull_imports_no_heavy_libraries(self) -> None:
        loaded = "import sys, rerank.cli.pull; print(sorted({'torch', 'transformers', 'rich'} & set(sys.modules)))"
        run = subprocess.run([sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, text=True, check=True)
        assert run.stdout == "[]\n"
