"""Work in flight of the servers that share a Redis: each one says what it has, and learns what the others have."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError

from rerank.gateway.admission import Admission, Elsewhere, Work
from rerank.shared_state.names import hashed
from rerank.shared_state.state import OWN_KEY, SharedState
from rerank.tasks import running

_INTERVAL_SECONDS = 1.0
_SECONDS = 2.0
"""Maximum seconds of an exchange: no request waits for it."""
_LEASE_MILLISECONDS = 5000
"""After so long without a word a server counts as gone, and its work with it."""
_CALLERS = 100
"""Maximum callers of one server, those with the most tokens."""
_ROW_BYTES = 16 * 1024
_KEY = "rerank:work"
# one field per server: when its lease ends, and its row
_EXCHANGE = (
    OWN_KEY
    + """
own(KEYS[1], 'hash')
local id, row, lease, wanted = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4] == '1'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if row == '' then
    redis.call('HDEL', KEYS[1], id)
else
    redis.call('HSET', KEYS[1], id, string.format('%.0f ', now + lease) .. row)
end
redis.call('PEXPIRE', KEYS[1], lease)
local rows = {}
local all = redis.call('HGETALL', KEYS[1])
for place = 1, #all, 2 do
    local ends, text = string.match(all[place + 1], '^(%d+) (.*)$')
    ends = tonumber(ends)
    if not ends or ends < now or ends > now + lease then
        redis.call('HDEL', KEYS[1], all[place])
    elseif wanted and all[place] ~= id then
        rows[#rows + 1] = text
    end
end
return rows
"""
)
_Amount = Annotated[int, Field(ge=0, le=10**15)]
_ROW = TypeAdapter(dict[Annotated[str, Field(max_length=64)], tuple[_Amount, _Amount, _Amount]])


class SharedWork:
    """Tells an admission what its callers have in flight elsewhere."""

    def __init__(self, state: SharedState, admission: Admission) -> None:
        self._state = state
        self._admission = admission
        self._id = secrets.token_hex(8)

    async def exchange(self) -> None:
        """Say what is in flight here; learn of the other servers what matters: nothing, unless this one gets full."""
        self._admission.elsewhere = elsewhere_of(await self._send(row_of(self._admission)))

    async def exchange_always(self) -> None:
        """Exchange once per second."""
        while True:
            await self.exchange()
            await asyncio.sleep(_INTERVAL_SECONDS)

    async def leave(self) -> None:
        """Say that nothing is in flight here any more."""
        await self._send("")

    async def _send(self, row: str) -> Iterable[bytes]:
        wanted = not self._admission.has_spare(Work())
        arguments: list[str | int] = [self._id, row, _LEASE_MILLISECONDS, int(wanted)]
        found = await self._state.run(_EXCHANGE, [_KEY], arguments, _SECONDS)
        return [row for row in found or [] if isinstance(row, bytes)]


@asynccontextmanager
async def exchanging(state: SharedState | None, admission: Admission) -> AsyncIterator[None]:
    """Share the work in flight while the context is open, if there is anything to share it by."""
    if state is None:
        yield
        return
    shared = SharedWork(state, admission)
    async with running([shared.exchange_always()]):
        yield
    await shared.leave()


def row_of(admission: Admission) -> str:
    """What a server says of itself."""
    most = sorted(admission.by_caller.items(), key=lambda entry: entry[1].tokens, reverse=True)[:_CALLERS]
    return _ROW.dump_json({hashed(caller): (work.documents, work.tokens, work.bytes) for caller, work in most}).decode()


def elsewhere_of(rows: Iterable[bytes]) -> Elsewhere:
    """What other servers say together. A row that is none is left out."""
    servers, by_caller = 0, dict[str, Work]()
    for row in rows:
        try:
            entries = _ROW.validate_json(row if len(row) <= _ROW_BYTES else b"")
        except ValidationError:
            continue
        servers += 1
        for caller, amounts in entries.items():
            by_caller[caller] = by_caller.get(caller, Work()) + Work(*amounts)
    return Elsewhere(servers, by_caller)
