"""Reading of upstreams' answers: scores and tokens, or the reason that an error states. Pure; nothing is believed."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from rerank.text_file import UnfitFile, parse_json


class Nonsense(ValueError):
    """The answer is not what it should be; the message continues "it answered with"."""


class Scored(NamedTuple):
    """A document's score, and whether it was cut; None if the upstream does not say."""

    score: float
    truncated: bool | None = None


class Answer(NamedTuple):
    """Scores in the order of the documents, and the tokens that the upstream says it read."""

    scores: list[Scored]
    tokens: int | None


class Reason(NamedTuple):
    """What an error answer says, and the document that it names."""

    text: str
    document: int | None = None


_LISTS = (("results",), ("data",), ("rankings",), ("output", "results"))
_SCORES = ("relevance_score", "score", "logit")
_TOKENS = (
    ("usage", "total_tokens"),
    ("usage", "prompt_tokens"),
    ("meta", "tokens", "input_tokens"),
    ("tokens", "input_tokens"),
    ("meta", "billed_units", "input_tokens"),
)
_MESSAGES = (("error", "message"), ("error",), ("message",), ("detail",), ("code",))
_MAX_REASON = 300
_MAX_TOKENS = 2**32
"""The cache has 32 bits for the tokens of a pair."""
_DOCUMENT = re.compile(r"\b(?:documents|texts|passages|inputs)(?:\.|\[| )(\d{1,6})\b\]?")


def read_answer(content: bytes, documents: int) -> Answer:
    """The answer to a call with a number of ``documents``. Raises Nonsense."""
    try:
        body = parse_json(content)
    except UnfitFile as error:
        raise Nonsense("something that is not JSON") from error
    results = body if isinstance(body, list) else _first(body, _LISTS, list)
    if results is None:
        raise Nonsense("no list of results")
    return Answer(_in_order(results, documents), _tokens(body))


def _in_order(results: Sequence[Any], documents: int) -> list[Scored]:
    if len(results) != documents:
        raise Nonsense(f"{len(results)} scores for {documents} documents")
    scores: list[Scored | None] = [None] * documents
    for result in results:
        index = _index(result, documents)
        if scores[index] is not None:
            raise Nonsense(f"two scores for document {index}")
        scores[index] = Scored(_score(result), _truncated(result))
    return [score for score in scores if score is not None]


def _index(result: Any, documents: int) -> int:
    index = result.get("index") if isinstance(result, dict) else None
    if type(index) is not int or not 0 <= index < documents:
        raise Nonsense("an index that no document has")
    return index


def _score(result: dict[str, Any]) -> float:
    score = next((result[name] for name in _SCORES if name in result), None)
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise Nonsense("a score that is not a number")
    try:
        number = float(score)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise Nonsense("a score that is not finite")
    return number


def _truncated(result: dict[str, Any]) -> bool | None:
    """Servers of this kind say it, others do not."""
    said = result.get("truncated")
    return said if isinstance(said, bool) else None


def _tokens(body: Any) -> int | None:
    tokens = _first(body, _TOKENS, int)
    return tokens if tokens is not None and 0 < tokens < _MAX_TOKENS else None


def read_reason(content: bytes, documents: int, mask: Callable[[str], str] = str) -> Reason:
    """What the error answer to a call with a number of ``documents`` says, ``mask``ed; empty where it says nothing."""
    try:
        body = parse_json(content)
    except UnfitFile:
        return Reason("")
    # a part of a key is not recognised, so it is masked before the text is cut
    said = mask(_first(body, _MESSAGES, str) or "")[:_MAX_REASON]
    param = (_first(body, (("error", "param"),), str) or "")[:_MAX_REASON]
    named = next((index for text in (param, said) for index in _named(text) if index < documents), None)
    text = _DOCUMENT.sub(lambda found: "the document" if int(found[1]) == named else found[0], said)
    return Reason(_printable(text), named)


def _named(text: str) -> Iterator[int]:
    """Numbers that may be documents' indices: "at most documents 1000" has one, too."""
    return (int(found[1]) for found in _DOCUMENT.finditer(text))


def _printable(text: str) -> str:
    """The text on one line, without what a terminal would obey."""
    return "".join(character if character.isprintable() else " " for character in text).strip()


def _first(body: Any, paths: Iterable[Sequence[str]], wanted: type) -> Any:
    """The first value of this type at one of the paths; None if there is none."""
    found = (_at(body, path) for path in paths)
    return next((value for value in found if isinstance(value, wanted) and not isinstance(value, bool)), None)


def _at(body: Any, path: Sequence[str]) -> Any:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    return body
