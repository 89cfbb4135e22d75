from __future__ import annotations

import re
from pathlib import Path

import pytest

from rerank.access.keyring import Keyring, collect_keys, key_hash
from rerank.access.keys_file import add_key, read_keys_file
from rerank.core import Caller
from rerank.errors import SettingsError

HASH = key_hash("a key")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.toml"


def test_without_a_file_there_are_no_keys(file: Path) -> None:
    assert read_keys_file(file) == {}


def test_what_was_added_is_read_again(file: Path) -> None:
    callers = [
        Caller("chat-1"),
        Caller("shop", models=("BAAI/bge-reranker-base", "a/b"), requests_per_minute=60, tokens_per_minute=1000),
        Caller("boss", admin=True),
    ]
    keys = [add_key(file, caller) for caller in callers]
    ring = Keyring(collect_keys(named=read_keys_file(file)))
    assert [ring.caller_of(key) for key in keys] == callers


def test_the_file_holds_hashes_and_only_its_owner_may_read_it(file: Path) -> None:
    key = add_key(file, Caller("chat"))
    assert re.fullmatch(r"rk-[\w-]{43}", key)
    assert key not in file.read_text()
    assert key_hash(key) in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


def test_what_a_person_wrote_there_stays(file: Path) -> None:
    file.write_text(f'# mine\n[[key]]\nname = "old"\nsha256 = "{HASH.upper()}"\n')
    add_key(file, Caller("new"))
    assert file.read_text().startswith("# mine\n[[key]]\n")
    assert [caller.name for caller in read_keys_file(file).values()] == ["old", "new"]
    assert next(iter(read_keys_file(file))) == HASH


@pytest.mark.parametrize(
    "written", ["# mine", "# mine\n", f'[[key]]\nname = "old"\nsha256 = "{HASH}"', "\n", "\ufeff# mine"]
)
def test_a_key_begins_on_a_line_of_its_own(file: Path, written: str) -> None:
    file.write_text(written, encoding="utf-8")
    add_key(file, Caller("new"))
    assert file.read_text(encoding="utf-8").startswith(written)
    assert "new" in {caller.name for caller in read_keys_file(file).values()}


def test_two_keys_of_one_name_cannot_be(file: Path) -> None:
    add_key(file, Caller("chat"))
    before = file.read_text()
    with pytest.raises(SettingsError, match="there is a key chat"):
        add_key(file, Caller("chat"))
    assert file.read_text() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it holds no key; delete it"),
        ("# nobody", "it holds no key"),
        ("[[key", "not valid TOML"),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\nrequests_per_minute = {"9" * 4301}', "not valid TOML"),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\ntokens_per_minute = 0x{"f" * 5000}', "not valid TOML"),
        (f'[[key]]\nsha256 = "{HASH}"', "key.0.name: Field required"),
        ('[[key]]\nname = "a"', "key.0.sha256: Field required"),
        (f'[[key]]\nname = "a b"\nsha256 = "{HASH}"', "key.0.name"),
        ('[[key]]\nname = "a"\nsha256 = "s3cret"', "key.0.sha256"),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\nmodels = []', "key.0.models"),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\nrequests_per_minute = 0', "key.0.requests_per_minute"),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\nadmin = "yes"', "key.0.admin"),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\nrpm = 3', "key.0.rpm: there is no such field, only "),
        (f'[[key]]\nname = "a"\nsha256 = "{HASH}"\n' * 2, "two keys have the name a"),
        (
            f'[[key]]\nname = "a"\nsha256 = "{HASH}"\n[[key]]\nname = "b"\nsha256 = "{HASH}"',
            f"two keys have the sha256 {HASH}",
        ),
    ],
)
def test_a_wrong_file_is_refused_and_says_no_secret(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(SettingsError, match=re.escape(said)) as refusal:
        read_keys_file(file)
    assert str(file) in str(refusal.value)
    assert "s3cret" not in str(refusal.value)


def test_a_place_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be written: No such file or directory"):
        add_key(tmp_path / "nowhere" / "keys.toml", Caller("chat"))
