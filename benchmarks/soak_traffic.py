"""What the soak sends: every kind of request, what may come back for it, and whether what came is right. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Protocol

KEY = "soak-key"
ADMIN_KEY = "soak-admin"
MAX_BODY_BYTES = 1_000_000
MAX_DOCUMENTS = 1000
TOLERANCE = 1e-4
"""By how much a score may differ with what shares its batch."""

OK = frozenset({200})
SIZES = {"small": (4, 1, 8, 30), "middle": (2, 20, 80, 12), "large": (1, 300, MAX_DOCUMENTS, 4)}
"""How many cases each model has of a size, from how many documents to how many, and most words of a document."""


@dataclass(frozen=True, slots=True)
class Case:
    """A ranking whose scores are known from when it was asked for alone."""

    size: str
    model: str
    query: str
    documents: tuple[str, ...]
    scores: tuple[float, ...] = ()
    by_model: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """The scores of other models."""
    best_chunks: tuple[tuple[int, int] | None, ...] = ()
    """Where each document's best chunk is, if it was asked for in chunks."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a ranking is asked for, and where it stands in the answer."""

    path: str
    body: Callable[[Case, int | None], dict[str, Any]]
    """The body for a case, and for how many results; None: all."""
    ranking: Callable[[Any], list[tuple[int, float]]]
    """Index and score of each result."""


class Expected(Protocol):
    """What an answer with status 200 has to hold."""

    def objection(self, content: bytes, headers: Mapping[str, str]) -> str | None:
        """What is wrong with an answer; None if nothing is."""
        ...


@dataclass(frozen=True, slots=True)
class Ranking:
    """All of a model's scores, and nothing about them that an ordinary answer does not say."""

    case: Case
    dialect: Dialect
    top_n: int | None = None
    cached: bool = True
    """False if the request asks for scores that are computed again."""

    def objection(self, content: bytes, headers: Mapping[str, str]) -> str | None:
        """See ``Expected.objection``."""
        return self._content_objection(content) or self._header_objection(headers)

    def _header_objection(self, headers: Mapping[str, str]) -> str | None:
        most = len(self.case.documents) if self.cached else 0
        said = tuple(headers.get(f"X-Rerank-{name}") for name in ("Model", "Degraded", "Partial", "Cached"))
        if said[:3] != (self.case.model, "false", "false") or not said[3] or not 0 <= int(said[3]) <= most:
            return f"its headers say {said}, with at most {most} scores from the cache"
        return None

    def _content_objection(self, content: bytes) -> str | None:
        try:
            answer = json.loads(content)
            results = self.dialect.ranking(answer)
        except (ValueError, LookupError, TypeError) as error:
            return f"no ranking ({error!r}): {content[:300].decode(errors='replace')}"
        if isinstance(answer, dict) and answer.get("model", self.case.model) != self.case.model:
            return f"answered by {answer['model']}, not {self.case.model}"
        return ranking_objection(results, self.case.scores, self.top_n)


@dataclass(frozen=True, slots=True)
class Call:
    """One request, and what may come of it."""

    path: str
    content: bytes | None = None
    """None: a GET."""
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict)
    allowed: frozenset[int] = OK
    expected: Expected | None = None
    withheld: int = 0
    """Bytes at the end of the body that are never sent."""
    leaves_after: float | None = None
    """Seconds after which the client closes the connection, answered or not."""

    def objection(self, status: int, content: bytes, headers: Mapping[str, str]) -> str | None:
        """What is wrong with an answer; None if nothing is."""
        if status not in self.allowed:
            return f"{status} is not among {sorted(self.allowed)}: {content[:300].decode(errors='replace')}"
        return self.expected.objection(content, headers) if self.expected and status == 200 else None


