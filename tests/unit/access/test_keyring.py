from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from rerank.access.keyring import Keyring, collect_keys, key_hash
from rerank.core import Caller
from rerank.errors import SettingsError


def test_each_key_stands_for_its_caller() -> None:
    chat = Caller("chat", models=("a/b",))
    ring = Keyring(collect_keys(("one", "two"), ("root",), {key_hash("three"): chat}))
    assert [ring.caller_of(key) for key in ("one", "two", "root", "three")] == [
        Caller("api-key"),
        Caller("api-key-2"),
        Caller("admin-key", admin=True),
        chat,
    ]


@pytest.mark.parametrize("wrong", ["", "On", "onee", "ONE", "one ", "one,root", key_hash("one"), "\udcff", "ключ"])
def test_a_wrong_key_has_no_caller(wrong: str) -> None:
    assert Keyring(collect_keys(("one",), ("root",))).caller_of(wrong) is None


def test_a_key_of_both_kinds_is_an_operators() -> None:
    caller = Keyring(collect_keys(("both",), ("both",))).caller_of("both")
    assert caller
    assert caller.admin


@pytest.mark.parametrize(
    ("api_keys", "admin_keys", "named", "guarded", "has_admins"),
    [
        ((), (), {}, False, False),
        (("one",), (), {}, True, False),
        ((), ("root",), {}, False, True),
        ((), (), {"hash": Caller("chat")}, True, False),
        ((), (), {"hash": Caller("boss", admin=True)}, False, True),
    ],
)
def test_admin_keys_alone_leave_scoring_open(
    api_keys: tuple[str, ...], admin_keys: tuple[str, ...], named: dict[str, Caller], guarded: bool, has_admins: bool
) -> None:
    keys = collect_keys(api_keys, admin_keys, named)
    assert (keys.guarded, keys.has_admins) == (guarded, has_admins)


@pytest.mark.parametrize(
    ("before", "after", "opens"),
    [(True, True, False), (True, False, True), (False, False, False), (False, True, False)],
)
def test_fresh_keys_must_not_open_a_guarded_server(before: bool, after: bool, opens: bool) -> None:
    keys = {True: collect_keys(("one",)), False: collect_keys((), ("root",))}
    with pytest.raises(SettingsError) if opens else nullcontext() as refused:
        Keyring(keys[before]).check(keys[after], Path("my-keys.toml"))
    if refused:
        assert str(refused.value) == (
            "my-keys.toml: no key is left, which would open the server to all clients; restart it if that is meant"
        )


def test_no_key_stands_in_what_is_kept() -> None:
    keys = collect_keys(("s3cret",), ("adm1n",))
    assert "s3cret" not in repr(keys)
    assert "adm1n" not in repr(keys)


def test_models_are_known_by_their_ids() -> None:
    keys = collect_keys((), (), {"hash": Caller("chat", models=("B",)), "other": Caller("all")})
    resolved = keys.allowing(lambda name: f"maker/{name.lower()}")
    assert [caller.models for caller in resolved.callers.values()] == [("maker/b",), None]


def test_a_model_that_is_not_there_is_said_with_the_key() -> None:
    def resolve(name: str) -> str:
        raise SettingsError(f"The model `{name}` does not exist.")

    with pytest.raises(SettingsError, match="key chat: The model `nope` does not exist"):
        collect_keys((), (), {"hash": Caller("chat", models=("nope",))}).allowing(resolve)
