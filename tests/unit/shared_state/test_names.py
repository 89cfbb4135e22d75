from __future__ import annotations

import pytest

from rerank.shared_state.names import hashed


@pytest.mark.parametrize(
    ("name", "digits"),
    [
        ("", "cae66941d9efbd404e4d88758ea67670"),
        ("chat", None),
        ("ü" * 10_000, None),
        ("\ud800:*\n", None),
    ],
)
def test_a_name_of_any_length_and_characters_is_32_digits(name: str, digits: str | None) -> None:
    found = hashed(name)
    assert len(found) == 32
    assert set(found) <= set("0123456789abcdef")
    assert digits in (None, found)


def test_callers_of_different_names_do_not_share_a_limit() -> None:
    assert len({hashed(name) for name in ("a", "b", "", "a ", "A")}) == 5
