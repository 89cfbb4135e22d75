"""Requests of a soak that several models may answer, or with a time budget, and what is true of their answers. Pure.

Scores are known for every model of a route, so that an answer tells which model gave it, whatever it says itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from random import Random
from typing import Any

from benchmarks.soak_traffic import OK, TOLERANCE, Call, Case, Kind, words
from benchmarks.soak_upstream import MANNERS, upstream_score
from rerank.catalog.built_in import LEXICAL_MODEL_ID

UPSTREAMS = {manner: f"up/{manner}" for manner in MANNERS}
"""Models behind upstreams."""
SCORED_ALONE = ("thin-64", "qwen3-thin", LEXICAL_MODEL_ID)
"""Models of routes that this server has."""
ALWAYS, QUICK, BLEND = "soak/always", "soak/quick", "soak/blend"
FALLBACK = (UPSTREAMS["failing"], UPSTREAMS["slow"], "thin-64", LEXICAL_MODEL_ID)
CASCADE = ("thin-64", "qwen3-thin")
ENSEMBLE = ("thin-64", UPSTREAMS["healthy"])
KEEP = 5
"""Documents that the cascade's first stage keeps."""
CHUNKS = 4
ROUTED, LONG = "routed", "long"
"""Sizes of cases that are asked for in these ways only."""
_GONE = frozenset({502, 503, 504})
_BUDGETS = (1, 20, 100, 400)
_CASES = 12


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer at vLLM's address, read."""

    model: str
    results: list[dict[str, Any]]
    meta: dict[str, Any]

    @property
    def scores(self) -> dict[int, float]:
        """Relevance by index."""
        return {result["index"]: result["relevance_score"] for result in self.results}

    def attempts(self, *, ok: bool) -> list[str]:
        """Models that answered, or failed to."""
        return [attempt["model"] for attempt in self.meta["route"] if (attempt["outcome"] == "ok") is ok]

    def headers(self) -> dict[str, str]:
        """The headers that say the same."""
        said = self.meta
        return {
            "X-Rerank-Model": self.model,
            "X-Rerank-Degraded": str(said["degraded"]).lower(),
            "X-Rerank-Partial": str(said["partial"]).lower(),
            "X-Rerank-Cached": str(said["cached"]),
        }


Judge = Callable[[Case, Answer], str | None]
"""What is wrong with an answer to a case, beyond what is wrong with any; None if nothing is."""


@dataclass(frozen=True, slots=True)
class Truth:
    """An answer with every document once, that says the same everywhere, and that a judge has no objection to."""

    case: Case
    judge: Judge
    most_cached: int
    """Maximum number of scores that may come from the cache."""

    def objection(self, content: bytes, headers: Mapping[str, str]) -> str | None:
        """See ``Expected.objection``."""
        try:
            body = json.loads(content)
            answer = Answer(body["model"], body["results"], body["meta"])
            found = self._objections(answer, headers)
            return next((f"{one}: {answer.model}, {answer.meta}" for one in found if one), None)
        except (ValueError, LookupError, TypeError) as error:
            return f"no answer ({error!r}): {content[:300].decode(errors='replace')}"

    def _objections(self, answer: Answer, headers: Mapping[str, str]) -> Iterable[str | None]:
        yield documents_objection(answer, len(self.case.documents))
        if any(headers.get(name) != value for name, value in answer.headers().items()):
            yield f"headers {dict(headers)} and meta differ"
        if not 0 <= answer.meta["cached"] <= self.most_cached:
            yield f"more than {self.most_cached} scores from the cache"
        if {stage["model"] for stage in answer.meta["stages"]} != set(answer.attempts(ok=True)):
            yield "other models worked than answered"
        if self.judge is not in_time and answer.meta["partial"]:
            yield "partial without a time budget"
        yield self.judge(self.case, answer)


def documents_objection(answer: Answer, documents: int) -> str | None:
    """What is wrong with the documents of an answer, and their order."""
    if sorted(result["index"] for result in answer.results) != list(range(documents)):
        return f"not every one of {documents} documents is there once"
    given = [result["relevance_score"] for result in answer.results]
    return None if given == sorted(given, reverse=True) else "results are not ordered by score"


