"""The functions that decide: no socket, no clock."""

from __future__ import annotations

import json
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import rerank_client
from rerank_client import (
    BadRequestError,
    ConnectionFailedError,
    InvalidResponseError,
    OverloadedError,
    RerankError,
    ServerError,
    TimeoutFailedError,
    UnavailableError,
    build_rerank_body,
    cut_to_width,
    normalize_base_url,
    parse_retry_after,
    retry_delay,
)

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RETRIED = (OverloadedError, UnavailableError, ConnectionFailedError)
FINAL = (RerankError, BadRequestError, ServerError, TimeoutFailedError, InvalidResponseError)

roots = st.builds(
    "{}://{}{}{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["localhost", "10.0.0.1", "[::1]", "rerank.example.com"]),
    st.sampled_from(["", ":8000"]),
    st.lists(st.sampled_from(["/a", "/proxy", "/v2", "/rerank", "/v1x"]), max_size=2).map("".join),
)


@given(roots, st.sampled_from(["", "/v1", "/v1/rerank"]), st.sampled_from(["", "/", "//"]), st.sampled_from(["", " "]))
def test_every_form_of_a_url_means_the_same_root(root: str, suffix: str, slash: str, space: str) -> None:
    assert normalize_base_url(space + root + suffix + slash + space) == root


@given(st.text(alphabet="/v1rerank", max_size=30))
def test_normalizing_twice_changes_nothing(path: str) -> None:
    once = normalize_base_url("http://host:1/" + path)
    assert normalize_base_url(once) == once
    assert not once.endswith("/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8000",
        "ftp://host",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://me:secret@host",
        "http://host/?a=1",
        "http://host/#a",
        "http://[::1",
    ],
)
def test_a_url_that_cannot_be_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        normalize_base_url(url)
    assert "secret" not in str(caught.value)


@given(
    st.sampled_from([*RETRIED, *FINAL]),
    st.integers(0, 2000),
    st.integers(-1, 2000),
    st.none() | st.floats(0, 1e9),
    st.floats(0, 1, exclude_max=True),
)
def test_a_retry_is_bounded_in_number_and_in_time(
    kind: type[RerankError], attempt: int, max_retries: int, retry_after: float | None, jitter: float
) -> None:
    delay = retry_delay(kind("no", retry_after=retry_after), attempt, max_retries, jitter)
    assert (delay is not None) == (kind in RETRIED and attempt < max_retries)
    if delay is not None and retry_after is not None:
        assert delay == min(retry_after, 30.0)
    elif delay is not None:
        assert min(0.5 * 2.0 ** min(attempt, 20), 8.0) / 2 <= delay <= 8.0


def test_backoff_doubles_up_to_its_cap() -> None:
    delays = [retry_delay(OverloadedError("no"), attempt, 9, 1.0) for attempt in range(6)]
    assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0]


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("7", 7.0),
        (" 0.5 ", 0.5),
        ("7\x1f", 7.0),
        ("-3", None),
        ("soon", None),
        ("", None),
        (format_datetime(NOW + timedelta(seconds=12), usegmt=True), 12.0),
        (format_datetime(NOW - timedelta(days=1), usegmt=True), 0.0),
        ("Fri, 02 Jan 2026 03:04:06 -0000", 1.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


@given(st.text() | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,4} Jan [0-9]{1,5} [0-9:+-]*"))
def test_any_retry_after_is_read_without_harm(header: str) -> None:
    seconds = parse_retry_after(header, NOW)
    assert seconds is None or seconds >= 0


@given(st.text(), st.lists(st.text()), st.none() | st.integers())
def test_the_body_holds_what_was_given_and_nothing_else(query: str, documents: list[str], top_n: int | None) -> None:
    body = json.loads(build_rerank_body(query, documents, top_n=top_n, model=None))
    expected: dict[str, Any] = {"query": query, "documents": documents}
    assert body == (expected if top_n is None else {**expected, "top_n": top_n})


@pytest.mark.parametrize("documents", ["one", b"one", {"text": "one"}, 3, iter(["one"])])
def test_what_is_no_list_of_documents_is_refused(documents: Any) -> None:
    with pytest.raises(TypeError, match="list of texts"):
        build_rerank_body("q", documents)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_not_in_json_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        build_rerank_body("q", ["one"], min_score=number)
    with pytest.raises(ValueError, match="not JSON compliant"):
        build_rerank_body("q", [{"text": "one", "price": number}])


def test_an_error_says_all_it_knows_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(OverloadedError("full", 429, "abc", 2.0)))
    assert isinstance(error, OverloadedError)
    assert str(error) == "HTTP 429: full (request id abc)"
    assert (error.message, error.status, error.request_id, error.retry_after) == ("full", 429, "abc", 2.0)
    assert str(ConnectionFailedError("cannot reach it")) == "cannot reach it"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [
        ("short", 5, "short"),
        ("longer", 5, "long…"),
        ("熊猫熊猫", 8, "熊猫熊猫"),
        ("熊猫熊猫", 7, "熊猫熊…"),
        ("熊猫熊猫", 6, "熊猫…"),
        ("a\nb\t\r\nc", 9, "a b c"),
        ("red\x1b[31m", 20, r"red\u001b[31m"),
        ("a\u202eb\x9b2J\x7f", 40, r"a\u202eb\u009b2J\u007f"),
        ("e\u0301e\u0301", 2, "e\u0301e\u0301"),
        ("", 4, ""),
        ("ab", 1, "…"),
    ],
)
def test_text_is_cut_to_columns(text: str, width: int, shown: str) -> None:
    assert cut_to_width(text, width) == shown


@given(st.text(), st.integers(1, 40))
def test_cut_text_fits_on_one_line(text: str, width: int) -> None:
    shown = cut_to_width(text, width)
    assert sum(map(rerank_client._columns, shown)) <= width
    assert len(shown.splitlines()) <= 1
