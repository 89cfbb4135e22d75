"""Calls of one upstream: retries, circuit breaker, limit of concurrent calls, and failures as errors for callers."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from functools import partial

from pydantic import SecretStr
from pydantic_core import to_json

from rerank.backends.remote.answers import Answer, Nonsense, read_answer
from rerank.backends.remote.breaker import Breaker, BreakerOpen, BreakerState, Permit
from rerank.backends.remote.codecs import Body
from rerank.backends.remote.failures import NEARLY, Failures
from rerank.backends.remote.fair_semaphore import FairSemaphore
from rerank.backends.remote.http import HttpAnswer, HttpPool, TooLong
from rerank.backends.remote.retries import CallFailed, Clock, Sleep, retrying
from rerank.catalog.upstreams import HOPS_HEADER, MAX_HOPS, Upstream, deadline_var, hops_var
from rerank.errors import Overloaded, UpstreamLoop
from rerank.telemetry.events import CallOutcome, Observe, UpstreamCalled, ignore

logger = logging.getLogger(__name__)

_LARGE = 256 * 1024
"""Bytes of an answer from which on it is parsed on a thread."""
_PATIENCE = 5.0
"""Seconds after which a call without an answer counts as failed: of several in a row not one was answered."""
_MIN_ANSWER = 1_000_000
_PER_BYTE = 4
"""Bytes of an answer per byte of its request: some APIs send the documents back, escaped."""


@dataclass(frozen=True, slots=True)
class Target:
    """An upstream as it is called."""

    model: str
    """The card's id, for messages."""
    address: str
    upstream: Upstream
    key: SecretStr | None = None

    def headers(self) -> dict[str, str]:
        """Headers of a call: the key, and how many servers the request has passed."""
        headers = {HOPS_HEADER: str(hops_var.get() + 1)}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key.get_secret_value()}"
        return headers


class Client:
    """One upstream. Belongs to the event loop's thread."""

    def __init__(
        self,
        target: Target,
        pool: HttpPool,
        observe: Observe = ignore,
        *,
        clock: Clock = time.monotonic,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._target = target
        self._pool = pool
        self._observe = observe
        self._breaker = Breaker(changed=self._log)
        self._clock = clock
        self._sleep = sleep
        self._failures = Failures(target.model, target.key)
        self._places = FairSemaphore(target.upstream.max_concurrency)

    @property
    def state(self) -> BreakerState:
        """State of the breaker."""
        return self._breaker.state

    def _log(self, state: BreakerState) -> None:
        level = logging.WARNING if state is BreakerState.OPEN else logging.INFO
        logger.log(level, "%s: the breaker of its upstream is %s", self._target.model, state)

    async def ask(self, body: Body, documents: int, caller: str = "") -> Answer:
        """The scores of a number of ``documents``, after retries if need be. Raises a RerankError.

        Callers take turns where more calls are wanted than may be under way.
        """
        if hops_var.get() >= MAX_HOPS:
            raise UpstreamLoop(
                f"The request for {self._target.model} has passed {MAX_HOPS} servers: their upstreams form a loop."
            )
        ends = self._clock() + self._target.upstream.timeout
        repeated = retrying(min(ends, deadline_var.get()), self._clock, self._sleep)
        try:
            return await repeated(self._attempt, body, documents, ends, caller)
        except CallFailed as failed:
            raise failed.error from failed

    async def _attempt(self, body: Body, documents: int, ends: float, caller: str) -> Answer:
        await self._enter(ends, caller)
        try:
            # made here, because calls that still wait would hold a long query each
            return await self._guarded(to_json(body), documents, ends)
        finally:
            self._places.release()

    async def _enter(self, ends: float, caller: str) -> None:
        """Wait until fewer calls than allowed are under way."""
        try:
            async with asyncio.timeout(max(ends - self._clock(), 0)):
                await self._places.acquire(caller)
        except TimeoutError:
            most = self._target.upstream.max_concurrency
            raise CallFailed(
                Overloaded(f"{self._target.model}: {most} calls are under way (max_concurrency).", retry_after=1)
            ) from None

    async def _guarded(self, content: bytes, documents: int, ends: float) -> Answer:
        """One call, if the breaker permits it. It is counted."""
        outcome: CallOutcome = "cancelled"
        try:
            answer = await self._permitted(content, documents, ends)
            outcome = "ok"
        except CallFailed as failed:
            outcome = failed.outcome
            raise
        finally:
            self._observe(UpstreamCalled(self._target.model, outcome))
        return answer

    async def _permitted(self, content: bytes, documents: int, ends: float) -> Answer:
        """Raises CallFailed if the breaker does not permit the call; it learns its outcome."""
        began = self._clock()
        try:
            permit = self._breaker.admit(began)
        except BreakerOpen as refused:
            raise self._failures.of_breaker(refused.seconds) from None
        try:
            answer = await self._call(content, documents, ends)
        except CallFailed as failed:
            if isinstance(failed.__cause__, TimeoutError):
                self._drop(permit, self._clock() - began)
            else:
                self._learn(permit, healthy=failed.healthy)
            raise
        except BaseException:
            self._drop(permit, self._clock() - began)
            raise
        self._learn(permit, healthy=True)
        return answer

    def _learn(self, permit: Permit, *, healthy: bool) -> None:
        if healthy:
            self._breaker.succeeded(permit)
        else:
            self._breaker.failed(permit, self._clock())

    def _drop(self, permit: Permit, seconds: float) -> None:
        """There was no more time, or the caller left; an upstream that hangs must not escape notice by that.

        A call that waited for others has little time, which says nothing of the upstream.
        """
        if seconds < min(_PATIENCE, NEARLY * self._target.upstream.timeout):
            self._breaker.dropped(permit)
        else:
            self._learn(permit, healthy=False)

    async def _call(self, content: bytes, documents: int, ends: float) -> Answer:
        """Raises CallFailed."""
        answer = await self._post(content, max(ends - self._clock(), 0.001))
        if answer.status != 200:
            raise self._failures.of_answer(answer, documents)
        read = partial(read_answer, answer.content, documents)
        try:
            return await asyncio.to_thread(read) if len(answer.content) > _LARGE else read()
        except Nonsense as error:
            raise self._failures.of_nonsense(str(error)) from error

    async def _post(self, content: bytes, seconds: float) -> HttpAnswer:
        import aiohttp

        target = self._target
        try:
            return await self._pool.post(
                target.address,
                content,
                target.headers(),
                seconds=seconds,
                max_bytes=_MIN_ANSWER + _PER_BYTE * len(content),
                trust_env=target.upstream.trust_env,
            )
        except TooLong as error:
            raise self._failures.of_nonsense(f"a body that {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise self._failures.of_exception(error, seconds, target.upstream.timeout) from error
