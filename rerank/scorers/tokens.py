"""Texts to token ids, safe to call from many threads.

A fast tokenizer keeps its truncation and padding settings inside itself, so setting them for one call while another
runs fails ("Already borrowed"). Here nothing is ever set: texts are cut on ids, and a pair is put together as the
tokenizer's own post-processor does it, so the layout is the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tokenizers import Encoding, Tokenizer

from rerank.core import Pair, Span, TextTokens, Truncation
from rerank.errors import InvalidRequest, ModelUnsupported
from rerank.runtimes.base import TokenIds
from rerank.runtimes.ids import Ids
from rerank.scorers.base import Reading, document_limit, pair_limit, query_too_long, text_too_long, too_long
from rerank.scorers.excerpts import Excerpt, Field, read_texts
from rerank.scorers.text_reader import TextReader

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def private_copy(tokenizer: PreTrainedTokenizerBase) -> Tokenizer:
    """The fast tokenizer behind ``tokenizer`` as a private copy that neither cuts nor pads."""
    backend: Tokenizer = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.no_truncation()
    backend.no_padding()
    return backend


def rows_of(model: Any) -> int | None:
    """Rows of the table of a model of sentence-transformers; None where its configuration does not say."""
    config = model.transformers_model.config.get_text_config()
    return getattr(config, "vocab_size", None)


class _EncodedText:
    """An encoding whose columns are made on demand."""

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
    """A fast tokenizer as a ``TextTokenizer``. It is opened at its first use."""

    def __init__(self, open_tokenizer: Callable[[], Tokenizer]) -> None:
        self._open = open_tokenizer

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        return self._open()

    def tokens(self, text: str, *, special: bool) -> TextTokens:
        """See ``TextTokenizer.tokens``."""
        # a batch, because the library holds the interpreter's lock for a single text
        (read,) = self._tokenizer.encode_batch([text], add_special_tokens=special)
        return _EncodedText(self._tokenizer, read)

    def text(self, ids: Sequence[int], *, special: bool, field: str) -> str:
        """See ``TextTokenizer.text``."""
        for place, number in enumerate(ids):
            if self._tokenizer.id_to_token(number) is None:
                raise InvalidRequest(f"{field}.{place}: the model has no token {number}.", param=f"{field}.{place}")
        (text,) = self._tokenizer.decode_batch([list(ids)], skip_special_tokens=not special)
        return str(text)


def tokens_wanted(truncation: Truncation, room: int) -> int:
    """Tokens to read of a document with so much room: one more where cutting is forbidden, to see whether it fits."""
    allowed = truncation.max_tokens_per_document
    fitting = room if truncation.allowed else room + 1
    return fitting if allowed is None else min(allowed, fitting)


class PairTokenizer:
    """Layout of pairs, and of single texts, as sequences."""

    def __init__(self, tokenizer: Tokenizer, marker: int | None = None, *, rows: int | None = None) -> None:
        """A ``marker`` stands behind the first special token of each single text; for ``rows`` see ``TextReader``.

        Raises ModelUnsupported for special tokens that have no row.
        """
        self.tokenizer = tokenizer
        self._reader = TextReader(tokenizer, rows=rows)
        alone = _Layout.of(tokenizer, texts=1)
        self._alone = alone if marker is None else alone.marked(marker)
        self._pair = _Layout.of(tokenizer, texts=2)
        for part in (*self._alone.parts, *self._pair.parts):
            if token := self._reader.beyond(part.ids):
                raise ModelUnsupported(
                    f"its tokenizer puts {token} around texts, behind the end of its table. Fetch the published files "
                    "again."
                )

    def pairs(self, pairs: Sequence[Pair], truncation: Truncation, max_length: int) -> Reading[list[TokenIds]]:
        """Each pair as one sequence: the query whole, the document cut to fit. Each distinct query is read once."""
        limit = pair_limit(truncation, max_length)
        specials = self._pair.specials
        texts = list(dict.fromkeys(pair.query for pair in pairs))
        read = yield from read_texts(self._reader, texts, [limit] * len(texts), "right", "query")
        queries = dict(zip(texts, read, strict=True))
        rooms = {
            text: document_limit(query.tokens + specials, limit, max_length, whole=query.whole)
            for text, query in queries.items()
        }
        documents = yield from self._documents(
            [pair.document for pair in pairs], truncation, [rooms[pair.query] for pair in pairs], limit
        )
        frames = {text: self._pair.frame(query.ids) for text, query in queries.items()}
        return [frames[pair.query].around(read.ids, read.cut()) for pair, read in zip(pairs, documents, strict=True)]

    def queries(self, texts: Sequence[str], limit: int, max_length: int) -> Reading[list[TokenIds]]:
        """Each query as a sequence of its own, whole. Raises InvalidRequest for one that does not fit."""
        read = yield from read_texts(self._reader, texts, [limit] * len(texts), "right", "query")
        for query in read:
            tokens = query.tokens + self._alone.specials
            if tokens > limit:
                raise query_too_long(tokens, limit, max_length, whole=query.whole)
        return [self._alone.frame().around(query.ids) for query in read]

    def documents(
        self, prompt: str, texts: Sequence[str], truncation: Truncation, limit: int
    ) -> Reading[list[TokenIds]]:
        """Each document behind the prompt as a sequence of its own, an end of it cut off to fit."""
        room = max(limit - self._alone.specials, 1)
        put = [prompt + text for text in texts]
        documents = yield from self._documents(put, truncation, [room] * len(texts), limit)
        frame = self._alone.frame()
        return [frame.around(read.ids, read.cut(len(prompt))) for read in documents]

    def texts(
        self, texts: Sequence[str], truncation: Truncation, limit: int, of: Field = "input"
    ) -> Reading[list[TokenIds]]:
        """The same for texts without a query, or for queries alone."""
        room = max(limit - self._alone.specials, 1)
        read = yield from read_texts(
            self._reader, texts, [tokens_wanted(truncation, room)] * len(texts), truncation.side, of
        )
        for index, text in enumerate(read):
            if len(text.ids) > room:
                raise text_too_long(index, text.tokens + self._alone.specials, limit, whole=text.whole)
        frame = self._alone.frame()
        return [frame.around(text.ids) for text in read]

    def _documents(
        self, texts: Sequence[str], truncation: Truncation, rooms: Sequence[int], limit: int
    ) -> Reading[list[Excerpt]]:
        wanted = [tokens_wanted(truncation, room) for room in rooms]
        read = yield from read_texts(self._reader, texts, wanted, truncation.side)
        for index, (document, room) in enumerate(zip(read, rooms, strict=True)):
            if len(document.ids) > room:
                raise _too_long(index, document, truncation, room, limit)
        return read


def _too_long(index: int, document: Excerpt, truncation: Truncation, room: int, limit: int) -> Exception:
    tokens = min(document.tokens, truncation.max_tokens_per_document or document.tokens)
    return too_long(index, limit - room + tokens, limit, whole=document.whole)


class _Part(NamedTuple):
    """A stretch of a sequence: a text, by its number, or special tokens."""

    text: int | None
    ids: Ids
    type_id: int


class _Layout(NamedTuple):
    """The arrangement of texts and special tokens."""

    parts: tuple[_Part, ...]
    specials: int
    """Special tokens of a sequence."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, texts: int) -> _Layout:
        """The tokenizer's layout, read from its tokens for single letters."""
        letters = [tokenizer.encode(letter, add_special_tokens=False) for letter in "ab"[:texts]]
        sequence = tokenizer.post_process(letters[0], letters[1] if texts == 2 else None)
        owners = [number for number, letter in enumerate(letters) for _ in letter.ids]
        parts: list[_Part] = []
        ids: list[int] = []
        for token, type_id, special in zip(sequence.ids, sequence.type_ids, sequence.special_tokens_mask, strict=True):
            if special:
                parts.append(_Part(None, Ids.of([token]), type_id))
                continue
            text = owners[len(ids)] if len(ids) < len(owners) else texts
            ids.append(token)
            if not parts or parts[-1].text != text:
                parts.append(_Part(text, Ids(), type_id))
        if ids != [token for letter in letters for token in letter.ids] or not ids:
            raise ValueError("the tokenizer puts other things around its texts than special tokens")
        return cls(tuple(parts), sum(part.text is None for part in parts))

    def marked(self, marker: int) -> _Layout:
        """The layout with a further special token, behind its first one or at the start."""
        place = 1 if self.parts[0].text is None else 0
        return _Layout((*self.parts[:place], _Part(None, Ids.of([marker]), 0), *self.parts[place:]), self.specials + 1)

    def frame(self, *before: Ids) -> _Frame:
        """The frame of the last text, after the texts ``before``."""
        last = len(before)
        place = next(place for place, part in enumerate(self.parts) if part.text == last)
        return _Frame(
            _Stretch.of(self.parts[:place], before),
            Ids.of([self.parts[place].type_id]),
            _Stretch.of(self.parts[place + 1 :], ()),
        )


class _Stretch(NamedTuple):
    """Ids that stand together, with their segments."""

    ids: Ids
    type_ids: Ids

    @classmethod
    def of(cls, parts: Sequence[_Part], texts: Sequence[Ids]) -> _Stretch:
        """Parts of a layout, end to end."""
        filled = [(part.ids if part.text is None else texts[part.text], part.type_id) for part in parts]
        return cls(
            Ids.of([token for ids, _ in filled for token in ids]),
            Ids.of([type_id for ids, type_id in filled for _ in ids]),
        )


class _Frame(NamedTuple):
    """Tokens before and after a text."""

    before: _Stretch
    type_id: Ids
    """Of each of the text's tokens."""
    after: _Stretch

    def around(self, ids: Ids, cut: Span | None = None) -> TokenIds:
        """The sequence with this text."""
        type_ids = self.before.type_ids + self.type_id * len(ids) + self.after.type_ids
        return TokenIds(self.before.ids + ids + self.after.ids, type_ids, cut)
