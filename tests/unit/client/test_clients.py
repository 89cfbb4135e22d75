"""Both clients against a real HTTP server: they must not differ."""

from __future__ import annotations

import asyncio
import builtins
import gc
import importlib
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import aiohttp
import pytest
import requests

import rerank_client
from rerank_client import (
    AuthenticationError,
    BadRequestError,
    ConnectionFailedError,
    InvalidResponseError,
    NotFoundError,
    OverloadedError,
    RerankClient,
    RerankError,
    RerankResult,
    ServerError,
    SyncRerankClient,
    TimeoutFailedError,
    UnavailableError,
)

from .conftest import Caller
from .server import Answer, FakeServer, Seen

DOCUMENTS = ["a bear", "a tool of data scientists", "熊猫"]


def one_result(**changes: Any) -> Answer:
    return Answer(content={"results": [{"index": 0, "relevance_score": 0.5, "document": None, **changes}]})


# ---------------------------------------------------------------- what is asked and answered


def test_results_come_in_the_order_of_the_server(call: Caller, server: FakeServer) -> None:
    assert call(server.url, "rerank", "q", DOCUMENTS) == [
        RerankResult(1, 1.0, "a tool of data scientists"),
        RerankResult(0, 6 / 25, "a bear"),
        RerankResult(2, 2 / 25, "熊猫"),
    ]


def test_the_body_holds_only_what_was_given(call: Caller, server: FakeServer) -> None:
    call(server.url, "rerank", "什么", DOCUMENTS)
    assert (server.last.method, server.last.path) == ("POST", "/v1/rerank")
    assert server.last.content == {"query": "什么", "documents": DOCUMENTS}
    assert server.last.headers["Content-Type"] == "application/json"
    assert "Authorization" not in server.last.headers


def test_every_option_is_sent(call: Caller, server: FakeServer) -> None:
    options = {
        "instruction": "find it",
        "return_documents": False,
        "truncate_prompt_tokens": 128,
        "max_tokens_per_doc": 0,
    }
    results = call(server.url, "rerank", "q", [{"text": "a", "id": 7}, "bc"], 1, "bge", raw_scores=True, **options)
    assert [result.index for result in results] == [1]
    documents = [{"text": "a", "id": 7}, "bc"]
    named = {"query": "q", "documents": documents, "top_n": 1, "model": "bge", "use_activation": False}
    assert server.last.content == named | options


@pytest.mark.parametrize(
    ("document", "text"), [({"text": "a"}, "a"), ("a", "a"), (None, None), ({}, None), ({"text": None}, None)]
)
def test_a_document_comes_in_every_form(call: Caller, server: FakeServer, document: Any, text: str | None) -> None:
    server.script.append(one_result(document=document))
    assert call(server.url, "rerank", "q", ["a"]) == [RerankResult(0, 0.5, text)]


def test_a_document_may_be_absent(call: Caller, server: FakeServer) -> None:
    server.script.append(Answer(content={"results": [{"index": 0, "relevance_score": 1}]}))
    assert call(server.url, "rerank", "q", ["a"]) == [RerankResult(0, 1.0, None)]


def test_a_body_of_megabytes_goes_through(call: Caller, server: FakeServer, naps: list[float]) -> None:
    server.script.append(Answer(503))
    text = "熊" * 1_500_000
    assert call(server.url, "rerank", "q", [text]) == [RerankResult(0, 1.0, text)]
    assert int(server.last.headers["Content-Length"]) > 4_500_000
    assert len(server.seen) == 2


def test_an_empty_list_of_documents_is_for_the_server_to_judge(call: Caller, server: FakeServer) -> None:
    server.script.append(Answer(400, {"error": {"message": "documents is empty"}}))
    with pytest.raises(BadRequestError, match="documents is empty"):
        call(server.url, "rerank", "q", [])
    assert server.last.content["documents"] == []


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/v1/rerank", "/v1/rerank/"])
def test_every_form_of_the_base_url_works(call: Caller, server: FakeServer, suffix: str) -> None:
    call(server.url + suffix, "rerank", "q", ["a"])
    call(server.url + suffix, "models")
    assert call(server.url + suffix, "health") is True
    assert [seen.path for seen in server.seen] == ["/v1/rerank", "/v1/models", "/health"]


def test_the_key_is_a_bearer_token_that_repr_hides(call: Caller, server: FakeServer) -> None:
    call.with_options(server.url, api_key=" secret-key\n")("rerank", "q", ["a"])
    assert server.last.headers["Authorization"] == "Bearer secret-key"
    client = call.client_class(server.url, "secret-key")
    assert "secret-key" not in repr(client)
    assert server.url in repr(client)
    assert "secret-key" not in repr(client._request("GET", "/health"))


