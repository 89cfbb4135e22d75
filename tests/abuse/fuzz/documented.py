"""Requests that the documentation of the server allows, and answers as it promises them."""

from __future__ import annotations

from functools import cache
from typing import Any

import requests
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.abuse.fuzz.judge import Note, Objection, fuzz, judge
from tests.abuse.fuzz.target import KEY, Target
from tests.abuse.support import SECONDS

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
"""The first of them knows nothing of 503 and 504 by contract."""


@cache
def operations(url: str) -> list[Any]:
    """Every operation that the server documents."""
    found = list(schemathesis.openapi.from_url(f"{url}/openapi.json").get_all_operations())
    assert all(isinstance(one, Ok) for one in found)
    return [one.ok() for one in found if isinstance(one, Ok)]


def documented(target: Target, seed: int, cases: int, note: Note) -> None:
    """One operation after another, the seed says from which on."""
    known = operations(target.url)
    # an operation whose strategy has to be built anew costs as much as many cases
    each = max(10, cases // len(known))
    headers = {"Authorization": f"Bearer {KEY}"} if target.guarded and seed % 4 else {}
    with requests.Session() as session:
        session.headers.update(headers)
        for place in range(min(cases // each + 1, len(known))):
            operation = known[(seed * 7 + place) % len(known)]
            fuzz(operation.as_strategy(), lambda case: note(_answer(case, target.url, session)), seed, each)


def _answer(case: Any, url: str, session: requests.Session) -> int:
    try:
        answer = case.call_and_validate(base_url=url, checks=CHECKS[1:], session=session, timeout=SECONDS)
    except FailureGroup as failures:
        raise Objection(str(failures)) from failures
    except requests.Timeout as error:
        raise Objection(f"no answer within {SECONDS:g} s: {case.as_curl_command()}") from error
    judge(answer.status_code, answer.content, case.as_curl_command())
    return int(answer.status_code)
