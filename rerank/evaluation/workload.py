"""What speeds are measured on: documents of mixed length, or the user's own texts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy

from rerank.core import Pair
from rerank.evaluation.reading.lines import DataError, Line, lines_of, text_of
from rerank.evaluation.reading.lists import texts_in

QUERY = "how do token budgets keep a batch within memory"
_COMMON = """
time people year way day thing world life hand part child eye woman place work week case point company number group
problem fact good new first last long great little own other old right big high small large next early young public
same able home water room mother area money story month book word business issue side head house service friend father
power hour game line end member law car city name team minute idea body back face door the of and to in is that for it
with as on be at by this from or have an they which one had not but what all
"""
WORDS = tuple(_COMMON.split())
"""Each of them is one token to almost every tokenizer."""
_MOST_DOCUMENTS = 5_000
_MOST_CHARACTERS = 20_000_000
"""What is read of a user's file: either."""

Request = tuple[Pair, ...]
"""The pairs of one request."""


def mixed_documents(count: int, seed: int = 0, words: Sequence[str] = WORDS) -> list[str]:
    """Documents of 20 to 370 words, log-normal, about 138 on average."""
    random = numpy.random.default_rng(seed)
    lengths = numpy.clip(random.lognormal(mean=4.75, sigma=0.6, size=count), 20, 370).astype(int)
    return [" ".join(words[word] for word in random.integers(0, len(words), size=length)) for length in lengths]


def mixed_requests(count: int, documents: int) -> list[Request]:
    """Requests of ``documents`` documents each, no two of them equal."""
    return [_request(QUERY, mixed_documents(documents, seed)) for seed in range(count)]


def endless(requests: Sequence[Request]) -> Iterator[Request]:
    """The requests over and over, each time with documents that begin elsewhere: a model keeps what it has read."""
    for turn in itertools.count():
        for request in requests:
            yield tuple([Pair(query, turned(document, turn)) for query, document in request])


def turned(text: str, by: int) -> str:
    """The text, begun this many words later; or letters, if it has no spaces."""
    between = " " if " " in text else ""
    parts = text.split(" ") if between else [*text]
    place = by % max(len(parts), 1)
    return between.join(parts[place:] + parts[:place])


def requests_in_file(path: Path, documents: int) -> list[Request]:
    """Requests of the texts in a file: a document per line, ``documents`` in a request; or JSONL.

    An object of JSONL has ``query`` and ``documents``, which is a request of its own, or ``text`` alone. Reading ends
    after 5,000 documents or 20 million characters. Raises DataError.
    """
    requests: list[Request] = []
    texts: list[str] = []
    for query, found in _found_in(path):
        if query is None:
            texts += found
        else:
            requests.append(_request(query, found))
    requests += [_request(QUERY, texts[start : start + documents]) for start in range(0, len(texts), documents)]
    if not requests:
        raise DataError(f"{path}: holds no texts")
    return requests


def _request(query: str, documents: Sequence[str]) -> Request:
    return tuple(Pair(query, document) for document in documents)


def _found_in(path: Path) -> Iterator[tuple[str | None, list[str]]]:
    """Query, if there is one, and documents of each line, until there are enough."""
    documents, characters = _MOST_DOCUMENTS, _MOST_CHARACTERS
    for line in lines_of(path):
        query, found = _content(line)
        yield query, found[:documents]
        documents -= len(found)
        characters -= len(line.text)
        if documents <= 0 or characters <= 0:
            return


def _content(line: Line) -> tuple[str | None, list[str]]:
    if not line.text.lstrip().startswith("{"):
        return None, [line.text]
    record = line.record()
    if "text" in record and "documents" not in record:
        return None, [text_of(record["text"], line, "text")]
    return texts_in(line, record.get("query"), record.get("documents"))
