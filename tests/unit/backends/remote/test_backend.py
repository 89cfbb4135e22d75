"""The backend against a real HTTP server that answers as each API does, and fails in every way."""

from __future__ import annotations

import asyncio
import logging
import math
import shutil
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from rerank.activations import SIGMOID
from rerank.backends.remote import client
from rerank.backends.remote.backend import RemoteBackend
from rerank.backends.remote.client import Client, Target
from rerank.backends.remote.http import HttpPool
from rerank.catalog.cards import ModelCard
from rerank.catalog.rerank_apis import APIS, address_of
from rerank.catalog.upstreams import MAX_HOPS, Upstream, deadline_var, hops_var
from rerank.core import DEFAULT_OPTIONS, UNSCORED, Chunking, EmbeddingOptions, Pair, ScoringOptions, Truncation
from rerank.errors import (
    DocumentRefused,
    InvalidRequest,
    Overloaded,
    UpstreamFailed,
    UpstreamLoop,
    WrongTask,
)
from rerank.telemetry.events import Event, UpstreamCalled
from tests.support.clock import Clock
from tests.support.fake_upstream import FakeUpstream, score_of

DOCUMENTS = ["one", "three", "seventeen", "one"]
PAIRS = [Pair("q", document) for document in DOCUMENTS]
KEY = "sk-very-secret"
FAR = ModelCard(id="acme/far")


class Asked:
    """A backend of the fake upstream, with a clock that stands still unless it sleeps."""

    def __init__(self, upstream: FakeUpstream, pool: HttpPool, card: ModelCard, key: str | None, **fields: Any) -> None:
        described = Upstream(upstream.api, **{"url": upstream.url, **fields})
        self.clock = Clock()
        self.slept: list[float] = []
        target = Target(card.id, address_of(described, card.id), described, SecretStr(key) if key else None)
        self.observed: list[Event] = []
        self.client = Client(target, pool, self.observed.append, clock=self.clock, sleep=self._sleep)
        self.backend = RemoteBackend(card, described, self.client)

    async def score(
        self, pairs: list[Pair] = PAIRS, options: ScoringOptions = DEFAULT_OPTIONS, **more: Any
    ) -> list[float]:
        return [score.logit for score in await self.backend.score(pairs, options, **more)]

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.clock.now += seconds


Ask = Callable[..., Asked]


@pytest.fixture
def upstreams() -> Iterator[Callable[[str], FakeUpstream]]:
    with ExitStack() as stack:
        yield lambda api: stack.enter_context(FakeUpstream(api))


@pytest.fixture
def upstream(upstreams: Callable[[str], FakeUpstream]) -> FakeUpstream:
    return upstreams("vllm")


@pytest.fixture
async def ask() -> AsyncIterator[Ask]:
    pool = HttpPool()
    yield lambda upstream, card=FAR, key=None, **fields: Asked(upstream, pool, card, key, **fields)
    await pool.aclose()


@pytest.mark.parametrize("api", APIS)
async def test_every_api_gives_its_scores(api: str, upstreams: Callable[[str], FakeUpstream], ask: Ask) -> None:
    upstream = upstreams(api)
    assert await ask(upstream, key=KEY).score() == [score_of(document) for document in DOCUMENTS]
    (call,) = upstream.calls
    assert call.path == APIS[api].path
    assert call.headers["authorization"] == f"Bearer {KEY}"
    assert call.headers["accept-encoding"] == "identity"
    assert call.documents == ["one", "three", "seventeen"]
    assert api == "tei" or call.body["model"] == "acme/far"


async def test_texts_are_normalised_if_the_card_says_so(upstreams: Callable[[str], FakeUpstream], ask: Ask) -> None:
    upstream = upstreams("vllm")
    pairs = [Pair("ｑ？", "ｏｎｅ"), Pair("ｑ？", "“two”"), Pair("q?", "one")]
    await ask(upstream, ModelCard(id="far")).score(pairs)
    assert {call.body["query"] for call in upstream.calls} == {"ｑ？", "q?"}
    await ask(upstream, ModelCard(id="far", normalize="nfkc")).score(pairs)
    assert (upstream.calls[-1].body["query"], upstream.calls[-1].body["documents"]) == ("q?", ["one", '"two"'])


