"""Assembly of causal prompts from token ids.

Where the query stands first, all before the document comes once per request. The suffix is never cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tokenizers import Tokenizer

from rerank.catalog.prompts import PromptFormat
from rerank.core import Pair, Span, Truncation
from rerank.errors import ModelUnsupported
from rerank.runtimes.ids import Ids
from rerank.scorers.base import Reading, document_limit, pair_limit, too_long
from rerank.scorers.excerpts import Excerpt, Side, read_texts
from rerank.scorers.pretrained import open_tokenizer, read_json
from rerank.scorers.text_reader import TextReader
from rerank.scorers.tokens import tokens_wanted

# maximum documents that the cost of a prefix is divided among: each of them still attends to it
_MAX_SHARING = 8


@dataclass(frozen=True, slots=True)
class Prompt:
    """A pair as token ids, split where the documents of a request diverge."""

    prefix: Ids
    """Everything before the document."""
    rest: Ids
    """The document and the suffix."""
    sharers: int = field(default=1, compare=False)
    """Prompts of the request with this prefix, if it is computed once for all of them; else 1."""
    cut: Span | None = field(default=None, compare=False)
    """See ``EncodedPair.cut``."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.prefix) + len(self.rest)

    @property
    def computed(self) -> int:
        """Tokens of the rest and a part of the prefix."""
        return len(self.rest) + math.ceil(len(self.prefix) / min(self.sharers, _MAX_SHARING))


class _Frame(NamedTuple):
    """Tokens around the document."""

    before: Ids
    after: Ids

    @property
    def tokens(self) -> int:
        """Tokens of both sides."""
        return len(self.before) + len(self.after)


class PromptTokenizer:
    """Texts to prompts. Texts of a request cannot name special tokens, and so cannot forge the prompt."""

    def __init__(
        self,
        folder: Path,
        prompt_format: PromptFormat,
        max_length: int,
        *,
        special_tokens_in_text: bool = False,
        normalises: bool = False,
        rows: int | None = None,
    ) -> None:
        """Raises ModelUnsupported if a text could name a special token although it must not."""
        self.max_length = max_length
        self._format = prompt_format
        text = open_tokenizer(
            folder,
            special_tokens=special_tokens_in_text,
            inside=bool(prompt_format.system),
            normalises=normalises,
        )
        special = open_tokenizer(folder)
        if not special_tokens_in_text:
            _refuse_forgery(folder, special, text)
        self._reader = TextReader(text, rows=rows)
        start = _special_start(special) if prompt_format.special_start else ()
        self.system = Ids.of([*start, *special.encode(prompt_format.system, add_special_tokens=False).ids])
        inside = open_tokenizer(folder, inside=True)
        self._between, self._tail, self.suffix = (
            Ids.of(inside.encode(text, add_special_tokens=False).ids)
            for text in (prompt_format.between, prompt_format.tail, prompt_format.suffix)
        )

    def reading(
        self, pairs: Sequence[Pair], truncation: Truncation, instruction: str, *, keeps_prefix: bool = False
    ) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``. An end of the document is cut off; instruction, query and suffix never are.

        ``keeps_prefix``: the prefix is computed once per request; without it, once per batch or document.
        """
        limit = pair_limit(truncation, self.max_length)
        queries = Counter(pair.query for pair in pairs)
        frames = {}
        for query in queries:
            frames[query] = yield from self._frame(instruction, query, limit)
        rooms = [limit - frames[pair.query].tokens for pair in pairs]
        documents = yield from self._documents(pairs, truncation, rooms, limit)
        prompts = []
        for pair, document in zip(pairs, documents, strict=True):
            before, after = frames[pair.query]
            sharers = queries[pair.query] if keeps_prefix else 1
            rest = self._ended(document, truncation.side) + after
            prompts.append(Prompt(before, rest, sharers, self._cut(pair.document, document)))
        return prompts

    def _frame(self, instruction: str, query: str, limit: int) -> Reading[_Frame]:
        """What stands around a document. Raises InvalidRequest if it leaves no room for one."""
        text = self._format.ask(instruction, self._stripped(query))
        (asked,) = yield from read_texts(self._reader, [text], [limit], "right", "query")
        first = self._format.document_first
        frame = _Frame(
            self.system if first else self.system + asked.ids + self._between,
            self._between + asked.ids + self.suffix if first else self.suffix,
        )
        taken = frame.tokens - len(asked.ids) + asked.tokens + len(self._tail)
        document_limit(taken, limit, self.max_length, whole=asked.whole)
        return frame

    def _documents(
        self, pairs: Sequence[Pair], truncation: Truncation, rooms: Sequence[int], limit: int
    ) -> Reading[list[Excerpt]]:
        """Lead, document and tail of each pair."""
        tail = len(self._tail)
        wanted = [max(1, tokens_wanted(truncation, room - tail)) + tail for room in rooms]
        texts = [f"{self._format.lead}{self._stripped(pair.document)}{self._format.tail}" for pair in pairs]
        documents = yield from read_texts(self._reader, texts, wanted, truncation.side)
        for index, (document, room) in enumerate(zip(documents, rooms, strict=True)):
            if len(document.ids) > room:
                raise too_long(index, limit - room + document.tokens, limit, whole=document.whole)
        return documents

    def _ended(self, document: Excerpt, side: Side) -> Ids:
        """Its tokens, with those of the tail behind a document that was cut before it."""
        if side == "left" or document.tokens <= len(document.ids):
            return document.ids
        return document.ids[: len(document.ids) - len(self._tail)] + self._tail

    def _cut(self, text: str, read: Excerpt) -> Span | None:
        """See ``EncodedPair.cut``. Where it ends counts the tokens of the tail as if they were the document's."""
        lead = len(self._format.lead)
        cut = read.cut(lead, lead + len(self._stripped(text)))
        if cut is None or not self._format.strips:
            return cut
        begins = len(text) - len(text.lstrip())
        return Span(cut.start + begins, cut.end + begins)

    def _stripped(self, text: str) -> str:
        return text.strip() if self._format.strips else text


def _special_start(tokenizer: Tokenizer) -> tuple[int, ...]:
    """The special tokens that the tokenizer puts before a text. Raises ModelUnsupported if it puts any after it."""
    letter = tokenizer.encode("a", add_special_tokens=False)
    whole = tokenizer.post_process(letter).ids
    count = len(whole) - len(letter.ids)
    if whole[count:] != letter.ids:
        raise ModelUnsupported("its tokenizer puts special tokens after a text, where its prompt has none.")
    return tuple(whole[:count])


def _refuse_forgery(folder: Path, special: Tokenizer, text: Tokenizer) -> None:
    """Raise ModelUnsupported naming a special token that a user's text could name all the same."""
    unknown = read_json(folder / "tokenizer.json")["model"].get("unk_token")
    for number, token in special.get_added_tokens_decoder().items():
        forged = token.special and token.content != unknown
        if forged and text.encode(token.content, add_special_tokens=False).ids == [number]:
            raise ModelUnsupported(
                f"{folder.name} cannot be used: its tokenizer reads {token.content} in a text as the special token, so "
                "that texts could forge its prompt. If they may, its card in models.toml has to say "
                "`special_tokens_in_text = true`."
            )
