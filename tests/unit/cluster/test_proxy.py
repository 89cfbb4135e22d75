"""The middleware of Ray's proxy, before applications that end without an answer."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence

import pytest
from starlette.types import Message, Receive, Scope, Send

from rerank.cluster.proxy import PLACE, Resend

SCOPE: Scope = {"type": "http", "method": "POST", "path": "/v1/rerank", "headers": []}
BODY: list[Message] = [
    {"type": "http.request", "body": b"first ", "more_body": True},
    {"type": "http.request", "body": b"second", "more_body": False},
]


class Client:
    """Sends these messages, and leaves after them."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = [*messages, {"type": "http.disconnect"}]
        self.got: list[Message] = []

    async def receive(self) -> Message:
        return self._messages.pop(0)

    async def send(self, message: Message) -> None:
        self.got.append(message)


class Ingresses:
    """Each reads as many messages of a request and ends; the last one repeats the body as its answer."""

    def __init__(self, *read: int) -> None:
        self._read = list(read)
        self.scopes: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(dict(scope))
        scope["path"] = "/changed"
        if self._read:
            for _ in range(self._read.pop(0)):
                await receive()
            return
        pieces = [(await receive())["body"] for _ in BODY]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"".join(pieces)})


async def answer(ingresses: Ingresses, messages: Sequence[Message] = BODY) -> tuple[Client, list[Scope]]:
    client = Client(messages)
    await Resend(ingresses)(SCOPE, client.receive, client.send)
    return client, ingresses.scopes


@pytest.mark.parametrize("read", [[], [0], [1], [2], [2, 0], [1, 2]])
async def test_the_next_ingress_gets_the_whole_request(read: list[int]) -> None:
    client, scopes = await answer(Ingresses(*read))
    assert [message.get("body") for message in client.got] == [None, b"first second"]
    assert scopes == [SCOPE] * (len(read) + 1)


async def test_a_request_that_ends_three_ingresses_is_refused() -> None:
    client, scopes = await answer(Ingresses(2, 2, 2, 2))
    start, body = client.got
    assert (start["status"], dict(start["headers"])[b"retry-after"], len(scopes)) == (503, b"10", 3)
    assert "3 ingresses ended" in json.loads(body["body"])["error"]["message"]


async def test_a_client_that_left_is_not_served_again() -> None:
    client, scopes = await answer(Ingresses(3, 0))
    assert (client.got, len(scopes)) == ([], 1)


async def test_what_comes_after_an_answer_is_handed_on() -> None:
    async def reads_on(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 413, "headers": []})
        seen.extend([await receive(), await receive()])

    seen: list[Message] = []
    client = Client(BODY)
    await Resend(reads_on)(SCOPE, client.receive, client.send)
    assert seen == [BODY[1], {"type": "http.disconnect"}]
    assert [message["status"] for message in client.got] == [413]


async def test_a_websocket_passes() -> None:
    scopes: list[Scope] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        scopes.append(scope)

    client = Client([])
    await Resend(app)({"type": "websocket"}, client.receive, client.send)
    assert scopes == [{"type": "websocket"}]


def test_it_is_where_ray_is_told_to_look_for_it() -> None:
    module, _, name = PLACE.partition(":")
    assert [each.cls for each in getattr(importlib.import_module(module), name)()] == [Resend]
