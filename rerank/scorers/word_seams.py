"""Tokenizers that make no token across the space between two words, and the words that keep apart from others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

from tokenizers import Tokenizer

_LONGEST = 64
"""Maximum characters of a word that is looked up."""
_WITHOUT_SPACES = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
"""Pre-tokenizers after which no space is left."""
_WITHIN_WORDS = {"Digits", "Punctuation"}
_LOCAL_FORMS = {
    "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Strip", "StripAccents",
}  # fmt: skip
"""Normalizers that change nothing on one side of a space because of what stands on the other."""
_ENDINGS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PATTERNS = {
    # GPT-2, Qwen2 and 3, Llama 3
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    _ENDINGS + _REST,
    _ENDINGS + r"{1,3}" + _REST,
}
"""Patterns of which nothing matches a space behind something else, whatever precedes it."""


class Seams(NamedTuple):
    """A tokenizer that makes no token across a space."""

    normalizer: Any
    named: re.Pattern[str]
    """Added tokens, which may reach across spaces."""
    keeps_spaces: bool
    strips: bool
    """True if spaces around a text are left out."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Seams | None:
        """None for a tokenizer that may make tokens across a space."""
        normalizer, forms, parts = tokenizer.normalizer, steps(tokenizer.normalizer), steps(tokenizer.pre_tokenizer)
        added = list(tokenizer.get_added_tokens_decoder().values())
        if not (_splits(parts) and _is_local(forms) and _stand_in_words(added)):
            return None
        named = re.compile("|".join(["\u2581", *map(re.escape, _spellings(added, normalizer))]))
        keeps_spaces = not any(part["type"] in _WITHOUT_SPACES for part in parts)
        return cls(normalizer, named, keeps_spaces, any(part["type"] == "Strip" for part in forms))

    def keep_apart(self, first: Iterable[str], later: Iterable[str]) -> bool:
        """True for words whose tokens do not depend on those next to them."""
        others = [*later]
        return all(map(self._may_be_first, first)) and (self._are_fit(others) or all(map(self._is_fit, others)))

    def _are_fit(self, words: Sequence[str]) -> bool:
        """True only if all are fit, whose normal forms have no space; seen at once, because each look takes long."""
        row = " ".join(words)
        if not (all(words) and max(map(len, words), default=0) <= _LONGEST and row.isprintable()):
            return False
        form = row if self.normalizer is None else self.normalizer.normalize_str(row)
        if self.named.search(row) or self.named.search(form):
            return False
        apart = form.split()
        return len(apart) == len(words) and " ".join(apart) == form

    def _may_be_first(self, word: str) -> bool:
        # no word: the text begins with a space
        return self._is_fit(word.lstrip("\n")) if word else not (self.strips and self.keeps_spaces)

    def _is_fit(self, word: str) -> bool:
        # what is not printed may be dropped on the way, or be white space
        if not 0 < len(word) <= _LONGEST or not word.isprintable() or self.named.search(word):
            return False
        if self.normalizer is None:
            return True
        form = self.normalizer.normalize_str(word)
        return not self.named.search(form) and not (self.keeps_spaces and (not form or form != form.strip()))


def steps(component: Any) -> list[dict[str, Any]]:
    """A normalizer's or pre-tokenizer's steps; one of an unknown type for what is written in Python."""
    if component is None:
        return []
    try:
        described = json.loads(component.__getstate__())
    except Exception:
        # the library raises a plain Exception
        return [{"type": "custom"}]
    return list(_single(described))


def _single(described: dict[str, Any]) -> Iterable[dict[str, Any]]:
    nested = described.get("normalizers") or described.get("pretokenizers")
    return chain.from_iterable(map(_single, nested)) if nested else [described]


def _splits(parts: Sequence[dict[str, Any]]) -> bool:
    """True if each step looks at words alone, and one splits them."""
    known = [_splits_at_spaces(part) for part in parts]
    return None not in known and True in known


def _splits_at_spaces(part: dict[str, Any]) -> bool | None:
    """None for a step that may depend on what stands on the other side of a space."""
    kind = part["type"]
    if kind in _WITHOUT_SPACES:
        return True
    if kind == "Metaspace" and part["prepend_scheme"] != "first":
        return bool(part.get("split", True))
    if kind == "ByteLevel":
        return bool(part.get("use_regex", True))
    if kind == "Split":
        known = part["pattern"].get("Regex") in PATTERNS and part["behavior"] == "Isolated" and not part["invert"]
        return True if known else None
    return False if kind in _WITHIN_WORDS else None


def _is_local(parts: Sequence[dict[str, Any]]) -> bool:
    return all(part["type"] in _LOCAL_FORMS or _replaces_within_words(part) for part in parts)


def _replaces_within_words(part: dict[str, Any]) -> bool:
    """True for a replacement of single characters, of rows of spaces, or of what has no space."""
    if part["type"] != "Replace":
        return False
    pattern = part["pattern"]
    if "String" in pattern:
        return not re.search(r"\s", pattern["String"])
    return pattern["Regex"] == " {2,}" or bool(re.fullmatch(r"\[[^\[\]^\\ -]+\]", pattern["Regex"]))


def _spellings(added: Iterable[Any], normalizer: Any) -> Iterable[str]:
    """The tokens as they are looked for in texts, and in texts that are normalised."""
    for token in added:
        yield token.content
        if normalizer is not None and token.normalized:
            yield normalizer.normalize_str(token.content)


def _stand_in_words(added: Iterable[Any]) -> bool:
    """True if no added token has a space among other characters, or is one space."""
    return all(" " not in token.content or re.fullmatch(" {2,}", token.content) for token in added)
