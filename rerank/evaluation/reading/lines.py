"""Numbered lines of a text file, and errors that name file and line."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from rerank.errors import SettingsError
from rerank.text_file import BYTE_ORDER_MARK, UnfitFile, open_regular, parse_json

LONGEST_LINE = 16 * 1024 * 1024
"""Bytes of a line."""
_LONGEST_ID = 1024
_LARGEST_GRADE = 1_000_000


class DataError(SettingsError):
    """The data is not what it should be; the message begins with file and line."""


class Line(NamedTuple):
    """A line of a file."""

    path: Path
    number: int
    text: str

    def wrong(self, message: str) -> DataError:
        """The error with this message at this line."""
        return DataError(f"{self.path}:{self.number}: {message}")

    def record(self, *, strict: bool = False) -> dict[str, Any]:
        """The line as a JSON object; ``strict``: without NaN. Raises DataError."""
        try:
            record = parse_json(self.text, strict=strict)
        except UnfitFile as error:
            raise self.wrong(str(error)) from error
        if not isinstance(record, dict):
            raise self.wrong("is not a JSON object")
        return record


def lines_of(path: Path) -> Iterator[Line]:
    """The lines of a UTF-8 file that are not empty, as they are asked for. Raises DataError."""
    return filled(text_lines(path))


def filled(lines: Iterable[Line]) -> Iterator[Line]:
    """Those that are not blank, without their ends."""
    for line in lines:
        if line.text.strip():
            yield line._replace(text=line.text.rstrip("\r\n"))


def text_lines(path: Path) -> Iterator[Line]:
    """All lines of a UTF-8 file, with their ends, as they are asked for. Raises DataError."""
    with opened(path) as file:
        yield from readable(lines_in(file, path))


def readable(lines: Iterable[Line | DataError]) -> Iterator[Line]:
    """The lines up to the first error, which is raised."""
    for line in lines:
        if isinstance(line, DataError):
            raise line
        yield line


def lines_in(stream: IO[bytes], path: Path) -> Iterator[Line | DataError]:
    """All lines of a stream, with their ends, as they are asked for; in place of one that cannot be read its error."""
    for number, raw in enumerate(iter(lambda: stream.readline(LONGEST_LINE + 1), b""), start=1):
        line = Line(path, number, "")
        if len(raw) > LONGEST_LINE:
            _skip_rest(stream, raw)
            yield line.wrong(f"the line is longer than {LONGEST_LINE // 1024 // 1024} MiB")
            continue
        try:
            yield line._replace(text=(raw.removeprefix(BYTE_ORDER_MARK) if number == 1 else raw).decode())
        except UnicodeDecodeError as error:
            yield line.wrong(f"not UTF-8 ({error.reason} at byte {error.start} of the line)")


def _skip_rest(stream: IO[bytes], part: bytes) -> None:
    """Read a line to its end, in parts."""
    while part and not part.endswith(b"\n"):
        part = stream.readline(LONGEST_LINE)


def opened(path: Path) -> IO[bytes]:
    """The file, open for reading. Raises DataError for what is missing, unreadable, or no regular file."""
    try:
        return open_regular(path)
    except UnfitFile as error:
        raise DataError(f"{path}: {error}") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error


def records_of(path: Path) -> Iterator[tuple[Line, dict[str, Any]]]:
    """The objects of a JSONL file. Raises DataError."""
    for line in lines_of(path):
        yield line, line.record()


def identifier(value: object, line: Line, field: str) -> str:
    """The id as text; numbers are ids, too. Raises DataError."""
    if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
        raise line.wrong(f"{field} is not an id: {shown(value)}")
    if len(found := text_of(str(value), line, field).strip()) > _LONGEST_ID:
        raise line.wrong(f"{field} is longer than {_LONGEST_ID} characters")
    return found


def text_of(value: object, line: Line, field: str) -> str:
    """The text. Raises DataError for another type, and for half a surrogate pair, which no model can read."""
    if not isinstance(value, str):
        raise line.wrong(f"{field} is not text: {shown(value)}")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise line.wrong(f"{field} holds half a surrogate pair at character {error.start}") from error
    return value


def grade_of(value: object, line: Line, field: str) -> int:
    """The grade of relevance, a whole number. Raises DataError."""
    number = _number(value)
    if not number.is_integer() or abs(number) > _LARGEST_GRADE:
        raise line.wrong(f"{field} is not a whole number: {shown(value)}")
    return int(number)


def score_of(value: object, line: Line, field: str) -> float:
    """The score of a run, a finite number. Raises DataError."""
    number = _number(value)
    if not math.isfinite(number):
        raise line.wrong(f"{field} is not a finite number: {shown(value)}")
    return number


def _number(value: object) -> float:
    """NaN for what is not a number."""
    try:
        return float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return math.nan


def shown(value: object) -> str:
    """The value in an error: JSON, or a text in single quotes; cut."""
    try:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        text = "nested too deeply"
    text = text[:60] + ("..." if len(text) > 60 else "")
    return repr(text) if isinstance(value, str) else text