def ranking_objection(
    results: Sequence[tuple[int, float]], scores: Sequence[float], top_n: int | None = None
) -> str | None:
    """What is wrong with a ranking of documents that have these scores; None if nothing is."""
    indices = [index for index, _ in results]
    wanted = min(top_n or len(scores), len(scores))
    if len(results) != wanted or len(set(indices)) != wanted or not set(indices) <= set(range(len(scores))):
        return f"{wanted} of the documents 0 to {len(scores) - 1} were wanted, these came: {indices[:20]}"
    apart = max(abs(score - scores[index]) for index, score in results)
    if not apart <= TOLERANCE:
        return f"scores are {apart:.1e} apart from those of the same request alone"
    given = [score for _, score in results]
    if given != sorted(given, reverse=True):
        return "results are not ordered by score"
    left_out = max((score for index, score in enumerate(scores) if index not in set(indices)), default=-math.inf)
    return "a better document was left out" if left_out > given[-1] + TOLERANCE else None


def _flat(case: Case, top_n: int | None) -> dict[str, Any]:
    body = {"model": case.model, "query": case.query, "documents": case.documents}
    return body if top_n is None else body | {"top_n": top_n}


def _texts(case: Case, top_n: int | None) -> dict[str, Any]:
    body = _flat(case, top_n)
    return body | {"texts": body.pop("documents")}


def _nested(case: Case, top_n: int | None) -> dict[str, Any]:
    return {
        "model": case.model,
        "input": {"query": case.query, "documents": case.documents},
        "parameters": {"return_documents": False} | ({} if top_n is None else {"top_n": top_n}),
    }


def _results(results: Any, score: str = "relevance_score") -> list[tuple[int, float]]:
    return [(result["index"], result[score]) for result in results]


VLLM = Dialect("/v1/rerank", _flat, lambda answer: _results(answer["results"]))
DIALECTS = {
    "vLLM": VLLM,
    "Cohere v2": replace(VLLM, path="/v2/rerank"),
    "TEI": Dialect("/rerank", _texts, lambda answer: _results(answer, "score")),
    "DashScope": Dialect(
        "/api/v1/services/rerank/text-rerank/text-rerank", _nested, lambda answer: _results(answer["output"]["results"])
    ),
}


def make_cases(model: str, random: Random, sizes: Collection[str] = SIZES) -> list[Case]:
    """Rankings of these sizes for a model."""
    return [
        Case(size, model, words(random, 6), tuple(words(random, longest) for _ in range(random.randint(least, most))))
        for size in sizes
        for cases, least, most, longest in [SIZES[size]]
        for _ in range(cases)
    ]


def words(random: Random, most: int, vocabulary: int = 1000, least: int = 2) -> str:
    """A text of a number of words."""
    return " ".join(f"w{random.randrange(vocabulary)}" for _ in range(random.randint(least, most)))


def ask(ranking: Ranking) -> Call:
    """The request for a ranking."""
    body = ranking.dialect.body(ranking.case, ranking.top_n) | ({} if ranking.cached else {"cache": False})
    return Call(ranking.dialect.path, json.dumps(body).encode(), expected=ranking)


def _rank(random: Random, cases: Sequence[Case], *sizes: str) -> Call:
    case = random.choice([case for case in cases if case.size in sizes])
    top_n = random.choice([None, None, random.randint(1, len(case.documents) + 5)])
    # the models would have nothing to do if all scores were taken from the cache
    return ask(Ranking(case, random.choice(list(DIALECTS.values())), top_n, cached=random.random() < 0.3))


def _wrong(random: Random, _: Sequence[Case]) -> Call:
    return random.choice(_WRONG)


def _unknown_model(random: Random, cases: Sequence[Case]) -> Call:
    case = replace(random.choice(cases), model=f"nobody/knows-{random.randrange(100)}")
    call = ask(Ranking(case, random.choice(list(DIALECTS.values()))))
    return replace(call, allowed=frozenset({404}))


def _wrong_key(random: Random, cases: Sequence[Case]) -> Call:
    given = random.choice(["", "Bearer wrong", f"Bearer {KEY}x"])
    return replace(_rank(random, cases, "small"), headers={"Authorization": given}, allowed=frozenset({401}))


def _leave(random: Random, cases: Sequence[Case]) -> Call:
    return replace(_rank(random, cases, "middle", "large"), leaves_after=random.uniform(0, 0.3))


def _half(random: Random, cases: Sequence[Case]) -> Call:
    call = _rank(random, cases, "middle")
    return replace(call, withheld=random.randint(1, len(call.content or b"")), leaves_after=random.uniform(0, 0.3))