def test_models_are_the_data_of_the_list(call: Caller, server: FakeServer) -> None:
    assert call(server.url, "models") == [{"id": "bge"}, {"id": "qwen"}]


@pytest.mark.parametrize("status", [204, 404, 500, 503])
def test_health_asks_once_and_only_200_is_well(
    call: Caller, server: FakeServer, status: int, naps: list[float]
) -> None:
    server.script.append(Answer(status))
    assert call(server.url, "health") is False
    assert len(server.seen) == 1
    assert naps == []


def test_health_is_false_when_nobody_answers(call: Caller, nobody: str, server: FakeServer) -> None:
    assert call(nobody, "health") is False
    server.behave = server.never_answer
    assert call.with_options(server.url, timeout=0.1)("health") is False


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, InvalidResponseError),
        (400, BadRequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
        (404, NotFoundError),
        (413, BadRequestError),
        (422, BadRequestError),
        (429, OverloadedError),
        (500, ServerError),
        (502, ServerError),
        (503, UnavailableError),
        (599, ServerError),
    ],
)
def test_every_status_has_its_error(call: Caller, server: FakeServer, status: int, kind: type[RerankError]) -> None:
    server.behave = lambda _: Answer(status, {"error": {"message": "no"}}, {"X-Request-Id": "abc"})
    with pytest.raises(RerankError) as caught:
        call(server.url, "rerank", "q", ["a"])
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.message, caught.value.request_id) == (status, "no", "abc")
    assert str(caught.value) == f"HTTP {status}: no (request id abc)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"error": {"message": "nested", "code": 400}, "message": "outer"}, "nested"),
        ({"object": "error", "message": "outer", "detail": "more"}, "outer"),
        ({"detail": "fastapi", "error": "plain"}, "fastapi"),
        ({"error": "plain"}, "plain"),
        ({"detail": [{"msg": "x"}]}, '{"detail": [{"msg": "x"}]}'),
        (["odd"], '["odd"]'),
        ("x" * 300, "x" * 200),
        ("", "Bad Request"),
    ],
)
def test_the_message_is_found_in_the_body(call: Caller, server: FakeServer, content: Any, message: str) -> None:
    server.script.append(Answer(400, content))
    with pytest.raises(BadRequestError) as caught:
        call(server.url, "rerank", "q", ["a"])
    assert caught.value.message == message
    assert caught.value.request_id is None


@pytest.mark.parametrize("address", ["https://elsewhere/v1/rerank", "http://[no-address"])
def test_a_redirect_is_named_and_not_followed(call: Caller, server: FakeServer, address: str) -> None:
    server.script.append(Answer(308, "", {"Location": address}))
    with pytest.raises(InvalidResponseError, match=f"redirects to {re.escape(address)};"):
        call(server.url, "rerank", "q", ["a"])
    assert len(server.seen) == 1


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, "<html>Welcome to nginx</html>", {"Content-Type": "text/html"}),
        Answer(200, ""),
        Answer(200, "[" * 100_000),
        Answer(200, []),
        Answer(200, {"data": []}),
        Answer(200, {"results": {}}),
        Answer(200, {"results": [3]}),
        Answer(200, {"results": [{"index": 0, "relevance_score": 0.5}] * 2}),
        one_result(index=1),
        one_result(index=-1),
        one_result(index=True),
        one_result(index="0"),
        one_result(index=None),
        one_result(relevance_score=None),
        one_result(relevance_score="0.5"),
        one_result(relevance_score=True),
        one_result(relevance_score=float("nan")),
        one_result(document=3),
        one_result(document={"text": 3}),
    ],
)
def test_a_200_that_is_no_rerank_answer_is_named(
    call: Caller, server: FakeServer, answer: Answer, naps: list[float]
) -> None:
    server.script.append(Answer(answer.status, answer.content, {**answer.headers, "X-Request-Id": "abc"}))
    with pytest.raises(InvalidResponseError) as caught:
        call(server.url, "rerank", "q", ["a"])
    assert (caught.value.status, caught.value.request_id) == (200, "abc")
    assert len(server.seen) == 1


def test_html_is_shown_in_the_message(call: Caller, server: FakeServer) -> None:
    server.script.append(Answer(200, "<html>Welcome to nginx</html>"))
    with pytest.raises(InvalidResponseError, match="Welcome to nginx"):
        call(server.url, "models")


@pytest.mark.parametrize("options", [{"api_key": "a\nb"}, {"api_key": "键"}, {"timeout": 0}, {"timeout": float("nan")}])
def test_impossible_settings_are_refused_at_once(call: Caller, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"api_key|timeout"):
        call.client_class("http://localhost", **options)


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": None},
        {"base_url": b"http://localhost"},
        {"api_key": b"k"},
        {"api_key": 5},
        {"max_retries": None},
        {"max_retries": 1.5},
        {"max_answer_bytes": 1.5},
    ],
)
def test_settings_of_another_type_are_refused_at_once(call: Caller, options: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"{next(iter(options))} must be (str|int), not "):
        call.client_class(**options)