@pytest.mark.parametrize(
    ("pair", "error", "param"),
    [
        (Pair("q", "\ufdfa" * 300), DocumentRefused, "documents.1"),
        (Pair("\ufdfa" * 300, "one"), InvalidRequest, "query"),
    ],
)
async def test_a_text_that_grows_when_it_is_normalised_is_refused(
    pair: Pair, error: type[InvalidRequest], param: str, upstreams: Callable[[str], FakeUpstream], ask: Ask
) -> None:
    upstream = upstreams("vllm")
    with pytest.raises(error, match="refused here: it would be more than 4 times as long") as refused:
        await ask(upstream, ModelCard(id="far", normalize="nfkc")).score([Pair("q", "one"), pair])
    assert refused.value.param == param
    assert not upstream.calls


@pytest.mark.parametrize("api", [name for name, api in APIS.items() if api.takes_instruction])
async def test_the_instruction_is_passed_on(api: str, upstreams: Callable[[str], FakeUpstream], ask: Ask) -> None:
    upstream = upstreams(api)
    asked = ask(upstream, ModelCard(id="far", instruction="of the card"))
    await asked.score(options=ScoringOptions(instruction="find it"))
    await asked.score()
    assert ["find it" in str(call.body) for call in upstream.calls] == [True, False]
    assert ["of the card" in str(call.body) for call in upstream.calls] == [False, True]


@pytest.mark.parametrize(
    ("api", "truncation", "sent"),
    [
        ("vllm", Truncation(), {"truncate_prompt_tokens": -1}),
        ("vllm", Truncation(max_tokens=100, side="left"), {"truncate_prompt_tokens": 100, "truncation_side": "left"}),
        ("vllm", Truncation(allowed=False), {"truncate": False}),
        ("vllm", Truncation(max_tokens_per_document=9), {"max_tokens_per_doc": 9}),
        ("cohere", Truncation(max_tokens_per_document=9), {"max_tokens_per_doc": 9}),
        ("voyage", Truncation(allowed=False), {"truncation": False}),
        ("tei", Truncation(allowed=False, side="left"), {"truncate": False, "truncation_direction": "Left"}),
        ("nvidia", Truncation(allowed=False), {"truncate": "NONE"}),
        ("jina", Truncation(max_tokens=-1), {}),
    ],
)
async def test_truncation_is_passed_on(
    api: str, truncation: Truncation, sent: dict[str, Any], upstreams: Callable[[str], FakeUpstream], ask: Ask
) -> None:
    upstream = upstreams(api)
    await ask(upstream).score(options=ScoringOptions(truncation))
    assert upstream.calls[0].body.items() >= sent.items()


@pytest.mark.parametrize(
    ("api", "truncation", "param"),
    [
        ("cohere", Truncation(max_tokens=100), "truncate_prompt_tokens"),
        ("voyage", Truncation(max_tokens_per_document=9), "max_tokens_per_doc"),
        ("jina", Truncation(allowed=False), "truncate"),
        ("dashscope", Truncation(side="left"), "truncation_side"),
    ],
)
async def test_limits_that_an_api_lacks_are_refused_by_name(
    api: str, truncation: Truncation, param: str, upstreams: Callable[[str], FakeUpstream], ask: Ask
) -> None:
    upstream = upstreams(api)
    with pytest.raises(InvalidRequest, match="acme/far") as refused:
        await ask(upstream).score(options=ScoringOptions(truncation))
    assert refused.value.param == param
    assert upstream.calls == []


