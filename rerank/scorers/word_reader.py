"""Texts to tokens, most words from memory.

Where no token of a tokenizer reaches across the space between two words, the tokens of a text are those of its words,
one after another. A few thousand words make up most of all texts in languages that put spaces between them, and
looking a word up takes a tenth of the time of reading it. Every word is read by the tokenizer itself, among others,
once; a text with anything but words and single spaces, such as a special token, is read by it each time.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from typing import Any, NamedTuple, Protocol

from tokenizers import Tokenizer

Ids = tuple[int, ...]

_LONGEST = 64
"""Maximum characters of a word that is looked up."""
_SPARSE = 16
"""Characters per space from which on a text is read as a whole: Chinese, or lists of addresses."""
_FAMILIAR = 4
"""Of this many words of a text one may be unknown; of a text with more the tokenizer reads all."""
_AT_ONCE = 64
"""Unknown words that are read as one text."""
_AT_ONCE_WHOLE = 16
"""Texts read as a whole whose words are kept, of those that are read together: keeping them takes as long again."""
_ROOM = 200_000
"""Tokens of words, about 6 MB, after which those that are not asked for again give way."""
_ENTRY = 4
"""Memory of a word in addition, in tokens."""
_NEIGHBOUR = "a"
_TRIALS = (
    "The bear's 3 pandas, i.e. (both) of them; don't 12,345 or e-mail a.b@c.org \"it\" 50% #1",
    "Ünïcode naïve ﬁne ①② 中文 is 机器学习 and 한국어 ты 😀 👩\u200d👩\u200d👧 e\u0301 x\u200by a\tb c\nd",
)
"""Texts that have to give the same tokens both ways, also behind a space."""
_WITHOUT_SPACES = {"BertPreTokenizer", "Whitespace", "WhitespaceSplit"}
"""Pre-tokenizers after which no space is left."""
_WITHIN_WORDS = {"Digits", "Punctuation"}
_LOCAL_FORMS = {"BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Strip"}
_LOCAL_FORMS |= {"StripAccents"}
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


class ReadText(Protocol):
    """The tokens of a text."""

    @property
    def ids(self) -> Sequence[int]:
        """Numbers of the tokens."""
        ...

    @property
    def offsets(self) -> list[tuple[int, int]]:
        """The characters that each was made from."""
        ...

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        """The same for one."""
        ...

    def __len__(self) -> int: ...


class WordReader:
    """A tokenizer that adds no special tokens, and keeps the words it has read. Any thread may use it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._first, self._later = _KeptWords(), _KeptWords()
        self._seams = _Seams.of(tokenizer)
        if self._seams and not self._agrees():
            self._seams = None

    @property
    def looks_up(self) -> bool:
        """True where the tokens of a text are those of its words."""
        return self._seams is not None

    def read(self, texts: Sequence[str]) -> list[ReadText]:
        """Each text's tokens."""
        if self._seams is None:
            return self.read_whole(texts)
        split = [_words(text) for text in texts]
        found = [self._looked_up(words) for words in split]
        if None in found:
            self._learn_few(self._seams, [words for words, read in zip(split, found, strict=True) if read is None])
            found = [read or self._looked_up(words) for words, read in zip(split, found, strict=True)]
        places = [place for place, read in enumerate(found) if read is None]
        for place, read in zip(places, self.read_whole([texts[place] for place in places]), strict=True):
            found[place] = read
        taught = (self._learn_all(self._seams, split[place], found[place]) for place in places)
        deque(islice(filter(None, taught), _AT_ONCE_WHOLE), maxlen=0)
        return [read for read in found if read is not None]

    def read_whole(self, texts: Sequence[str]) -> list[ReadText]:
        """The same without looking words up."""
        # a batch, because the library holds the interpreter's lock for a single text
        return list(self._tokenizer.encode_batch(texts, add_special_tokens=False)) if texts else []

    def _agrees(self) -> bool:
        trials = [start + text for text in _TRIALS for start in ("", " ")]
        whole = [list(read.ids) for read in self.read_whole(trials)]
        # the first time most words are learned
        return all([list(read.ids) for read in self.read(trials)] == whole for _ in range(2))

    def _looked_up(self, words: Sequence[str]) -> ReadText | None:
        """None for a text that is not made of known words."""
        parts = [*self._first.ids(words[:1]), *self._later.ids(words[1:])]
        known = [part for part in parts if part is not None]
        return _Words(self._tokenizer, words, known) if words and len(known) == len(parts) else None

    def _learn_few(self, seams: _Seams, texts: Iterable[Sequence[str]]) -> None:
        """Read the unknown words of texts that have few."""
        firsts, others = set[str](), set[str]()
        for words in texts:
            first, later = self._unknown(words)
            if len(first + later) * _FAMILIAR <= len(words) and seams.keep_apart(first, later):
                firsts.update(first)
                others.update(later)
        row = list(others)
        rows = [[_NEIGHBOUR, *row[start : start + _AT_ONCE]] for start in range(0, len(row), _AT_ONCE)]
        for words, parts in self._read_words([*rows, *([word, _NEIGHBOUR] for word in firsts)]):
            self._keep(words, parts)

    def _learn_all(self, seams: _Seams, words: Sequence[str], read: ReadText | None) -> bool:
        """Keep the words of a text that was read whole, if it is made of nothing else."""
        if not words or read is None or not seams.keep_apart(*self._unknown(words)):
            return False
        if parts := _taken_apart(words, read):
            self._keep(words, parts)
        return bool(parts)

    def _keep(self, words: Sequence[str], parts: Sequence[Ids]) -> None:
        self._first.keep({words[0]: parts[0]})
        self._later.keep(dict(zip(words[1:], parts[1:], strict=True)))

    def _unknown(self, words: Sequence[str]) -> tuple[list[str], list[str]]:
        """The first word, and those of the others, that are not known."""
        return self._first.unknown(words[:1]), self._later.unknown(words[1:])

    def _read_words(self, rows: Sequence[Sequence[str]]) -> Iterator[tuple[Sequence[str], list[Ids]]]:
        for words, read in zip(rows, self.read_whole([" ".join(words) for words in rows]), strict=True):
            if parts := _taken_apart(words, read):
                yield words, parts


