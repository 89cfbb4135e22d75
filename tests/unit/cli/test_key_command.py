from __future__ import annotations

from pathlib import Path

import pytest

from rerank.access.keyring import key_hash
from rerank.access.keys_file import read_keys_file
from rerank.cli.main import main
from rerank.core import Caller


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RERANK_KEYS_FILE", raising=False)
    return tmp_path


def test_a_new_key_is_printed_once_and_its_hash_kept(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["key", "new", "chat"]) == 0
    shown = capsys.readouterr()
    assert shown.err == "added chat to keys.toml; this is the only time its key is shown:\n"
    # alone on its line, so that a script can take it
    key = shown.out.removesuffix("\n")
    assert read_keys_file(folder / "keys.toml") == {key_hash(key): Caller("chat")}


def test_a_new_key_takes_every_option(folder: Path) -> None:
    given = ["new", "shop", "--model", "bge-reranker-base", "--model", "maker/other", "--admin"]
    assert main(["key", *given, "--requests-per-minute", "60", "--tokens-per-minute", "9000"]) == 0
    assert list(read_keys_file(folder / "keys.toml").values()) == [
        Caller(
            "shop",
            admin=True,
            models=("BAAI/bge-reranker-base", "maker/other"),
            requests_per_minute=60,
            tokens_per_minute=9000,
        )
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a b"], "name: String should match pattern"),
        (["chat", "--requests-per-minute", "0"], "requests-per-minute: Input should be greater than or equal to 1"),
        (["chat", "--requests-per-minute", str(2**63)], "requests-per-minute: Input should be less than or equal to"),
        (["chat", "--model", "bge-reranker-bas"], "BAAI/bge-reranker-base"),
        (["known"], "there is a key known; delete its entry first"),
    ],
)
def test_an_invalid_key_is_refused_and_nothing_written(
    capsys: pytest.CaptureFixture[str], folder: Path, arguments: list[str], said: str
) -> None:
    assert main(["key", "new", "known"]) == 0
    before = (folder / "keys.toml").read_text()
    capsys.readouterr()
    assert main(["key", "new", *arguments]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert (folder / "keys.toml").read_text() == before


def test_the_largest_limit_can_be_read_again(folder: Path) -> None:
    assert main(["key", "new", "chat", "--requests-per-minute", str(2**63 - 1)]) == 0
    (caller,) = read_keys_file(folder / "keys.toml").values()
    assert caller.requests_per_minute == 2**63 - 1


def test_help_says_that_the_key_is_printed_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["key", "new", "--help"]) == 0
    assert "printed once" in capsys.readouterr().out