def test_logits_of_an_upstream_become_relevance_here(upstream: FakeUpstream) -> None:
    pool = HttpPool()
    plain = Asked(upstream, pool, ModelCard(id="far"), None).backend
    logits = Asked(upstream, pool, ModelCard(id="far", activation=SIGMOID), None).backend
    assert (plain.gives_logits, plain.activation(0.3)) == (False, 0.3)
    assert (logits.gives_logits, logits.activation(0.0)) == (True, 0.5)


async def test_requests_over_the_limit_are_split(upstream: FakeUpstream, ask: Ask) -> None:
    pairs = [Pair("q" if number % 3 else "r", "x" * number) for number in range(20)]
    assert await ask(upstream, max_documents=4).score(pairs) == [score_of(pair.document) for pair in pairs]
    assert sorted(len(call.documents) for call in upstream.calls) == [1, 3, 4, 4, 4, 4]
    assert all(call.body["top_n"] == len(call.documents) for call in upstream.calls)


async def test_no_more_calls_than_allowed_are_under_way(upstream: FakeUpstream, ask: Ask) -> None:
    release = threading.Event()
    upstream.will_answer(body=upstream.scores(["x"]), times=2, held=release)
    asked = ask(upstream, max_documents=1, max_concurrency=2)
    scoring = asyncio.ensure_future(asked.score([Pair("q", "x" * number) for number in range(1, 6)]))
    for _ in range(2):
        await asyncio.to_thread(upstream.reached.acquire)
    assert len(upstream.calls) == 2
    release.set()
    assert len(await scoring) == 5
    assert len(upstream.calls) == 5