@pytest.mark.parametrize("library", ["aiohttp", "requests"])
def test_a_missing_library_is_named_by_the_client_that_needs_it(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Any:
        if name == library:
            raise ModuleNotFoundError(name)
        return builtins.__import__(name)

    monkeypatch.setattr(importlib, "import_module", without)
    needs, other = (RerankClient, SyncRerankClient) if library == "aiohttp" else (SyncRerankClient, RerankClient)
    with pytest.raises(ImportError, match=f"{needs.__name__} needs {library}: pip install {library}"):
        needs()
    other()


# ---------------------------------------------------------------- retries


@pytest.mark.parametrize("status", [429, 503])
def test_an_overloaded_server_is_asked_again_when_it_said(
    call: Caller, server: FakeServer, status: int, naps: list[float]
) -> None:
    server.script.extend([Answer(status, "", {"Retry-After": "3"}), Answer(status, "", {"Retry-After": "3600"})])
    assert call(server.url, "rerank", "q", ["a"])[0].index == 0
    assert naps == [3.0, 30.0]


def test_retry_after_may_be_a_date(call: Caller, server: FakeServer, naps: list[float]) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    server.script.append(Answer(429, "", {"Retry-After": date}))
    call(server.url, "models")
    assert naps == [30.0]


def test_without_retry_after_the_wait_grows_until_the_tries_are_used_up(
    call: Caller, server: FakeServer, naps: list[float]
) -> None:
    server.behave = lambda _: Answer(503)
    with pytest.raises(UnavailableError, match="Service Unavailable"):
        call.with_options(server.url, max_retries=3)("rerank", "q", ["a"])
    assert naps == [0.5, 1.0, 2.0]
    assert len(server.seen) == 4


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500, 502])
def test_what_would_fail_again_is_not_tried_again(
    call: Caller, server: FakeServer, status: int, naps: list[float]
) -> None:
    server.behave = lambda _: Answer(status)
    with pytest.raises(RerankError):
        call(server.url, "rerank", "q", ["a"])
    assert len(server.seen) == 1
    assert naps == []


def test_a_refused_connection_is_tried_again_then_named(call: Caller, nobody: str, naps: list[float]) -> None:
    with pytest.raises(
        ConnectionFailedError, match=r"cannot reach http://127.0.0.1:\d+/v1/rerank: .*(refused|Connect call failed)"
    ) as caught:
        call(nobody, "rerank", "q", ["a"])
    assert naps == [0.5, 1.0]
    assert caught.value.status is None


def test_a_refused_connection_is_itself_whatever_the_caller_was_handling(call: Caller, nobody: str) -> None:
    try:
        raise TimeoutError("of the caller")
    except TimeoutError:
        with pytest.raises(ConnectionFailedError, match=r"refused|Connect call failed"):
            call(nobody, "rerank", "q", ["a"])


