"""Texts with ids: queries and documents, from JSONL as in BEIR, or from two columns with a tab between them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rerank.evaluation.reading.lines import Line, identifier, lines_of, records_of, shown, text_of

_IDS = ("_id", "id", "docid", "query_id", "doc_id")
_TEXTS = ("text", "contents")


class Text(NamedTuple):
    """A query or a document."""

    line: Line
    id: str
    text: str


def texts_of(path: Path) -> Iterator[Text]:
    """The texts of a file, as they are asked for. Raises DataError."""
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        for line, record in records_of(path):
            yield Text(line, identifier(_field(record, _IDS, line), line, "the id"), _whole(record, line))
        return
    for line in lines_of(path):
        name, tab, text = line.text.partition("\t")
        if not tab:
            raise line.wrong(f"no tab between id and text: {shown(line.text)}")
        yield Text(line, identifier(name, line, "the id"), text_of(text, line, "the text"))


def texts_by_id(path: Path, wanted: Collection[str] | None = None) -> dict[str, str]:
    """Those with the wanted ids, or all. Raises DataError, also where two of them have the same id."""
    found: dict[str, str] = {}
    for line, name, text in texts_of(path):
        if wanted is None or name in wanted:
            if name in found:
                raise line.wrong(f"the id {shown(name)} stands here for the second time")
            found[name] = text
    return found


def _field(record: dict[str, Any], names: tuple[str, ...], line: Line) -> object:
    for name in names:
        if name in record:
            return record[name]
    raise line.wrong(f"no field {names[0]}; there is {', '.join(map(shown, record)) or 'none'}")


def _whole(record: dict[str, Any], line: Line) -> str:
    """The title, if there is one, and the text, as BEIR joins them."""
    text = text_of(_field(record, _TEXTS, line), line, "the text")
    title = text_of(record.get("title") or "", line, "the title")
    return f"{title} {text}" if title else text