@pytest.mark.parametrize("status", [429, 502, 503, 504])
async def test_a_passing_failure_is_retried(status: int, upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(status, times=2)
    asked = ask(upstream)
    assert await asked.score() == [score_of(document) for document in DOCUMENTS]
    assert len(asked.slept) == 2


async def test_a_broken_connection_is_retried(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(closes=True)
    assert len(await ask(upstream).score()) == 4


async def test_retry_after_is_waited_for_unless_it_is_too_late(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(503, headers={"Retry-After": "3"})
    asked = ask(upstream)
    await asked.score()
    assert 3 <= asked.slept[0] <= 3.3
    upstream.will_answer(429, headers={"Retry-After": "3600"})
    with pytest.raises(Overloaded) as refused:
        await asked.score()
    assert refused.value.retry_after == 3600


@pytest.mark.parametrize(("deadline", "repeats"), [(2.9, False), (4, True), (math.inf, True)])
async def test_no_call_is_repeated_after_the_deadline_of_the_request(
    deadline: float, repeats: bool, upstream: FakeUpstream, ask: Ask
) -> None:
    upstream.will_answer(503, headers={"Retry-After": "3"})
    asked = ask(upstream)
    token = deadline_var.set(deadline)
    try:
        if repeats:
            await asked.score()
        else:
            with pytest.raises(UpstreamFailed, match="answered 503"):
                await asked.score()
    finally:
        deadline_var.reset(token)
    assert len(upstream.calls) == 1 + repeats


async def test_calls_are_counted_by_outcome(upstream: FakeUpstream, ask: Ask) -> None:
    asked = ask(upstream)
    upstream.will_answer(503)
    upstream.will_answer(429)
    upstream.will_answer(closes=True)
    await asked.score()
    for status, body in ((400, b"{}"), (500, b"{}"), (200, b"no")):
        upstream.will_answer(status, body)
        with pytest.raises((InvalidRequest, UpstreamFailed)):
            await asked.score()
    assert asked.observed == [
        UpstreamCalled("acme/far", outcome)
        for outcome in ("failed", "overloaded", "broken", "ok", "refused", "failed", "nonsense")
    ]


async def test_calls_without_answer_are_counted(upstream: FakeUpstream, ask: Ask) -> None:
    hanging, closed = ask(upstream, timeout=0.1), ask(upstream, url="http://127.0.0.1:1")
    upstream.always_answers(held=threading.Event())
    with pytest.raises(UpstreamFailed):
        await hanging.score()
    for _ in range(3):
        with pytest.raises(UpstreamFailed):
            await closed.score()
    assert hanging.observed == [UpstreamCalled("acme/far", "timeout")]
    # four attempts at first; the breaker opens after five failures in a row
    outcomes = [event.outcome for event in closed.observed if isinstance(event, UpstreamCalled)]
    assert outcomes == ["unreachable"] * 5 + ["skipped"] * 2


async def test_a_call_that_is_cancelled_is_counted(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(held=threading.Event())
    asked = ask(upstream)
    scoring = asyncio.ensure_future(asked.score())
    await asyncio.to_thread(upstream.reached.acquire)
    scoring.cancel()
    await asyncio.gather(scoring, return_exceptions=True)
    assert asked.observed == [UpstreamCalled("acme/far", "cancelled")]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_key_that_is_refused_is_not_the_callers_fault(
    status: int, upstream: FakeUpstream, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    upstream.will_answer(status, {"error": {"message": f"Incorrect API key provided: {KEY}"}})
    with pytest.raises(UpstreamFailed, match=f"acme/far answered {status}: .*key") as failed:
        await ask(upstream, key=KEY).score()
    assert "Incorrect API key provided: ***" in caplog.text
    assert KEY not in caplog.text + failed.value.message + repr(failed.value.__cause__)


def test_no_key_is_shown_of_a_backend(upstream: FakeUpstream) -> None:
    asked = Asked(upstream, HttpPool(), ModelCard(id="far"), KEY)
    assert KEY not in repr(vars(asked.client)) + repr(asked.client._target)


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_a_document_that_is_refused_is_named_by_its_place(status: int, upstream: FakeUpstream, ask: Ask) -> None:
    asked = ask(upstream, max_documents=2, max_concurrency=1)
    upstream.will_answer(body=upstream.scores(["one", "three"]))
    upstream.will_answer(status, {"error": {"message": "documents.0 is too long", "param": "documents.0"}})
    with pytest.raises(
        DocumentRefused, match=r"documents\.2 was refused .* acme/far: the document is too long"
    ) as refused:
        await asked.score()
    assert refused.value.param == "documents.2"


async def test_a_refusal_that_names_no_document_is_passed_on(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(400, {"message": "the query is too long"})
    with pytest.raises(InvalidRequest, match="the query is too long"):
        await ask(upstream).score()


@pytest.mark.parametrize(
    "message", ["documents[999] is too long", "the maximum number of documents 1000 is exceeded", "inputs.3 is empty"]
)
async def test_a_refusal_that_names_no_document_of_the_call_is_passed_on_as_it_is(
    message: str, upstream: FakeUpstream, ask: Ask
) -> None:
    upstream.will_answer(400, {"error": {"message": message, "param": "documents.7"}})
    with pytest.raises(InvalidRequest) as refused:
        await ask(upstream).score()
    assert message in refused.value.message
    assert refused.value.param == "documents"


async def test_no_part_of_a_key_is_shown(upstream: FakeUpstream, ask: Ask, caplog: pytest.LogCaptureFixture) -> None:
    upstream.will_answer(400, {"error": {"message": "x" * 294 + KEY}})
    with pytest.raises(InvalidRequest) as refused:
        await ask(upstream, key=KEY).score()
    assert KEY[:3] not in refused.value.message + caplog.text


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"body": b"<html>hello</html>"}, "not JSON"),
        ({"body": b'{"code": "Arrearage", "message": "pay"}'}, "no list of results"),
        ({"body": b'{"results": [{"index": 0, "relevance_score": NaN}]}'}, "1 scores for 3 documents"),
        ({"body": b"x" * 2_000_000}, "is larger than"),
        ({"status": 500}, "answered 500"),
        ({"status": 404}, "url and model in models.toml"),
        ({"status": 402}, "no credit"),
        ({"status": 301, "headers": {"Location": "/elsewhere"}}, "a redirect, which is not followed"),
        ({"status": 424}, "answered 424"),
    ],
)
async def test_nonsense_and_faults_are_the_upstreams(
    answer: dict[str, Any], said: str, upstream: FakeUpstream, ask: Ask
) -> None:
    upstream.will_answer(**answer)
    with pytest.raises(UpstreamFailed, match=said):
        await ask(upstream).score()
    assert len(upstream.calls) == 1


async def test_an_upstream_that_does_not_listen_is_unreachable(ask: Ask) -> None:
    with FakeUpstream() as gone:
        pass
    with pytest.raises(UpstreamFailed, match="acme/far cannot be reached"):
        await ask(gone).score()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that nobody vouches for, and its key."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl to make a certificate")
    key, public = tmp_path / "key.pem", tmp_path / "certificate.pem"
    wanted = "req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(key), "-out", str(public)]
    subprocess.run(["openssl", *wanted.split(), *files], check=True, capture_output=True)
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + public.read_text())
    return both


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path, ask: Ask) -> None:
    with FakeUpstream(certificate=certificate) as upstream:
        with pytest.raises(UpstreamFailed, match="no certificate that is trusted"):
            await ask(upstream).score()
        assert upstream.calls == []