def _apart(scores: Mapping[int, float], wanted: Sequence[float]) -> str | None:
    apart = max((abs(score - wanted[index]) for index, score in scores.items()), default=0.0)
    return None if apart <= TOLERANCE else f"scores are {apart:.1e} apart from what the model gives"


def one_model(case: Case, answer: Answer) -> str | None:
    """The case's model answered, and no other was asked."""
    if (answer.model, answer.meta["degraded"], answer.attempts(ok=True)) != (case.model, False, [case.model]):
        return f"not {case.model} alone"
    return _apart(answer.scores, case.scores)


def fallback_of(*members: str) -> Judge:
    """The first member that did not fail answered, and the answer says so."""

    def judge(case: Case, answer: Answer) -> str | None:
        tried = [attempt["model"] for attempt in answer.meta["route"]]
        if tried != list(members[: len(tried)]) or answer.attempts(ok=True) != tried[-1:] or answer.model != tried[-1]:
            return "not the first member that works"
        if answer.meta["degraded"] != (len(tried) > 1):
            return "wrongly degraded, or not"
        return _apart(answer.scores, case.by_model[answer.model])

    return judge


def cascade(case: Case, answer: Answer) -> str | None:
    """The first stage's best documents come first, with scores of the second."""
    first, second = (case.by_model[model] for model in CASCADE)
    stages = [{result["index"] for result in answer.results if result["stage"] == stage} for stage in (1, 2)]
    keep = min(KEEP, len(case.documents))
    if len(stages[1]) != keep or len(stages[0]) != len(case.documents) - keep:
        return f"{len(stages[1])} documents came to the last stage, not {keep}"
    if stages[0] and max(first[index] for index in stages[0]) > min(first[index] for index in stages[1]) + TOLERANCE:
        return "a better document did not come to the last stage"
    if {result["index"] for result in answer.results[:keep]} != stages[1] or answer.meta["degraded"]:
        return "not the last stage's documents first"
    rest = [first[result["index"]] for result in answer.results[keep:]]
    if any(later > earlier + TOLERANCE for earlier, later in pairwise(rest)):
        return "the rest is not in the first stage's order"
    return _apart({index: answer.scores[index] for index in stages[1]}, second)


def ensemble(case: Case, answer: Answer) -> str | None:
    """The mean of the members that answered; without one the answer is degraded."""
    members = [case.by_model[model] for model in answer.attempts(ok=True)]
    if not members or set(answer.attempts(ok=True) + answer.attempts(ok=False)) != set(ENSEMBLE):
        return "other models than the members"
    if answer.meta["degraded"] != (len(members) < len(ENSEMBLE)) or answer.model != BLEND:
        return "wrongly degraded, or not"
    return _apart(answer.scores, [sum(scores) / len(members) for scores in zip(*members, strict=True)])


def in_chunks(case: Case, answer: Answer) -> str | None:
    """Scores and best chunks as alone."""
    found = {result["index"]: chunk_of(result) for result in answer.results}
    if [found[index] for index in range(len(found))] != list(case.best_chunks):
        return f"other best chunks: {found}"
    return one_model(case, answer)


def chunk_of(result: Mapping[str, Any]) -> tuple[int, int] | None:
    """Where a result's best chunk is."""
    chunk = result.get("best_chunk")
    return (chunk["start"], chunk["end"]) if chunk else None


def in_time(case: Case, answer: Answer) -> str | None:
    """What was scored is right and comes first; the rest follows in request order, and makes the answer partial."""
    scored = [result for result in answer.results if result.get("scored", True)]
    rest = answer.results[len(scored) :]
    if answer.meta["partial"] != bool(rest) or answer.meta["degraded"] or answer.model != case.model:
        return "wrongly partial, or not"
    if any(result.get("scored", True) or result["relevance_score"] != 0 for result in rest):
        return "documents without a score are not the last"
    indices = [result["index"] for result in rest]
    if indices != sorted(indices):
        return "documents without a score are not in request order"
    return _apart({result["index"]: result["relevance_score"] for result in scored}, case.scores)