def test_a_dropped_connection_is_tried_again(call: Caller, naps: list[float]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            for _ in range(3):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(65536)

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(ConnectionFailedError):
            call(f"http://127.0.0.1:{listener.getsockname()[1]}", "rerank", "q", ["a"])
        thread.join()
    assert naps == [0.5, 1.0]


def test_silence_is_a_timeout_and_not_tried_again(call: Caller, server: FakeServer, naps: list[float]) -> None:
    server.behave = server.never_answer
    with pytest.raises(TimeoutFailedError, match=r"did not answer within 0\.1 s"):
        call.with_options(server.url, timeout=0.1)("rerank", "q", ["a"])
    assert len(server.seen) == 1
    assert naps == []


def test_an_answer_that_stops_in_the_middle_is_a_timeout(call: Caller, naps: list[float]) -> None:
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def stall() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
                done.wait()

        thread = threading.Thread(target=stall)
        thread.start()
        try:
            with pytest.raises(TimeoutFailedError):
                call.with_options(f"http://127.0.0.1:{listener.getsockname()[1]}", timeout=0.1)("rerank", "q", ["a"])
        finally:
            done.set()
            thread.join()
    assert naps == []


def test_a_connect_timeout_is_a_connection_error(
    call: Caller, server: FakeServer, naps: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def late(*_: Any, **__: Any) -> None:
        raise aiohttp.ConnectionTimeoutError("too late")

    def later(*_: Any, **__: Any) -> None:
        raise requests.ConnectTimeout("too late")

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", late)
    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", later)
    with pytest.raises(ConnectionFailedError, match="too late"):
        call(server.url, "rerank", "q", ["a"])
    assert naps == [0.5, 1.0]


def test_an_exception_without_words_is_named_by_its_class() -> None:
    assert (
        SyncRerankClient()._failure(OSError(), "http://h", timed_out=False).message == "cannot reach http://h: OSError"
    )
    looped = OSError("round")
    looped.__cause__ = looped
    assert rerank_client._innermost(looped) is looped


# ---------------------------------------------------------------- life of a client


def test_a_closed_client_says_so(call: Caller, server: FakeServer) -> None:
    if call.kind == "sync":
        client = SyncRerankClient(server.url)
        client.close()
        client.close()
        with pytest.raises(RuntimeError, match="this SyncRerankClient is closed"):
            client.health()
        return

    async def main() -> None:
        client = RerankClient(server.url)
        await client.health()
        await client.close()
        await client.close()
        with pytest.raises(RuntimeError, match="this RerankClient is closed"):
            await client.rerank("q", ["a"])

    asyncio.run(main())


def test_creating_a_client_opens_nothing(call: Caller, server: FakeServer) -> None:
    client = call.client_class(server.url)
    assert server.connections == 0
    del client
    gc.collect()


async def test_fifty_calls_at_once_share_one_session(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sessions: list[aiohttp.ClientSession] = []
    make = aiohttp.ClientSession

    def counted(**options: Any) -> aiohttp.ClientSession:
        sessions.append(make(**options))
        return sessions[-1]

    all_here = threading.Barrier(50)

    def together(seen: Seen) -> Answer:
        all_here.wait(timeout=30)
        return one_result(document=seen.content["query"])

    server.behave = together
    monkeypatch.setattr(aiohttp, "ClientSession", counted)
    async with RerankClient(server.url) as client:
        answers = await asyncio.gather(*(client.rerank(f"q{i}", ["a"]) for i in range(50)))
    assert [answer[0].document for answer in answers] == [f"q{i}" for i in range(50)]
    assert len(sessions) == 1
    assert sessions[0].closed


def test_connections_are_kept(call: Caller, server: FakeServer) -> None:
    if call.kind == "sync":
        with SyncRerankClient(server.url) as client:
            for _ in range(5):
                client.rerank("q", ["a"])
    else:

        async def main() -> None:
            async with RerankClient(server.url) as client:
                for _ in range(5):
                    await client.rerank("q", ["a"])

        asyncio.run(main())
    assert server.connections == 1


def test_one_client_serves_one_event_loop_after_another(server: FakeServer) -> None:
    client = RerankClient(server.url)
    for _ in range(3):
        assert asyncio.run(client.rerank("q", ["a"])) == [RerankResult(0, 1.0, "a")]
        gc.collect()  # a socket left open by the loop that ended would warn here
    assert len(client._sessions) == 1
    asyncio.run(client.close())
    gc.collect()


def test_one_client_serves_two_event_loops_at_once(server: FakeServer) -> None:
    client = RerankClient(server.url)
    both = threading.Barrier(2)

    async def work() -> list[RerankResult]:
        first = await client.rerank("q", ["a"])
        await asyncio.to_thread(both.wait, 30)
        return first + await client.rerank("q", ["a"])

    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(asyncio.run, work()) for _ in range(2)]
    assert [len(future.result()) for future in futures] == [2, 2]
    asyncio.run(client.close())
    gc.collect()


async def test_a_forgotten_close_leaks_nothing(server: FakeServer) -> None:
    client = RerankClient(server.url)
    await client.health()
    session = await client._session()
    del client
    gc.collect()
    for _ in range(100):
        if session.closed:
            break
        await asyncio.sleep(0)
    assert session.closed


async def test_the_blocking_client_works_inside_a_running_loop(server: FakeServer) -> None:
    with SyncRerankClient(server.url) as client:
        assert client.rerank("q", ["a"]) == [RerankResult(0, 1.0, "a")]


def test_eight_threads_share_one_blocking_client(server: FakeServer) -> None:
    all_here = threading.Barrier(8)

    def together(seen: Seen) -> Answer:
        all_here.wait(timeout=30)
        return one_result(document=seen.content["query"])

    server.behave = together
    with SyncRerankClient(server.url) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: client.rerank(f"q{i}", ["a"])[0].document, range(40)))
    assert answers == [f"q{i}" for i in range(40)]
    assert server.connections == 8


def test_the_environment_sends_nothing_elsewhere(
    call: Caller, server: FakeServer, nobody: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, nobody)
    assert call(server.url, "health") is True


def test_a_certificate_authority_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/some/ca.pem")
    assert SyncRerankClient()._session.verify == "/some/ca.pem"
