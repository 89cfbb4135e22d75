"""Queries and documents of a late-interaction model as tokens: markers, expansion, and tokens that do not count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
from tokenizers import Tokenizer

from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Truncation
from rerank.runtimes.base import TokenIds
from rerank.runtimes.ids import Ids
from rerank.runtimes.segments import Segment
from rerank.scorers.base import Reading, finish
from rerank.scorers.bert_kinds import BertSegments
from rerank.scorers.late_interaction.procedure import Expansion, Procedure, Side, unfit
from rerank.scorers.pretrained import open_tokenizer, read_config, read_json
from rerank.scorers.tokens import PairTokenizer


@dataclass(frozen=True, slots=True)
class Query:
    """A query with its expansion."""

    ids: TokenIds
    seen: int | None
    """How many of its tokens are attended to; None for all."""


class TextReader:
    """Texts as a model reads them."""

    def __init__(
        self, checkpoint: Checkpoint, procedure: Procedure, max_length: int, *, normalises: bool = False
    ) -> None:
        """Raises ModelUnsupported where the tokenizer does not have the procedure's tokens."""
        self.checkpoint = checkpoint
        self.tokenizer = open_tokenizer(checkpoint.folder, normalises=normalises)
        self.segment = BertSegments(checkpoint, read=None)
        self._query, self._document = procedure.query, procedure.document
        self._queries, self._documents = self._tokenizer_of(procedure.query), self._tokenizer_of(procedure.document)
        self._expansion = procedure.expansion
        self._longest_query = _longest_query(procedure, max_length)
        self._filler = self._filling(procedure.expansion)
        self._skipped = numpy.array(skipped_tokens(self.tokenizer, procedure), numpy.int64)
        if not self.counted(finish(self.documents([""], Truncation(), max_length))[0]).any():
            raise unfit(checkpoint.folder, "leaves out every token of an empty document")

    def queries(self, texts: Sequence[str], truncation: Truncation) -> Reading[list[Query]]:
        """Each query, cut to the length of queries and expanded. Raises InvalidRequest where cutting is forbidden."""
        put, limit = [self._query.prompt + text for text in texts], self._longest_query
        if truncation.allowed:
            read = yield from self._queries.texts(put, Truncation(), limit, "query")
        else:
            read = yield from self._queries.queries(put, limit, limit)
        return [self._expanded(ids) for ids in read]

    def documents(self, texts: Sequence[str], truncation: Truncation, limit: int) -> Reading[list[TokenIds]]:
        """Each document, cut to fit."""
        return self._documents.documents(self._document.prompt, texts, truncation, limit)

    def query_segment(self, query: Query) -> Segment:
        """A query as the body reads it."""
        return replace(self.segment(query.ids), seen=query.seen)

    def counted(self, document: TokenIds) -> numpy.ndarray:
        """Which tokens of a document count."""
        return ~numpy.isin(document.input_ids.numbers, self._skipped)

    def _expanded(self, ids: TokenIds) -> Query:
        expansion = self._expansion
        added = 0 if expansion is None else expansion.length - ids.tokens
        if expansion is None or added <= 0:
            return Query(ids, None)
        whole = TokenIds(ids.input_ids + Ids.of([self._filler]) * added, ids.type_ids + Ids.of([0]) * added)
        return Query(whole, None if expansion.attended else ids.tokens)

    def _tokenizer_of(self, side: Side) -> PairTokenizer:
        marker = self._token(side.marker) if side.marker else None
        return PairTokenizer(self.tokenizer, marker, rows=read_config(self.checkpoint).vocab_size)

    def _token(self, name: str) -> int:
        """A token, which may have been saved with a space behind it or without."""
        found = [self.tokenizer.token_to_id(spelled) for spelled in (name, name.strip())]
        known = next((token for token in found if token is not None), None)
        if known is None:
            raise unfit(self.checkpoint.folder, f"marks texts with {name.strip()}, not a token of its tokenizer")
        return int(known)

    def _filling(self, expansion: Expansion | None) -> int:
        if expansion is None:
            return 0
        name = expansion.token or _mask_token(self.tokenizer, self.checkpoint)
        if name is None:
            raise unfit(self.checkpoint.folder, "expands queries with another token than the tokenizer's mask")
        return self._token(name)


def skipped_tokens(tokenizer: Tokenizer, procedure: Procedure) -> list[int]:
    """The tokens of documents that do not count."""
    if procedure.skips_first:
        read = tokenizer.encode_batch(list(procedure.skipped), add_special_tokens=False)
        return [text.ids[0] for text in read if text.ids]
    return [token for word in procedure.skipped if (token := tokenizer.token_to_id(word)) is not None]


def _longest_query(procedure: Procedure, max_length: int) -> int:
    expansion = procedure.expansion
    if expansion is not None and expansion.cuts:
        return expansion.length
    return procedure.query.length or max_length


def _mask_token(tokenizer: Tokenizer, checkpoint: Checkpoint) -> str | None:
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        named = read_json(checkpoint.folder / file).get("mask_token")
        name = named.get("content") if isinstance(named, dict) else named
        if isinstance(name, str) and tokenizer.token_to_id(name) is not None:
            return name
    return None
