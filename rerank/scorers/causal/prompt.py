"""Assembly of causal prompts from token ids.

System text, instruction and query come once per request, then each document, then the suffix, which is never cut.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tokenizers import Tokenizer

from rerank.catalog.prompts import PromptFormat
from rerank.core import Pair, Truncation
from rerank.scorers.base import Reading, document_limit, pair_limit, too_long
from rerank.scorers.excerpts import read_texts
from rerank.scorers.pretrained import open_tokenizer
from rerank.scorers.tokens import tokens_wanted

# maximum documents that the cost of a prefix is divided among: each of them still attends to it
_MAX_SHARING = 8


@dataclass(frozen=True, slots=True)
class Prompt:
    """A pair as token ids, split where the documents of a request diverge."""

    prefix: tuple[int, ...]
    """Everything before the document."""
    rest: tuple[int, ...]
    """The document and the suffix."""
    sharers: int = field(default=1, compare=False)
    """Prompts of the request with this prefix, if it is computed once for all of them; else 1."""

    @property
    def tokens(self) -> int:
        """Tokens of the whole prompt."""
        return len(self.prefix) + len(self.rest)

    @property
    def computed(self) -> int:
        """Tokens of the rest and a part of the prefix."""
        return len(self.rest) + math.ceil(len(self.prefix) / min(self.sharers, _MAX_SHARING))


class PromptTokenizer:
    """Texts to prompts. Texts of a request cannot name special tokens, and so cannot forge the prompt."""

    def __init__(
        self,
        folder: Path,
        prompt_format: PromptFormat,
        max_length: int,
        *,
        special_tokens_in_text: bool = False,
        keeps_prefix: bool = False,
    ) -> None:
        """``keeps_prefix``: the prefix is computed once per request; without it, once per batch."""
        special = open_tokenizer(folder)
        self.system, self._between, self.suffix = (
            tuple(special.encode(text, add_special_tokens=False).ids)
            for text in (prompt_format.system, prompt_format.between, prompt_format.suffix)
        )
        self.max_length = max_length
        self._format = prompt_format
        self._keeps_prefix = keeps_prefix
        self._text: Tokenizer = open_tokenizer(folder, special_tokens=special_tokens_in_text)

    def reading(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str) -> Reading[list[Prompt]]:
        """See ``Scorer.reading``. An end of the document is cut off; instruction, query and suffix never are."""
        limit = pair_limit(truncation, self.max_length)
        queries = Counter(pair.query for pair in pairs)
        prefixes = {}
        for query in queries:
            prefixes[query] = yield from self._prefix(instruction, query, limit)
        rooms = [limit - len(prefixes[pair.query]) - len(self.suffix) for pair in pairs]
        wanted = [max(1, tokens_wanted(truncation, room)) for room in rooms]
        texts = [self._format.lead + pair.document for pair in pairs]
        documents = yield from read_texts(self._text, texts, wanted, truncation.side)
        prompts = []
        for index, (pair, document, room) in enumerate(zip(pairs, documents, rooms, strict=True)):
            if len(document.ids) > room:
                raise too_long(index, limit - room + document.tokens, limit, whole=document.whole)
            sharers = queries[pair.query] if self._keeps_prefix else 1
            prompts.append(Prompt(prefixes[pair.query], (*document.ids, *self.suffix), sharers))
        return prompts

    def _prefix(self, instruction: str, query: str, limit: int) -> Reading[tuple[int, ...]]:
        """Everything before a document. Raises InvalidRequest if it leaves no room for one."""
        (asked,) = yield from read_texts(self._text, [self._format.ask(instruction, query)], [limit], "right")
        taken = len(self.system) + asked.tokens + len(self._between) + len(self.suffix)
        document_limit(taken, limit, self.max_length, whole=asked.whole)
        return (*self.system, *asked.ids, *self._between)