def _stall(random: Random, cases: Sequence[Case]) -> Call:
    return replace(_rank(random, cases, "small"), withheld=random.randint(1, 20), allowed=frozenset({408}))


def _hurry(random: Random, cases: Sequence[Case]) -> Call:
    call = _rank(random, cases, "small", "middle", "large")
    within = {"X-Request-Timeout": f"{random.uniform(0.001, 0.5):.3f}"}
    return replace(call, headers=within, allowed=frozenset({200, 429, 503, 504}))


def _administer(random: Random, cases: Sequence[Case]) -> Call:
    model = random.choice(cases).model
    act, body = random.choice([("load", {}), ("unload", {}), ("pin", {"pinned": random.random() < 0.5})])
    # with one small model pinned every other still fits
    path = f"/v1/models/{PINNED if act == 'pin' else model}/{act}"
    return Call(path, json.dumps(body).encode(), headers={"Authorization": f"Bearer {ADMIN_KEY}"})


def _look(random: Random, cases: Sequence[Case]) -> Call:
    model = random.choice(cases).model
    paths = ("/v1/models", "/metrics", "/ready", "/health", "/load", "/", f"/v1/models/{model}", "/version")
    # the last is 503 while the model is not in memory
    if random.random() < 1 / len(paths):
        return Call(f"/ready?model={model}", method="GET", allowed=frozenset({200, 503}))
    return Call(random.choice(paths), method="GET")


def _bad(status: int, content: Any, path: str = "/v1/rerank", **headers: str) -> Call:
    sent = content if isinstance(content, bytes) else json.dumps(content).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Call(path, sent, headers=named, allowed=frozenset({status}))


PINNED = "qwen3-thin"
_NATIVE = DIALECTS["DashScope"].path
_FINE = {"query": "a", "documents": ["a"]}
_WRONG = (
    _bad(400, b'{"query": '),
    _bad(400, b"\xff\xfe\x00"),
    _bad(400, b""),
    _bad(400, {"query": "a"}),
    _bad(400, _FINE | {"documents": []}),
    _bad(400, _FINE | {"documents": 5}, "/v2/rerank"),
    _bad(400, _FINE | {"query": None}),
    _bad(400, _FINE | {"top_n": -1}),
    _bad(400, _FINE | {"documents": ["a"] * (MAX_DOCUMENTS + 1)}),
    _bad(400, {"input": {}}, _NATIVE),
    _bad(422, {"query": "a", "texts": [5]}, "/rerank"),
    _bad(400, _FINE, Content_Type="text/plain"),
    _bad(400, _FINE, X_Request_Timeout="soon"),
    _bad(413, b" " * (MAX_BODY_BYTES + 1)),
    _bad(404, _FINE, "/nowhere"),
    _bad(405, _FINE, "/metrics"),
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of request."""

    name: str
    share: int
    """How many of a thousand are of it."""
    allowed: str
    """What may come of it; everything else is a failure."""
    make: Callable[[Random, Sequence[Case]], Call]


_EXACT = "200, every result, in order, scores as alone"
PLAIN_KINDS = (
    Kind("1 to 8 documents", 230, _EXACT, lambda random, cases: _rank(random, cases, "small")),
    Kind("20 to 80 documents", 100, _EXACT, lambda random, cases: _rank(random, cases, "middle")),
    Kind(f"300 to {MAX_DOCUMENTS} documents", 20, _EXACT, lambda random, cases: _rank(random, cases, "large")),
    Kind("too little time (X-Request-Timeout)", 60, f"429, 503, 504, or {_EXACT}", _hurry),
    Kind("wrong: body, header, address, size", 100, "the 4xx of what is wrong", _wrong),
    Kind("unknown model", 30, "404", _unknown_model),
    Kind("no key, or a wrong one", 30, "401", _wrong_key),
    Kind("body that stops coming", 5, "408", _stall),
    Kind("client leaves with half a body sent", 40, "left", _half),
    Kind("client leaves before the answer", 70, f"left, or {_EXACT}", _leave),
    Kind("load, unload, pin", 15, "200", _administer),
    Kind("models, metrics, readiness", 50, "200; 503 from /ready?model= while that model is not in memory", _look),
)
