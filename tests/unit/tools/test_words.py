from __future__ import annotations

import pytest

from tools.words import BETTER, found_in


@pytest.mark.parametrize("word", BETTER)
def test_finds_each_word_with_its_line(word: str) -> None:
    assert list(found_in(f"first line\n# It stands {word.capitalize()}, here.")) == [(2, word)]


@pytest.mark.parametrize("text", ["test_without_one_nobody_may", "soak/nobody-asks", "besides", "in workers", "until"])
def test_passes_over_names_and_longer_words(text: str) -> None:
    assert list(found_in(text)) == []
