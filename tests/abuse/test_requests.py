"""Requests made to get in without a key, to hold the server up, or to fill its memory; and odd ones that are fair."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rerank.api.auth import PUBLIC_PATHS
from rerank.api.dialects.main import MainDialect
from rerank.api.receiving import LimitBody
from tests.abuse.support import MEGABYTE, RawClient, post_bytes
from tests.support.app import DOCUMENTS, PATIENCE, QUERY, AppUnderTest, GatedScorer, LiveServer, bearer, error_message

KEY, OTHER_KEY = "sk-of-the-test", "sk-of-another-test"
BODY = {"query": QUERY, "documents": DOCUMENTS}
RAW_BODY = json.dumps(BODY).encode()
MAX_BODY = 100_000
PAGE = "https://chat.example"
SMALL = 200


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppUnderTest]:
    """A server with a key, whose bodies are small, which the page may use."""
    with AppUnderTest(
        tmp_path_factory.mktemp("models"),
        keys=(KEY,),
        max_body_bytes=MAX_BODY,
        cors_origins=(PAGE.upper() + "/", "http://other.example:80"),
        client="127.0.0.1",
    ) as app:
        yield app


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppUnderTest]:
    """A server without a key."""
    with AppUnderTest(tmp_path_factory.mktemp("models"), cors_origins=(PAGE,)) as app:
        yield app


@pytest.fixture(scope="module")
def live(locked: AppUnderTest) -> Iterator[RawClient]:
    """The locked server behind a socket, as `uvicorn rerank_server:app` without our protocol would serve it."""
    with LiveServer(locked.asgi) as server:
        yield RawClient("127.0.0.1", server.port)


class TestPaths:
    @pytest.mark.parametrize("prefix", sorted({*PUBLIC_PATHS, "/docs/", "/static-offline-docs", "/llm", "/v1", "/l/"}))
    def test_no_prefix_of_a_proxy_opens_a_path(
        self, locked: AppUnderTest, prefix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """uvicorn puts the prefix before every path; other servers leave it where the proxy does."""
        monkeypatch.setattr(locked.client._transport, "root_path", prefix)
        client = locked.client
        for path in ("/v1/rerank", "/v1/models", "/rerank"):
            for asked in (prefix + path, path, f"/{prefix}//{path}"):
                method = "GET" if path == "/v1/models" else "POST"
                assert client.request(method, f"http://127.0.0.1:8000{asked}", json=BODY).status_code in (
                    401,
                    404,
                    405,
                ), asked
        answer = client.post(f"http://127.0.0.1:8000{prefix}/v1/rerank", json=BODY, headers=bearer(KEY))
        assert answer.status_code == 200

    @pytest.mark.parametrize("path", sorted(PUBLIC_PATHS))
    def test_public_paths_stay_public_behind_a_prefix(
        self, locked: AppUnderTest, path: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(locked.client._transport, "root_path", "/llm")
        assert locked.client.get("/llm" + path).status_code in (200, 204, 503)

    @pytest.mark.parametrize("path", ["//v1/rerank", "/v1//rerank", "/v1/rerank//", "///v1///rerank"])
    def test_doubled_slashes_are_one(self, locked: AppUnderTest, path: str) -> None:
        client = locked.client
        assert client.post(f"http://127.0.0.1:8000{path}", json=BODY).status_code == 401
        assert client.post(f"http://127.0.0.1:8000{path}", json=BODY, headers=bearer(KEY)).status_code == 200

    @pytest.mark.parametrize(
        "path",
        ["/health%0A", "/docs%2F..%2Fv1%2Fmodels", "/%2e%2e/v1/models", "/v1%2Frerank", "/health%00", "/health;x"],
    )
    def test_percent_encoding_opens_nothing(self, locked: AppUnderTest, path: str) -> None:
        assert locked.client.get(path).status_code in (401, 404)

    @pytest.mark.parametrize("path", ["/health", "/", "/v1/models", "/metrics", "/docs", "/version"])
    def test_head_is_answered_like_get(self, locked: AppUnderTest, path: str) -> None:
        wanted, got = (locked.client.request(method, path, headers=bearer(KEY)) for method in ("GET", "HEAD"))
        assert (got.status_code, got.content) == (wanted.status_code, b"") == (200, b"")
        assert got.headers["content-type" if wanted.content else "content-length"]

    def test_head_of_what_has_no_get_is_refused(self, locked: AppUnderTest) -> None:
        assert locked.client.head("/v1/rerank", headers=bearer(KEY)).status_code == 405
        assert locked.client.head("/v1/models").status_code == 401

    @pytest.mark.parametrize(
        "address", ["/" + "x" * 9000, "/health?" + "&" * 9000, "/v1/rerank?access_token=" + "x" * 9000]
    )
    def test_a_long_address_is_414(self, locked: AppUnderTest, address: str) -> None:
        error_message(locked.client.get(address), 414, "BadRequestError")

    def test_a_long_path_is_cut_in_the_log(self, locked: AppUnderTest, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "rerank.access")
        locked.client.get("/" + "x" * 5000)
        assert max(len(record.getMessage()) for record in caplog.records if record.name == "rerank.access") < 500


class TestPages:
    @pytest.mark.parametrize(
        "origin", ["https://evil.example", "null", "http://127.0.0.1:9000", "http://127.0.0.1", "x"]
    )
    @pytest.mark.parametrize(
        ("method", "path"), [("POST", "/v1/rerank"), ("GET", "/health"), ("GET", "/v1/models"), ("POST", "/nope")]
    )
    def test_a_foreign_page_is_refused_by_an_open_server(
        self, opened: AppUnderTest, origin: str, method: str, path: str
    ) -> None:
        # without a content type a browser asks nobody before it sends
        response = opened.client.request(method, path, content=RAW_BODY, headers={"Origin": origin})
        assert "RERANK_CORS_ORIGINS" in error_message(response, 403, "PermissionDeniedError")

    @pytest.mark.parametrize("origin", ["http://127.0.0.1:8000", PAGE, PAGE.upper(), "HTTPS://chat.example:443"])
    def test_its_own_pages_and_listed_ones_are_answered(self, opened: AppUnderTest, origin: str) -> None:
        assert opened.client.post("/v1/rerank", json=BODY, headers={"Origin": origin}).status_code == 200

    @pytest.mark.parametrize(
        "host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "[::1", "localhost.x"]
    )
    def test_another_name_is_refused_on_this_machine(self, opened: AppUnderTest, host: str) -> None:
        for headers in ({"Host": host}, {"Host": host, "Origin": f"http://{host}"}):
            for path in ("/health", "/v1/models", "/docs"):
                response = opened.client.get(path, headers=headers)
                assert "RERANK_" in error_message(response, 403, "PermissionDeniedError")

    @pytest.mark.parametrize(
        "host",
        ["localhost", "LOCALHOST:8000", "127.0.0.1", "[::1]:8000", "app.localhost", "host.docker.internal:80", ""],
    )
    def test_names_of_this_machine_are_answered(self, opened: AppUnderTest, host: str) -> None:
        assert opened.client.get("/health", headers={"Host": host}).status_code == 200

    def test_with_a_key_names_and_pages_do_not_matter(self, locked: AppUnderTest) -> None:
        headers = {"Host": "evil.example", "Origin": "https://evil.example"} | bearer(KEY)
        assert locked.client.post("/v1/rerank", json=BODY, headers=headers).status_code == 200

    def test_a_listed_page_may_send_any_header(self, locked: AppUnderTest) -> None:
        wanted = "authorization,content-type,traceparent,x-requested-with,x-stainless-lang,x-stainless-retry-count"
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": wanted}
        for origin in (PAGE, "http://other.example"):
            allowed = locked.client.options("/v1/rerank", headers=asked | {"Origin": origin})
            assert (allowed.status_code, allowed.headers["access-control-allow-origin"]) == (200, origin)
            assert "x-stainless-lang" in allowed.headers["access-control-allow-headers"]
        refused = locked.client.options("/v1/rerank", headers=asked | {"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in refused.headers


def compressed(coding: str, content: bytes = RAW_BODY) -> bytes:
    if coding in ("gzip", "X-GZIP"):
        return gzip.compress(content)
    coder = zlib.compressobj(wbits=-15 if coding == "raw" else 15)
    return coder.compress(content) + coder.flush()


class TestEncodings:
    def send(self, app: AppUnderTest, coding: str, content: bytes) -> Any:
        headers = {"Content-Encoding": coding, "Content-Type": "application/json"} | bearer(KEY)
        return app.client.post("/v1/rerank", content=content, headers=headers)

    @pytest.mark.parametrize("coding", ["gzip", "X-GZIP", "deflate", "raw"])
    def test_compressed_bodies_are_read(self, locked: AppUnderTest, coding: str) -> None:
        response = self.send(locked, "deflate" if coding == "raw" else coding, compressed(coding))
        assert (response.status_code, len(response.json()["results"])) == (200, len(DOCUMENTS))

    @pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, gzip", "x" * 1000])
    def test_others_are_415(self, locked: AppUnderTest, coding: str) -> None:
        response = self.send(locked, coding, RAW_BODY)
        assert "gzip, deflate" in error_message(response, 415, "UnsupportedMediaTypeError")
        assert response.headers["accept-encoding"] == "gzip, deflate"

    @pytest.mark.parametrize("coding", ["gzip", "deflate"])
    def test_a_body_that_unpacks_beyond_the_limit_is_413(self, locked: AppUnderTest, coding: str) -> None:
        bomb = compressed(coding, b'{"query": "' + b"a" * 20 * MEGABYTE)
        assert len(bomb) < MAX_BODY
        error_message(self.send(locked, coding, bomb), 413, "RequestTooLargeError")

    @pytest.mark.parametrize("cut", [slice(0, -5), slice(0, 20), slice(3, None), slice(0, 1)])
    def test_broken_ones_are_400(self, locked: AppUnderTest, cut: slice) -> None:
        message = error_message(self.send(locked, "gzip", compressed("gzip")[cut]), 400, "BadRequestError")
        assert "Content-Encoding" in message

    def test_what_follows_behind_the_end_is_400(self, locked: AppUnderTest) -> None:
        response = self.send(locked, "gzip", compressed("gzip") + b"more")
        error_message(response, 400, "BadRequestError")

    @pytest.mark.parametrize("coding", ["", "identity"])
    def test_plain_bodies_may_say_so(self, locked: AppUnderTest, coding: str) -> None:
        assert self.send(locked, coding, RAW_BODY).status_code == 200


class TestRefusals:
    """The whole of a large body is sent before the client looks at the answer."""

    @pytest.mark.parametrize(
        ("path", "size", "headers", "status"),
        [
            ("/v1/rerank", MAX_BODY * 3, (f"Authorization: Bearer {KEY}",), 413),
            ("/v1/rerank", MAX_BODY * 3, (), 401),
            ("/v1/rerank", MAX_BODY - SMALL, (), 401),
            ("/nope", MAX_BODY * 3, (f"Authorization: Bearer {KEY}",), 413),
            ("/nope", MAX_BODY - SMALL, (f"Authorization: Bearer {KEY}",), 404),
            ("/health", MAX_BODY * 3, (), 413),
            ("/health", MAX_BODY - SMALL, (), 405),
        ],
    )
    def test_the_status_of_an_early_refusal_can_be_read(
        self, live: RawClient, path: str, size: int, headers: tuple[str, ...], status: int
    ) -> None:
        for _ in range(5):
            exchange = live.exchange(post_bytes(path, b"x" * size, *headers, host="localhost"))
            assert exchange.statuses == [status]
            assert exchange.closed

    def test_a_connection_goes_on_after_a_refusal(self, live: RawClient) -> None:
        refused = post_bytes("/v1/rerank", b"x" * (MAX_BODY - SMALL)).replace(b"Connection: close\r\n", b"")
        last = b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        exchange = live.exchange(refused + last)
        assert [exchange.received.count(b"HTTP/1.1 %d " % status) for status in (401, 200)] == [1, 1]

    def test_a_client_that_waits_to_be_asked_is_told_to_begin_anew(self, live: RawClient) -> None:
        head = b"POST /v1/rerank HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 90000\r\n\r\n"
        exchange = live.exchange(head)
        assert (exchange.statuses, exchange.closed) == ([401], True)
        assert b"connection: close" in exchange.received.lower()

    def test_a_client_that_waits_to_be_asked_is_asked(self, live: RawClient) -> None:
        content = post_bytes("/v1/rerank", RAW_BODY, f"Authorization: Bearer {KEY}", "Expect: 100-continue")
        assert live.exchange(content).statuses == [100, 200]


class TestPace:
    async def body_of(self, messages: list[tuple[float, int]], patience: float) -> list[int]:
        """The statuses that a body gets, of which so many bytes come after so many seconds each."""
        statuses: list[int] = []
        loop = asyncio.get_running_loop()
        left = list(messages)

        async def receive() -> Any:
            pause, size = left.pop(0)
            await asyncio.sleep(pause)
            return {"type": "http.request", "body": bytes(size), "more_body": bool(left)}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (message := await receive())["type"] == "http.request":
                if not message["more_body"]:
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    return

        began = loop.time()
        await LimitBody(app, 100 * MEGABYTE, patience)({"type": "http", "headers": []}, receive, send)
        assert loop.time() - began < PATIENCE
        return statuses

    async def test_much_at_the_beginning_is_no_credit(self) -> None:
        """50 MB would have been worth 5,000 seconds of a byte now and then."""
        drip = [(0.05, 1)] * 2000
        assert await self.body_of([(0.0, 50 * MEGABYTE), *drip], patience=1.0) == [408]

    async def test_a_steady_client_may_take_its_time(self) -> None:
        assert await self.body_of([(0.02, 20_000)] * 50, patience=10.0) == [200]


def test_one_key_leaves_room_for_the_bodies_of_others(tmp_path: Path) -> None:
    """One key holds all of MAX_INFLIGHT_BYTES with requests that wait; another one's body is still taken."""
    scorer = GatedScorer()
    with AppUnderTest(tmp_path, scorer, keys=(KEY, OTHER_KEY), max_inflight_bytes=10_000) as app:
        large = BODY | {"documents": ["x" * 4000]}

        def post(key: str, body: Any = BODY) -> Any:
            return app.client.post("/v1/rerank", json=body, headers=bearer(key))

        waiting = [app.meanwhile(post, KEY, large) for _ in range(2)]
        assert scorer.reached.wait(PATIENCE)
        app.scheduler.wait_for_jobs(2)
        assert post(KEY, large).status_code == 429
        third = app.meanwhile(post, OTHER_KEY)
        app.scheduler.wait_for_jobs(1)
        scorer.gate.set()
        assert [call.result(PATIENCE).status_code for call in [*waiting, third]] == [200, 200, 200]


@pytest.mark.parametrize("main", MainDialect)
def test_every_dialect_says_415_and_414(tmp_path: Path, main: MainDialect) -> None:
    with AppUnderTest(tmp_path, main_dialect=main) as app:
        encoded = app.client.post("/v1/rerank", content=RAW_BODY, headers={"Content-Encoding": "br"})
        assert (encoded.status_code, "error" in encoded.json()) == (415, True)
        assert app.client.post("/v1/rerank?" + "x" * 9000, json=BODY).status_code == 414
