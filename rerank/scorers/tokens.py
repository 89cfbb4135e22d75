"""Texts to token ids, safe to call from many threads.

A fast tokenizer keeps its truncation and padding settings inside itself, so setting them for one call while another
runs fails ("Already borrowed"). Here nothing is ever set: documents are cut on ids, and the pair is assembled by the
tokenizer's own post-processor, so the layout is the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from rerank.core import Pair, TextTokens, Truncation
from rerank.errors import InvalidRequest
from rerank.runtimes.base import TokenIds
from rerank.scorers.base import document_limit, pair_limit, query_too_long, too_long


def private_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The fast tokenizer behind ``tokenizer`` as a copy of our own, cutting and padding nothing."""
    backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


class _EncodedText:
    """Columns of an encoding, made when they are asked for."""

    def __init__(self, tokenizer: Tokenizer, read: Encoding) -> None:
        self._tokenizer = tokenizer
        self._read = read

    @property
    def ids(self) -> list[int]:
        return list(self._read.ids)

    @property
    def pieces(self) -> list[str]:
        # the encoding's own pieces are the text's, also where the vocabulary does not know them
        spelled = {number: self._tokenizer.id_to_token(number) or "" for number in set(self._read.ids)}
        return [spelled[number] for number in self._read.ids]

    @property
    def special(self) -> list[int]:
        return list(self._read.special_tokens_mask)

    @property
    def spans(self) -> list[tuple[int, int]]:
        return list(self._read.offsets)


class Vocabulary:
    """A fast tokenizer as a ``TextTokenizer``. What it is made with opens it when it is first used."""

    def __init__(self, open_tokenizer: Callable[[], Tokenizer]) -> None:
        self._open = open_tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._open()

    def tokens(self, text: str, *, special: bool) -> TextTokens:
        """See ``TextTokenizer.tokens``."""
        # a batch, because for one text alone the library keeps the interpreter to itself
        (read,) = self._tokenizer.encode_batch([text], add_special_tokens=special)
        return _EncodedText(self._tokenizer, read)

    def text(self, ids: Sequence[int], *, special: bool) -> str:
        """See ``TextTokenizer.text``."""
        for place, number in enumerate(ids):
            if self._tokenizer.id_to_token(number) is None:
                raise InvalidRequest(f"tokens.{place}: the model has no token {number}.", param=f"tokens.{place}")
        (text,) = self._tokenizer.decode_batch([list(ids)], skip_special_tokens=not special)
        return str(text)


def encode_pairs(
    tokenizer: Tokenizer, pairs: Sequence[Pair], truncation: Truncation, max_length: int
) -> list[TokenIds]:
    """Each pair as one sequence: the query whole, the document cut to fit. Each distinct query is read once."""
    limit = pair_limit(truncation, max_length)
    specials = tokenizer.num_special_tokens_to_add(is_pair=True)
    queries = {
        text: tokenizer.encode(text, add_special_tokens=False) for text in dict.fromkeys(pair.query for pair in pairs)
    }
    documents = tokenizer.encode_batch([pair.document for pair in pairs], add_special_tokens=False)
    encoded = []
    for index, (pair, document) in enumerate(zip(pairs, documents, strict=True)):
        query = queries[pair.query]
        room = document_limit(len(query.ids) + specials, limit, max_length)
        _cut(document, room, truncation, index, limit)
        encoded.append(_ids(tokenizer.post_process(query, document)))
    return encoded


def encode_queries(tokenizer: Tokenizer, texts: Sequence[str], limit: int, max_length: int) -> list[TokenIds]:
    """Each query as a sequence of its own, whole. Raises InvalidRequest for one that does not fit."""
    encoded = [_ids(text) for text in tokenizer.encode_batch(list(texts))]
    for sequence in encoded:
        if sequence.tokens > limit:
            raise query_too_long(sequence.tokens, limit, max_length)
    return encoded


def encode_documents(tokenizer: Tokenizer, texts: Sequence[str], truncation: Truncation, limit: int) -> list[TokenIds]:
    """Each document as a sequence of its own, an end of it cut off to fit."""
    room = limit - tokenizer.num_special_tokens_to_add(is_pair=False)
    encoded = []
    for index, text in enumerate(tokenizer.encode_batch(list(texts), add_special_tokens=False)):
        _cut(text, max(room, 1), truncation, index, limit)
        encoded.append(_ids(tokenizer.post_process(text)))
    return encoded


def _cut(document: Encoding, room: int, truncation: Truncation, index: int, limit: int) -> None:
    allowed = truncation.max_tokens_per_document
    if allowed is not None and allowed < len(document.ids):
        document.truncate(allowed, direction=truncation.side)
    tokens = len(document.ids)
    if tokens <= room:
        return
    if not truncation.allowed:
        raise too_long(index, limit - room + tokens, limit)
    document.truncate(room, direction=truncation.side)


def _ids(encoding: Encoding) -> TokenIds:
    return TokenIds(tuple(encoding.ids), tuple(encoding.type_ids))