class _KeptWords:
    """The words that were read last, with their tokens. Any thread may use it."""

    def __init__(self) -> None:
        self._new: dict[str, Ids] = {}
        self._old: dict[str, Ids] = {}
        self._room = _ROOM

    def ids(self, words: Sequence[str]) -> list[Ids | None]:
        """Tokens of each; None for one that is not kept."""
        return list(map(self._new.get, words))

    def unknown(self, words: Sequence[str]) -> list[str]:
        """Those that are not kept."""
        new, old = self._new, self._old
        missing = [word for word in words if word not in new]
        if old and missing:
            self.keep({word: old[word] for word in missing if word in old})
            missing = [word for word in missing if word not in old]
        return missing

    def keep(self, found: Mapping[str, Ids]) -> None:
        """Keep these, in place of all that were not asked for since room was made last."""
        new = self._new
        self._room -= sum(len(ids) + _ENTRY for word, ids in found.items() if word not in new)
        new.update(found)
        if self._room < 0:
            self._new, self._old, self._room = {}, new, _ROOM


def _words(text: str) -> list[str]:
    """The words of a text; none of one with few spaces."""
    words = text.split(" ")
    return words if len(words) * _SPARSE >= len(text) else []


def _taken_apart(words: Sequence[str], read: ReadText) -> list[Ids] | None:
    """The tokens of each word; None where one reaches across a space."""
    ids, offsets = tuple(read.ids), read.offsets
    starts, ends = [start for start, _ in offsets], [end for _, end in offsets]
    parts, first = [], 0
    for end in accumulate(len(word) + 1 for word in words):
        # the space before a word may be a token of its own
        last = bisect_left(starts, end - 1, first)
        if last > first and ends[last - 1] >= end:
            return None
        parts.append(ids[first:last])
        first = last
    in_order = starts == sorted(starts) and ends == sorted(ends)
    return parts if in_order and first == len(ids) else None


class _Words:
    """A text's words and their tokens."""

    def __init__(self, tokenizer: Tokenizer, words: Sequence[str], parts: Sequence[Ids]) -> None:
        self._tokenizer, self._words, self._parts = tokenizer, words, parts
        self.ids = tuple(chain.from_iterable(parts))

    @property
    def offsets(self) -> list[tuple[int, int]]:
        (whole,) = self._tokenizer.encode_batch([" ".join(self._words)], add_special_tokens=False)
        return list(whole.offsets)

    def token_to_chars(self, token_index: int) -> tuple[int, int] | None:
        place, left = 0, token_index
        while left >= len(self._parts[place]):
            left -= len(self._parts[place])
            place += 1
        # the word is read once more, behind the one before it
        near = " ".join(self._words[max(place - 1, 0) : place + 1])
        (read,) = self._tokenizer.encode_batch([near], add_special_tokens=False)
        found = read.token_to_chars(len(read) - len(self._parts[place]) + left)
        start = sum(len(word) + 1 for word in self._words[: max(place - 1, 0)])
        return found and (start + found[0], start + found[1])

    def __len__(self) -> int:
        return len(self.ids)


class _Seams(NamedTuple):
    """A tokenizer that makes no token across a space."""

    normalizer: Any
    named: re.Pattern[str]
    """Added tokens, which may reach across spaces."""
    keeps_spaces: bool
    strips: bool
    """True if spaces around a text are left out."""

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> _Seams | None:
        """None for a tokenizer that may make tokens across a space."""
        normalizer, forms, parts = tokenizer.normalizer, _parts(tokenizer.normalizer), _parts(tokenizer.pre_tokenizer)
        added = list(tokenizer.get_added_tokens_decoder().values())
        if not (_splits(parts) and _is_local(forms) and _stand_in_words(added)):
            return None
        named = re.compile("|".join(["\u2581", *map(re.escape, _spellings(added, normalizer))]))
        keeps_spaces = not any(part["type"] in _WITHOUT_SPACES for part in parts)
        return cls(normalizer, named, keeps_spaces, any(part["type"] == "Strip" for part in forms))

    def keep_apart(self, first: Iterable[str], later: Iterable[str]) -> bool:
        """True for words whose tokens do not depend on those next to them."""
        return all(map(self._may_be_first, first)) and all(map(self._is_fit, later))

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


def _parts(component: Any) -> list[dict[str, Any]]:
    """A normalizer's or pre-tokenizer's steps; one of an unknown type for what is written in Python."""
    if component is None:
        return []
    try:
        described = json.loads(component.__getstate__())
    except Exception:
        # the library raises a plain Exception
        return [{"type": "custom"}]
    return list(_steps(described))


def _steps(described: dict[str, Any]) -> Iterable[dict[str, Any]]:
    nested = described.get("normalizers") or described.get("pretokenizers")
    return chain.from_iterable(map(_steps, nested)) if nested else [described]


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