async def test_a_server_without_tls_is_told_from_one_without_a_trusted_certificate(
    upstream: FakeUpstream, ask: Ask
) -> None:
    def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(UpstreamFailed, match="acme/far does not answer with TLS"):
            await ask(upstream, url=f"https://127.0.0.1:{port}").score()


async def test_an_answer_that_takes_too_long_is_given_up(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(held=threading.Event())
    with pytest.raises(UpstreamFailed, match=r"did not answer within 0\.1 s"):
        await ask(upstream, timeout=0.1).score()


@pytest.mark.parametrize(
    ("waited", "error", "said"),
    [
        (29.6, TimeoutError, r"did not answer within 0\.4 s, which were left of 30 s\.$"),
        (29.6, aiohttp.ConnectionTimeoutError, r"did not answer within 0\.4 s, which were left of 30 s\.$"),
        (20.0, aiohttp.ConnectionTimeoutError, r"cannot be reached\.$"),
    ],
)
async def test_a_call_that_waited_for_others_says_how_little_time_was_left(
    upstream: FakeUpstream,
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
    waited: float,
    error: type[Exception],
    said: str,
) -> None:
    asked = ask(upstream, max_concurrency=1, timeout=30)
    began = asked.clock.now

    async def enter(*_: object) -> None:
        await asked.client._places.acquire("")
        asked.clock.now = began + waited

    async def post(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asked.client, "_enter", enter)
    monkeypatch.setattr(asked.client._pool, "post", post)
    with pytest.raises(UpstreamFailed, match=said):
        await asked.score()


async def test_a_breaker_that_is_open_refuses_at_once_and_closes_again(
    upstream: FakeUpstream, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    asked = ask(upstream)
    upstream.always_answers(500)
    for _ in range(5):
        with pytest.raises(UpstreamFailed, match="answered 500"):
            await asked.score()
    with pytest.raises(UpstreamFailed, match="is not asked for a while") as refused:
        await asked.score()
    assert (len(upstream.calls), refused.value.retry_after, asked.client.state) == (5, 30, "open")
    upstream.recovers()
    asked.clock.now += 30
    assert len(await asked.score()) == 4
    states = [record.message.rsplit(" ", 1)[-1] for record in caplog.records if "breaker" in record.message]
    assert states == ["open", "half-open", "closed"]


async def test_refusals_open_no_breaker(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.always_answers(400)
    asked = ask(upstream)
    for _ in range(8):
        with pytest.raises(InvalidRequest):
            await asked.score()
    assert asked.client.state == "closed"


async def test_cancelling_reaches_the_call(upstream: FakeUpstream, ask: Ask) -> None:
    release = threading.Event()
    upstream.will_answer(body=b"x" * 500_000, held=release, times=8)
    asked = ask(upstream, max_documents=1)
    scoring = asyncio.ensure_future(asked.score())
    await asyncio.to_thread(upstream.reached.acquire)
    scoring.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scoring
    assert asked.client._places.free == 16
    assert asked.client.state == "closed"
    assert [task.get_name() for task in asyncio.all_tasks()] == [asyncio.current_task().get_name()]  # type: ignore[union-attr]


@pytest.mark.parametrize(("seconds", "state"), [(4, "closed"), (5, "open")])
async def test_an_upstream_that_hangs_is_noticed_though_no_caller_waits_for_its_timeout(
    seconds: int, state: str, upstream: FakeUpstream, ask: Ask
) -> None:
    upstream.always_answers(held=threading.Event())
    asked = ask(upstream, timeout=600)
    for _ in range(5):
        scoring = asyncio.ensure_future(asked.score())
        await asyncio.to_thread(upstream.reached.acquire)
        asked.clock.now += seconds
        scoring.cancel()
        await asyncio.gather(scoring, return_exceptions=True)
    assert asked.client.state == state


@pytest.mark.parametrize("allowed", [0.1, 2, 30])
async def test_an_upstream_that_hangs_for_its_timeout_opens_the_breaker(
    allowed: float, upstream: FakeUpstream, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ask(upstream, timeout=allowed)

    async def post(*_: object, seconds: float, **__: object) -> None:
        asked.clock.now += seconds
        raise TimeoutError

    monkeypatch.setattr(asked.client._pool, "post", post)
    for _ in range(5):
        with pytest.raises(UpstreamFailed, match=f"did not answer within {allowed:g} s"):
            await asked.score()
    assert asked.client.state == "open"


async def test_calls_that_begin_late_because_others_are_under_way_open_no_breaker(
    upstream: FakeUpstream, ask: Ask
) -> None:
    release = threading.Event()
    upstream.will_answer(body=upstream.scores(["one"]), times=5, held=release)
    upstream.always_answers(held=threading.Event())
    asked = ask(upstream, max_concurrency=5, timeout=600)
    scoring = [asyncio.create_task(asked.score(PAIRS[:1])) for _ in range(10)]
    for _ in range(5):
        await asyncio.to_thread(upstream.reached.acquire)
    asked.clock.now += 599.9
    release.set()
    outcomes = await asyncio.gather(*scoring, return_exceptions=True)
    assert [isinstance(outcome, UpstreamFailed) for outcome in outcomes] == [False] * 5 + [True] * 5
    assert asked.client.state == "closed"


async def test_a_caller_with_many_calls_does_not_keep_out_another(upstream: FakeUpstream, ask: Ask) -> None:
    release = threading.Event()
    upstream.will_answer(body=upstream.scores(["one"]), held=release)
    asked = ask(upstream, max_documents=1, max_concurrency=1)
    flood = asyncio.create_task(asked.score([Pair("q", "x" * number) for number in range(1, 6)], caller="flood"))
    await asyncio.to_thread(upstream.reached.acquire)
    other = asyncio.create_task(asked.score([Pair("q", "other")], caller="other"))
    for _ in range(20):
        # it is not far to the place where it waits
        await asyncio.sleep(0)
    release.set()
    await asyncio.gather(flood, other)
    assert [call.documents for call in upstream.calls].index(["other"]) == 2


async def test_what_did_not_come_in_time_is_unscored(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.will_answer(body=upstream.scores(["one", "three"]))
    upstream.will_answer(held=threading.Event())
    asked = ask(upstream, max_documents=2, max_concurrency=1)
    until = time.monotonic() + 1
    raw = await asked.backend.score(PAIRS[:3], DEFAULT_OPTIONS, until=until)
    assert [score.scored for score in raw] == [True, True, False]
    assert raw[2] == UNSCORED


async def test_after_its_time_nothing_is_asked(upstream: FakeUpstream, ask: Ask) -> None:
    asked = ask(upstream)
    assert await asked.backend.score(PAIRS, DEFAULT_OPTIONS, until=time.monotonic() - 1) == [UNSCORED] * 4
    assert await asked.backend.score([], DEFAULT_OPTIONS) == []
    assert upstream.calls == []


async def test_a_call_that_may_not_begin_in_time_is_overload(upstream: FakeUpstream, ask: Ask) -> None:
    asked = ask(upstream, max_concurrency=1, timeout=0.1)
    await asked.client._places.acquire("another")
    with pytest.raises(Overloaded, match="max_concurrency"):
        await asked.score()
    assert upstream.calls == []


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_proxy_is_used_only_where_the_card_says_so(
    trusted: bool,
    upstream: FakeUpstream,
    upstreams: Callable[[str], FakeUpstream],
    ask: Ask,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = upstreams("vllm")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", proxy.url)
    await ask(upstream, trust_env=trusted).score()
    assert (len(upstream.calls), len(proxy.calls)) == ((0, 1) if trusted else (1, 0))


async def test_a_loop_of_servers_is_cut(upstream: FakeUpstream, ask: Ask) -> None:
    asked = ask(upstream)
    await asked.score()
    token = hops_var.set(MAX_HOPS - 1)
    try:
        await asked.score()
        hops_var.set(MAX_HOPS)
        with pytest.raises(UpstreamLoop):
            await asked.score()
    finally:
        hops_var.reset(token)
    assert [call.headers["x-rerank-hops"] for call in upstream.calls] == ["1", str(MAX_HOPS)]


async def test_a_loop_that_an_upstream_has_found_is_told_and_opens_no_breaker(upstream: FakeUpstream, ask: Ask) -> None:
    upstream.always_answers(508)
    asked = ask(upstream)
    for number in range(1, 7):
        with pytest.raises(UpstreamLoop, match="acme/far answered 508"):
            await asked.score()
        assert len(upstream.calls) == number
    assert asked.client.state == "closed"


async def test_a_large_answer_is_read_off_the_loop(
    upstream: FakeUpstream, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LARGE", 10)
    assert len(await ask(upstream).score()) == 4
    upstream.will_answer(body=b"this is no answer")
    with pytest.raises(UpstreamFailed):
        await ask(upstream).score()


async def test_it_neither_embeds_nor_tokenises(upstream: FakeUpstream, ask: Ask) -> None:
    backend = ask(upstream).backend
    with pytest.raises(WrongTask):
        await backend.embed(["a"], EmbeddingOptions())
    with pytest.raises(WrongTask):
        await backend.use_tokenizer(repr)


async def test_long_documents_are_read_in_chunks_of_characters(upstream: FakeUpstream, ask: Ask) -> None:
    backend = ask(upstream, ModelCard(id="far", max_length=100)).backend
    pairs = [Pair("q" * 40, document) for document in ("short", "word " * 400, "\u5b57" * 400)]
    short, words, ideographs = await backend.chunks(pairs, DEFAULT_OPTIONS, Chunking(most=32, overlap=8))
    assert [(span.start, span.end) for span in short] == [(0, 5)]
    assert all(span.end - span.start <= 360 for span in words)
    assert all(span.end - span.start <= 135 for span in ideographs)
    for spans, length in ((words, 2000), (ideographs, 400)):
        assert (spans[0].start, spans[-1].end) == (0, length)
        assert all(one.end >= other.start for one, other in pairwise(spans))


def test_cards_differ_by_their_upstream() -> None:
    card = ModelCard(id="far", upstream=Upstream("tei", "http://a"))
    assert not card.loads_like(replace(card, upstream=Upstream("tei", "http://b")))
