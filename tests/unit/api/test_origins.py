"""Pages and names that may use a server without keys."""

from __future__ import annotations

import socket

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from rerank.api.origins import Cors, OpenServer, Origins, hostname, is_loopback

PAGE = "https://chat.example"


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://Chat.Example:8443/path", "chat.example"),
        ("rerank.internal:8000", "rerank.internal"),
        ("[::1]:8000", "::1"),
        ("10.0.0.5", "10.0.0.5"),
        ("", ""),
        ("http://[::1", ""),
    ],
)
def test_the_host_of_an_address_is_in_small_letters(address: str, host: str) -> None:
    assert hostname(address) == host


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_machine_reaches_itself_by_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["10.0.0.5", "0.0.0.0", "::", "::ffff:10.0.0.5", "localhost.example", ""])
def test_other_names_and_addresses_are_no_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        (PAGE, "HTTPS://chat.example/"),
        (" https://chat.example:443/ ", PAGE),
        ("http://chat.example", "http://chat.example:80"),
        ("http://chat.example:443", "http://chat.example:443"),
        ("*", "https://any.example"),
        ("null", "null"),
    ],
)
def test_a_listed_page_is_allowed_however_it_is_spelled(listed: str, origin: str) -> None:
    assert Origins([listed]).allow(origin)


@pytest.mark.parametrize(
    ("listed", "origin"),
    [
        (PAGE, "http://chat.example"),
        (PAGE, "https://chat.example:80"),
        ("http://chat.example", "http://chat.example:443"),
        (PAGE, "https://chat.example.evil"),
        (PAGE, "null"),
    ],
)
def test_another_page_is_not_allowed(listed: str, origin: str) -> None:
    assert not Origins([listed]).allow(origin)


def refusal(host: str = "", origin: str | None = None, server: str | None = "10.0.0.5", *hosts: str) -> str:
    """Why a server that lists one page refuses a request; empty if it does not."""
    headers = [(b"accept", b"x"), (b"host", host.encode()), *([(b"origin", origin.encode())] if origin else [])]
    scope = {"headers": headers, "server": (server, 8000) if server else None}
    return str(OpenServer(Origins([PAGE]), hosts).refusal(scope) or "")


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("rerank.internal:8000", "http://rerank.internal:8000"),
        ("rerank.internal", "https://rerank.internal"),
        ("rerank.internal:80", "http://rerank.internal"),
        (" Rerank.Internal:443 ", "https://rerank.internal:443/"),
        ("rerank.internal", PAGE),
    ],
)
def test_its_own_pages_and_listed_ones_may_use_an_open_server(host: str, origin: str) -> None:
    assert refusal(host, origin) == ""


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("rerank.internal", "https://evil.example"),
        ("rerank.internal:443", "http://rerank.internal"),
        ("rerank.internal", "https://rerank.internal:8443"),
        ("", "https://"),
        ("rerank.internal", "null"),
    ],
)
def test_pages_of_other_sites_are_refused(host: str, origin: str) -> None:
    assert refusal(host, origin) == (
        f"Pages of {origin!a} may not use this server. List the origin in RERANK_CORS_ORIGINS, or set RERANK_API_KEY."
    )


@pytest.mark.parametrize(
    ("hosts", "host", "server"),
    [
        ((), "rerank.internal", "10.0.0.5"),
        ((), "localhost:8000", "127.0.0.1"),
        ((), "mine.localhost", "127.0.0.1"),
        ((), "host.docker.internal", "127.0.0.1"),
        ((), socket.gethostname(), "127.0.0.1"),
        ((), "192.168.1.2", "127.0.0.1"),
        ((), "", "127.0.0.1"),
        ((), "rerank.internal", None),
        (("http://rerank.internal:8000",), "Rerank.Internal:8000", "127.0.0.1"),
        (("rerank.internal",), "10.0.0.5:8000", "10.0.0.5"),
        (("rerank.internal",), "localhost", "10.0.0.5"),
        (("*",), "anything.example", "127.0.0.1"),
    ],
)
def test_names_of_the_server_are_answered(hosts: tuple[str, ...], host: str, server: str | None) -> None:
    assert refusal(host, None, server, *hosts) == ""


@pytest.mark.parametrize(
    ("hosts", "host", "server"),
    [
        ((), "rerank.internal", "127.0.0.1"),
        ((), "rerank.internal", "::1"),
        ((), "localhost.evil", "127.0.0.1"),
        (("rerank.internal",), "evil.example", "10.0.0.5"),
        (("rerank.internal",), "evil.example", None),
        (("",), "evil.example", "127.0.0.1"),
    ],
)
def test_other_names_are_refused(hosts: tuple[str, ...], host: str, server: str | None) -> None:
    assert refusal(host, None, server, *hosts) == (
        f"This server is not called {host!a}. List the name in RERANK_ALLOWED_HOSTS, or set RERANK_API_KEY."
    )


def test_a_request_without_a_name_is_answered() -> None:
    scope = {"headers": [(b"accept", b"x")], "server": ("127.0.0.1", 8000)}
    assert OpenServer(Origins([])).refusal(scope) is None


def test_a_long_name_is_cut_in_the_refusal() -> None:
    assert refusal("é" * 500, None, "127.0.0.1").startswith("This server is not called '" + "\\xc3\\xa9" * 50 + "'.")
    assert refusal("a", "https://" + "x" * 500).startswith("Pages of 'https://" + "x" * 92 + "' may")


class TestCors:
    @pytest.fixture
    def client(self) -> TestClient:
        app = FastAPI()
        app.get("/")(lambda: "ok")
        return TestClient(Cors(app, (f"{PAGE.upper()}/", "http://other.example:80")))

    def test_a_listed_page_may_send_any_header_and_call_a_private_network(self, client: TestClient) -> None:
        asked = {
            "Origin": PAGE,
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-new",
            "Access-Control-Request-Private-Network": "true",
        }
        answer = client.options("/", headers=asked)
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] == PAGE
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
        assert answer.headers["Access-Control-Allow-Headers"] == "x-new"
        assert answer.headers["Access-Control-Allow-Private-Network"] == "true"

    def test_a_listed_page_may_read_the_id_of_a_request_and_when_to_retry(self, client: TestClient) -> None:
        answer = client.get("/", headers={"Origin": "http://other.example"})
        assert answer.headers["Access-Control-Allow-Origin"] == "http://other.example"
        assert answer.headers["Access-Control-Expose-Headers"] == "X-Request-Id, Retry-After"

    def test_another_page_may_read_nothing(self, client: TestClient) -> None:
        assert "Access-Control-Allow-Origin" not in client.get("/", headers={"Origin": "http://evil.example"}).headers

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    def test_other_methods_are_refused(self, client: TestClient, method: str) -> None:
        asked = {"Origin": PAGE, "Access-Control-Request-Method": method}
        assert client.options("/", headers=asked).status_code == 400
