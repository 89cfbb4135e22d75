"""What the soak counts as true of answers that several models may give, or that have a time budget."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from benchmarks.soak_routes import (
    BLEND,
    CASCADE,
    ENSEMBLE,
    KEEP,
    ROUTED,
    Judge,
    Truth,
    cascade,
    ensemble,
    fallback_of,
    in_chunks,
    in_time,
    one_model,
)
from benchmarks.soak_traffic import Case

BY_MODEL = {
    "one": (0.1, 0.9, 0.5),
    "two": (0.6, 0.2, 0.4),
    CASCADE[0]: (0.1, 0.9, 0.5, 0.4, 0.3, 0.2),
    CASCADE[1]: (0.0, 0.5, 0.6, 0.7, 0.8, 0.9),
    ENSEMBLE[1]: (0.3, 0.1, 0.5, 0.6, 0.7, 0.8),
}


def case_of(model: str, documents: int, chunks: tuple[tuple[int, int] | None, ...] = ()) -> Case:
    by_model = {name: scores[:documents] for name, scores in BY_MODEL.items()}
    return Case(ROUTED, model, "a", tuple("abcdef"[:documents]), by_model[model], by_model, chunks)


def objection(
    case: Case,
    judge: Judge,
    results: list[dict[str, Any]],
    route: Mapping[str, str],
    headers: Mapping[str, str] | None = None,
    model: str | None = None,
    **said: Any,
) -> str:
    """What is wrong with an answer that has these results; ``route``: the outcome of each attempt."""
    meta = {
        "degraded": False,
        "partial": False,
        "cached": 0,
        "route": [{"model": name, "outcome": outcome, "ms": 1.0} for name, outcome in route.items()],
        "stages": [{"model": name} for name, outcome in route.items() if outcome == "ok"],
    } | said
    truthful = {
        "X-Rerank-Model": model or case.model,
        "X-Rerank-Degraded": str(meta["degraded"]).lower(),
        "X-Rerank-Partial": str(meta["partial"]).lower(),
        "X-Rerank-Cached": str(meta["cached"]),
    }
    content = json.dumps({"model": model or case.model, "results": results, "meta": meta}).encode()
    return Truth(case, judge, 10).objection(content, truthful if headers is None else headers) or "right"


def ranked(scores: Mapping[int, float], **more: Any) -> list[dict[str, Any]]:
    return [{"index": index, "relevance_score": score, **more} for index, score in scores.items()]


ONE = ranked({1: 0.9, 2: 0.5, 0: 0.1})
TWO = ranked({0: 0.6, 2: 0.4, 1: 0.2})
FAILED = {"one": "UpstreamFailed", "two": "ok"}


class TestAnyAnswer:
    def test_a_true_one_is_right(self) -> None:
        assert objection(case_of("one", 3), one_model, ONE, {"one": "ok"}) == "right"

    @pytest.mark.parametrize(
        ("results", "said", "wrong"),
        [
            (ONE[:2], {}, "not every one of 3 documents"),
            ([*ONE[:2], ONE[0]], {}, "not every one of 3 documents"),
            (ONE[::-1], {}, "not ordered"),
            (TWO, {}, "scores are 7.0e-01 apart"),
            (ONE, {"cached": 11}, "more than 10 scores"),
            (ONE, {"cached": -1}, "more than 10 scores"),
            (ONE, {"partial": True}, "partial without"),
            (ONE, {"degraded": True}, "not one alone"),
            (ONE, {"model": "two"}, "not one alone"),
            (ONE, {"stages": []}, "other models worked"),
            (ONE, {"headers": {}}, "headers {} and meta differ"),
            (ONE, {"route": []}, "other models worked"),
            (ONE, {"stages": None}, "no answer ("),
        ],
    )
    def test_whatever_is_not_true_is_noticed(
        self, results: list[dict[str, Any]], said: dict[str, Any], wrong: str
    ) -> None:
        said = dict(said)
        route = {} if "route" in said and not said.pop("route") else {"one": "ok"}
        stages = said.pop("stages", [{"model": "one"}])
        assert wrong in objection(case_of("one", 3), one_model, results, route, stages=stages, **said)


class TestFallback:
    JUDGE = staticmethod(fallback_of("one", "two"))

    def test_the_first_that_works_answers(self) -> None:
        case = case_of("one", 3)
        assert objection(case, self.JUDGE, ONE, {"one": "ok"}) == "right"
        assert objection(case, self.JUDGE, TWO, FAILED, model="two", degraded=True) == "right"

    @pytest.mark.parametrize(
        ("results", "route", "said", "wrong"),
        [
            (TWO, FAILED, {"model": "two"}, "wrongly degraded"),
            (ONE, {"one": "ok"}, {"degraded": True}, "wrongly degraded"),
            (ONE, FAILED, {"model": "two", "degraded": True}, "scores are"),
            (ONE, FAILED, {"degraded": True}, "not the first member"),
            (TWO, {"two": "ok"}, {"model": "two"}, "not the first member"),
            (TWO, {"one": "ok", "two": "ok"}, {"model": "two", "degraded": True}, "not the first member"),
        ],
    )
    def test_an_untrue_answer_is_noticed(
        self, results: list[dict[str, Any]], route: dict[str, str], said: dict[str, Any], wrong: str
    ) -> None:
        assert wrong in objection(case_of("one", 3), self.JUDGE, results, route, **said)


class TestCascade:
    ROUTE = dict.fromkeys(CASCADE, "ok")
    LAST = ranked({5: 0.9, 4: 0.8, 3: 0.7, 2: 0.6, 1: 0.5}, stage=2)

    def test_the_last_stages_documents_come_first(self) -> None:
        assert KEEP == 5
        results = self.LAST + ranked({0: 0.1}, stage=1)
        assert objection(case_of(CASCADE[0], 6), cascade, results, self.ROUTE) == "right"

    def test_a_document_that_was_not_kept_is_noticed(self) -> None:
        worse = ranked({5: 0.9, 4: 0.8, 3: 0.7, 2: 0.6, 0: 0.0}, stage=2) + ranked({1: 0.0}, stage=1)
        assert "a better document" in objection(case_of(CASCADE[0], 6), cascade, worse, self.ROUTE)

    def test_too_few_documents_in_the_last_stage_are_noticed(self) -> None:
        fewer = self.LAST[:4] + ranked({1: 0.1, 0: 0.05}, stage=1)
        assert "4 documents came" in objection(case_of(CASCADE[0], 6), cascade, fewer, self.ROUTE)


BOTH = ranked({2: 0.5, 1: 0.5, 0: 0.2})
DEGRADED = {ENSEMBLE[0]: "ok", ENSEMBLE[1]: "UpstreamFailed"}


class TestEnsemble:
    def test_the_mean_of_those_that_answered_is_right(self) -> None:
        case = case_of(CASCADE[0], 3)
        assert objection(case, ensemble, BOTH, dict.fromkeys(ENSEMBLE, "ok"), model=BLEND) == "right"
        alone = ranked({1: 0.9, 2: 0.5, 0: 0.1})
        assert objection(case, ensemble, alone, DEGRADED, model=BLEND, degraded=True) == "right"

    def test_an_untrue_answer_is_noticed(self) -> None:
        case = case_of(CASCADE[0], 3)
        assert "wrongly degraded" in objection(case, ensemble, BOTH, DEGRADED, model=BLEND)
        assert "scores are" in objection(case, ensemble, BOTH, DEGRADED, model=BLEND, degraded=True)


def test_the_best_chunks_are_those_of_the_request_alone() -> None:
    case = case_of("one", 3, ((0, 9), None, (5, 20)))
    chunks = {0: {"best_chunk": {"start": 0, "end": 9}}, 2: {"best_chunk": {"start": 5, "end": 20}}}
    results = [result | chunks.get(result["index"], {}) for result in ONE]
    assert objection(case, in_chunks, results, {"one": "ok"}) == "right"
    assert "other best chunks" in objection(case, in_chunks, ONE, {"one": "ok"})


SCORED = ranked({1: 0.9})
REST = ranked({0: 0.0, 2: 0.0}, scored=False)


class TestBudget:
    def test_what_there_was_no_time_for_follows_in_request_order(self) -> None:
        case = case_of("one", 3)
        assert objection(case, in_time, ONE, {"one": "ok"}) == "right"
        assert objection(case, in_time, SCORED + REST, {"one": "ok"}, partial=True) == "right"

    @pytest.mark.parametrize(
        ("results", "partial", "wrong"),
        [
            (SCORED + REST, False, "wrongly partial"),
            (ONE, True, "wrongly partial"),
            (SCORED + REST[::-1], True, "not in request order"),
            (ranked({1: 0.8}) + REST, True, "scores are"),
            (SCORED + ranked({0: 0.05, 2: 0.0}, scored=False), True, "not the last"),
        ],
    )
    def test_an_untrue_answer_is_noticed(self, results: list[dict[str, Any]], partial: bool, wrong: str) -> None:
        assert wrong in objection(case_of("one", 3), in_time, results, {"one": "ok"}, partial=partial)
