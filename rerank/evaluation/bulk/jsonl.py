"""JSONL: an object per line with ``query`` and ``documents``; its other fields are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import IO, Any

from rerank.evaluation.bulk.items import Choices, Done, Item, Lines, Outcome, best
from rerank.evaluation.rankers import Asked
from rerank.evaluation.reading.lines import DataError, Line, text_of
from rerank.evaluation.reading.lists import texts_in
from rerank.text_file import UnfitFile, parse_json

_WRITTEN = {"documents", "results", "usage", "error"}
"""Fields of the input that the output has no copy of."""


class Jsonl:
    """See ``Format``. Each line of the input that is not blank is one of the output."""

    head = ""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices

    def items(self, lines: Lines) -> Iterator[Item]:
        """See ``Format.items``."""
        for line in lines:
            if isinstance(line, DataError):
                yield Item("", {}, error=str(line))
            elif line.text.strip():
                yield self._item(line._replace(text=line.text.rstrip("\r\n")))

    def _item(self, line: Line) -> Item:
        record: dict[str, Any] = {}
        try:
            record = line.record(strict=True)
            # without asking for what cannot be written
            _text(record, line.wrong)
            query, documents = texts_in(line, record.get("query"), record.get("documents"))
            if len(documents) > self._choices.most_documents:
                raise line.wrong(f"{len(documents)} documents; {self._choices.most_documents} is the maximum")
            return Item(query, record, query, tuple(documents), self._top_n(line, record), self._asked(line, record))
        except DataError as error:
            return Item(_key(record), record, error=str(error))

    def _top_n(self, line: Line, record: Mapping[str, Any]) -> int | None:
        given = record.get("top_n")
        if given is None:
            return self._choices.top_n
        if isinstance(given, bool) or not isinstance(given, int) or given < 1:
            raise line.wrong("top_n must be a whole number from 1")
        return given

    def _asked(self, line: Line, record: Mapping[str, Any]) -> Asked:
        given = record.get("instruction")
        if given is None:
            return self._choices.asked
        return replace(self._choices.asked, instruction=text_of(given, line, "instruction"))

    def rendered(self, item: Item, outcome: Outcome) -> str:
        """See ``Format.rendered``."""
        kept = {name: value for name, value in item.source.items() if name not in _WRITTEN}
        if isinstance(outcome, str):
            return _line(kept | {"error": outcome})
        results = [self._result(item, place, outcome.relevance[place]) for place in best(item, outcome)]
        return _line(
            kept | {"model": self._choices.model, "results": results, "usage": {"total_tokens": outcome.tokens}}
        )

    def _result(self, item: Item, place: int, relevance: float) -> dict[str, Any]:
        result = {"index": place, "relevance_score": relevance}
        return result | {"document": item.source["documents"][place]} if self._choices.documents_too else result

    def done(self, output: IO[bytes]) -> Done:
        """See ``Format.done``: the lines that end."""
        offset = items = 0
        last = b""
        for line in output:
            if line.endswith(b"\n"):
                offset, items, last = offset + len(line), items + 1, line
        try:
            return Done(offset, items, _key(parse_json(last or b"{}")))
        except UnfitFile as error:
            raise DataError(f"the interrupted output {error}; remove it, or add --force") from error


def _key(record: Any) -> str:
    query = record.get("query") if isinstance(record, dict) else None
    return query if isinstance(query, str) else ""


def _line(record: Mapping[str, Any]) -> str:
    try:
        text = _text(record)
        text.encode()
    except UnicodeEncodeError:
        # half a surrogate pair in a field that is only kept
        text = json.dumps(record)
    except DataError as error:
        text = json.dumps({"query": _key(record), "error": str(error)})
    return f"{text}\n"


def _text(record: Mapping[str, Any], wrong: Callable[[str], DataError] = DataError) -> str:
    """The record as JSON. Raises what ``wrong`` makes of the problem."""
    try:
        return json.dumps(record, ensure_ascii=False, allow_nan=False)
    except RecursionError as error:
        raise wrong("a field of this line is nested too deeply to be written") from error
    except ValueError as error:
        # 1e999 is read as infinity
        raise wrong("a number of this line is beyond what JSON can hold") from error