def make_routed(random: Random) -> list[Case]:
    """Cases for routes, with the scores of upstreams; those of ``SCORED_ALONE`` are to be asked for."""
    texts = [(_few(random, 6), tuple(_few(random, 20) for _ in range(random.randint(3, 30)))) for _ in range(_CASES)]
    return [
        Case(
            ROUTED,
            SCORED_ALONE[0],
            query,
            documents,
            by_model={model: upstream_scores(model, query, documents) for model in UPSTREAMS.values()},
        )
        for query, documents in texts
    ]


def make_long(random: Random) -> list[Case]:
    """Cases of documents that are longer than their model reads."""
    return [
        Case(LONG, "thin-64", words(random, 6), tuple(words(random, 1500, least=20) for _ in range(3)))
        for _ in range(_CASES // 3)
    ]


def _few(random: Random, most: int) -> str:
    """A text of a small vocabulary, so that texts have words in common."""
    return words(random, most, vocabulary=40)


def upstream_scores(model: str, query: str, documents: Sequence[str]) -> tuple[float, ...]:
    """What an upstream's model gives."""
    return tuple(upstream_score(model, query, document) for document in documents)


def ask_for(case: Case, model: str, judge: Judge, **fields: Any) -> Call:
    """The request for a case, and what is true of its answer."""
    body = {"model": model, "query": case.query, "documents": case.documents, "return_documents": False, **fields}
    most = 0 if fields.get("cache") is False else len(case.documents) * max(CHUNKS, len(ENSEMBLE))
    return Call("/v1/rerank", json.dumps(body).encode(), expected=Truth(case, judge, most))


def _routed(model: str, judge: Judge, **fields: Any) -> Callable[[Random, Sequence[Case]], Call]:
    def make(random: Random, cases: Sequence[Case]) -> Call:
        case = random.choice([case for case in cases if case.size == ROUTED])
        # half of them take what the cache has
        return ask_for(case, model, judge, **fields, cache=random.random() < 0.5)

    return make


def _upstream(manner: str) -> Callable[[Random, Sequence[Case]], Call]:
    model = UPSTREAMS[manner]

    def make(random: Random, _: Sequence[Case]) -> Call:
        # never asked before, so that none of its scores can be in the cache
        query, documents = f"{random.getrandbits(64):x}", [_few(random, 20) for _ in range(random.randint(1, 60))]
        case = Case(ROUTED, model, query, tuple(documents), upstream_scores(model, query, documents))
        call = ask_for(case, model, one_model)
        return replace(call, expected=Truth(case, one_model, 0), allowed=OK | _GONE)

    return make


def _long(random: Random, cases: Sequence[Case]) -> Call:
    case = random.choice([case for case in cases if case.size == LONG])
    return ask_for(case, case.model, in_chunks, max_chunks_per_doc=CHUNKS, cache=random.random() < 0.5)


def _budget(random: Random, cases: Sequence[Case]) -> Call:
    case = random.choice([case for case in cases if case.size in ("middle", "large")])
    budget = random.choice(_BUDGETS)
    if random.random() < 0.5:
        return ask_for(case, case.model, in_time, budget_ms=budget, cache=random.random() < 0.2)
    return replace(ask_for(case, case.model, in_time), headers={"X-Rerank-Budget-Ms": str(budget)})


_TRUE = "200, scores of the model that it names"
ROUTED_KINDS = (
    Kind("upstream that works", 40, f"{_TRUE}; 502 to 504 while it is killed", _upstream("healthy")),
    Kind("upstream that is slow", 20, f"{_TRUE}; 502 to 504 while it is killed", _upstream("slow")),
    Kind("upstream that fails", 20, f"{_TRUE}; 502 to 504", _upstream("failing")),
    Kind("fallback", 60, f"{_TRUE}, degraded if not the first", _routed(ALWAYS, fallback_of(*FALLBACK))),
    Kind(
        "fallbacks of the request's own",
        20,
        f"{_TRUE}, degraded if not the first",
        _routed(FALLBACK[0], fallback_of(*FALLBACK[:3]), fallbacks=FALLBACK[1:3]),
    ),
    Kind("cascade", 30, "200, each result by its stage", _routed(QUICK, cascade)),
    Kind("ensemble", 20, "200, the mean; degraded without the upstream", _routed(BLEND, ensemble)),
    Kind("long documents in chunks", 20, "200, scores and best chunks as alone", _long),
    Kind("too little time (budget)", 20, "200, partial if not all is scored, in order, scores as alone", _budget),
)
