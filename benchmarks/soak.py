"""A client for every kind of request, several models that do not all fit: is anything lost, does anything grow?

    python -m benchmarks.soak --seconds 1800 --picture docs/benchmarks/soak.svg

Starts the server with the embedded model and random checkpoints under a memory budget that does not hold them all, asks
for some rankings alone, and then has clients send them again, mixed with everything a server has to bear (KINDS in
benchmarks/soak_kinds.py), while the models file is read again now and then, and upstreams and Redis, which holds the
cache where redis-server is installed, are killed and started again. Prints what was sent and what came back,
and how memory, open files and threads moved; then whatever was not as it should be, each with its request id, and ends
with status 1 if there was anything. ``--picture`` draws the run (`make extras`). Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import aiohttp
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.processes import RunningServer, serving
from benchmarks.resources import usage
from benchmarks.soak_helpers import Helpers, helpers
from benchmarks.soak_kinds import KINDS, traffic
from benchmarks.soak_record import Look, Record, draw, growth_objections, log_objections, report
from benchmarks.soak_routes import CHUNKS, SCORED_ALONE, chunk_of, make_long, make_routed
from benchmarks.soak_server import FOUND, NAMED, TIMEOUT, ModelsFile, furnish
from benchmarks.soak_traffic import KEY, SIZES, Call, Case, Kind, make_cases
from rerank.catalog.built_in import EMBEDDED_MODEL_ID

_PATIENCE = TIMEOUT + 30
"""Seconds that a client waits, more than the server takes."""
_SETTLING_SECONDS = 30
_LEAST_SPREAD = 0.01
_IDLE = ("rerank_requests_in_flight", "rerank_documents_in_flight", "rerank_waiting_pairs")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, and where."""

    seconds: float
    folder: Path
    clients: int = len(KINDS)
    seed: int = 0

    @property
    def home(self) -> Path:
        """Where the server lives."""
        return self.folder / "soak"


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's docstring. The exit status is 1 if anything failed."""
    options = _parser().parse_args(arguments)
    plan = Plan(options.seconds, options.folder, options.clients, options.seed)
    print(f"{plan.clients} clients send for {plan.seconds:g} s; the server's log is in {plan.home}", flush=True)
    record = soak(plan)
    for line in report(record):
        print(line)
    if options.picture:
        draw(record, options.picture)
    return int(bool(record.failures))


def soak(plan: Plan) -> Record:
    """Start the server, send everything, stop it; what was seen."""
    with helpers(plan.home) as helping:
        entry, file = furnish(plan.folder, plan.home, helping)
        with serving(entry, plan.home) as server:
            record = asyncio.run(_send_all(server, file, helping, plan))
            record.failures += stop_objections(server)
    record.failures += log_objections(record, (plan.home / f"{entry.name}.log").read_text(encoding="utf-8"))
    record.failures += growth_objections(record)
    return record


def stop_objections(server: RunningServer) -> list[str]:
    """What is wrong with how the server ends."""
    try:
        status = server.stop()
    except subprocess.TimeoutExpired as error:
        return [f"the server did not end within {error.timeout:g} s"]
    return [f"the server ended with status {status}"] if status else []


async def _send_all(server: RunningServer, file: ModelsFile, helping: Helpers, plan: Plan) -> Record:
    record = Record(clients=plan.clients, seconds=plan.seconds)
    cases = await known_cases(server.url, plan.seed)
    record.began = time.monotonic()
    end = record.began + plan.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(plan.clients):
            group.create_task(client(server, traffic(number, plan.seed, cases), number, end, record))
        group.create_task(_watch(server, end, record))
        group.create_task(_reload(server, file, end, record))
        group.create_task(_break(helping, end, record))
    record.ended = time.monotonic()
    if server.process.poll() is None:
        record.failures += await _settled(server.url, record)
        record.failures += await _cached_again(server.url, cases[0])
    return record


async def known_cases(url: str, seed: int) -> list[Case]:
    """Rankings of every model and size, with the scores that they get when nothing else is asked."""
    random = Random(seed)  # noqa: S311
    known = []
    async with _session(url) as session:
        for model in (EMBEDDED_MODEL_ID, *FOUND, *NAMED):
            # a thousand documents keep the embedded model, the only one with a real body, busy for too long
            sizes = ("small", "middle") if model == EMBEDDED_MODEL_ID else SIZES
            for case in make_cases(model, random, sizes):
                known.append(replace(case, scores=await _scores(session, case, model)))
        for case in make_routed(random):
            alone = {model: await _scores(session, case, model) for model in SCORED_ALONE}
            known.append(replace(case, scores=alone[case.model], by_model={**case.by_model, **alone}))
        for case in make_long(random):
            results = (await _alone(session, case, case.model, max_chunks_per_doc=CHUNKS))["results"]
            results.sort(key=lambda result: result["index"])
            scores = tuple(result["relevance_score"] for result in results)
            known.append(replace(case, scores=scores, best_chunks=tuple(map(chunk_of, results))))
    return known


async def _scores(session: aiohttp.ClientSession, case: Case, model: str) -> tuple[float, ...]:
    results = (await _alone(session, case, model))["results"]
    scores = {result["index"]: result["relevance_score"] for result in results}
    if len(scores) > 1 and max(scores.values()) - min(scores.values()) < _LEAST_SPREAD:
        raise ValueError(f"{model} gives all documents the same score, so that no mistake would show")
    return tuple(scores[index] for index in range(len(case.documents)))


async def _alone(session: aiohttp.ClientSession, case: Case, model: str, **fields: int) -> dict[str, Any]:
    """The answer to a case when nothing else is asked."""
    body = {"model": model, "query": case.query, "documents": case.documents, **fields}
    async with session.post("/v1/rerank", json=body) as answer:
        answer.raise_for_status()
        content: dict[str, Any] = await answer.json()
        return content


async def _cached_again(url: str, case: Case) -> list[str]:
    """Whether the cache works once whatever holds it is back: soon a repeated request takes all scores from it."""
    async with _session(url) as session:
        for _ in range(_SETTLING_SECONDS * 10):
            if (await _alone(session, case, case.model))["meta"]["cached"] == len(case.documents):
                return []
            await asyncio.sleep(0.1)
    return ["the cache did not come back"]


async def client(
    server: RunningServer, wanted: Iterator[tuple[Kind, Call]], number: int, end: float, record: Record
) -> None:
    """Send one request after another until it is time to end, or the server has gone."""
    async with _session(server.url) as session:
        for place, (kind, call) in enumerate(wanted, start=1):
            if time.monotonic() >= end or server.process.poll() is not None:
                return
            await _send(session, f"soak-{number}-{place}", kind, call, record)


async def _send(session: aiohttp.ClientSession, request_id: str, kind: Kind, call: Call, record: Record) -> None:
    """One request to its end: answered, or left on purpose, or else lost."""
    record.sent[kind.name] += 1
    began = time.monotonic()
    try:
        async with asyncio.timeout(call.leaves_after):
            status, headers, content = await _exchange(session, request_id, call)
    except TimeoutError:
        if call.leaves_after is None:
            record.lose(kind, request_id, f"no answer within {_PATIENCE} s")
        else:
            record.left[kind.name] += 1
        return
    except aiohttp.ClientError as error:
        record.lose(kind, request_id, repr(error))
        return
    record.answer(kind, request_id, status, began, time.monotonic() - began)
    objection = call.objection(status, content, headers)
    if (given := headers.get("X-Request-Id")) != request_id:
        objection = f"answered with the id {given}"
    if objection:
        record.fail(kind, request_id, f"{call.path}: {objection}")


async def _exchange(
    session: aiohttp.ClientSession, request_id: str, call: Call
) -> tuple[int, Mapping[str, str], bytes]:
    """Status, headers and content of the answer."""
    headers = {"X-Request-Id": request_id, **call.headers}
    data: bytes | AsyncIterator[bytes] | None = call.content
    if call.content and call.withheld:
        headers["Content-Length"] = str(len(call.content))
        data = _begun(call.content[: -call.withheld])
    async with session.request(call.method, call.path, data=data, headers=headers) as answer:
        return answer.status, answer.headers, await answer.read()


async def _begun(content: bytes) -> AsyncIterator[bytes]:
    """A body whose end never comes."""
    yield content
    await asyncio.Event().wait()


async def _watch(server: RunningServer, end: float, record: Record) -> None:
    """Look at what the server takes, each second."""
    async with _session(server.url) as session:
        while time.monotonic() < end and server.process.poll() is None:
            await asyncio.sleep(1)
            try:
                models = sum(sample.value for sample in (await _metrics(session))["rerank_model_bytes"].samples)
            except (aiohttp.ClientError, TimeoutError) as error:
                record.failures.append(f"/metrics: {error!r}")
            else:
                record.looks.append(Look(time.monotonic() - record.began, usage(server.pid), models / 1e6))


async def _reload(server: RunningServer, file: ModelsFile, end: float, record: Record) -> None:
    """Have the models file read again now and then."""
    pause = min(20, (end - time.monotonic()) / 6)
    while time.monotonic() + pause < end:
        await asyncio.sleep(pause)
        if file.write():
            record.reloads += 1
        else:
            record.wrong_files += 1
        os.kill(server.pid, signal.SIGHUP)


async def _break(helping: Helpers, end: float, record: Record) -> None:
    """Kill the servers that this one depends on, one after the other, and start each again after a while."""
    pause = min(40, (end - time.monotonic()) / 10)
    for helper in cycle(helping.breakable):
        if time.monotonic() + 2 * pause >= end:
            return
        await asyncio.sleep(pause)
        helper.kill()
        await asyncio.sleep(pause / 2)
        await asyncio.to_thread(helper.start)
        record.kills[helper.name] += 1


async def _settled(url: str, record: Record) -> list[str]:
    """What the server says is still in flight once every client is done."""
    async with _session(url) as session:
        for _ in range(_SETTLING_SECONDS * 10):
            metrics = await _metrics(session)
            record.events = Counter()
            for sample in metrics["rerank_model_events"].samples:
                record.events[sample.labels["event"]] += int(sample.value)
            busy = {name: metrics[name].samples[0].value for name in _IDLE}
            if not any(busy.values()):
                return []
            await asyncio.sleep(0.1)
    return [f"still in flight when all clients were done: {busy}"]


async def _metrics(session: aiohttp.ClientSession) -> dict[str, Metric]:
    async with session.get("/metrics") as answer:
        answer.raise_for_status()
        return {family.name: family for family in text_string_to_metric_families(await answer.text())}


def _session(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url,
        timeout=aiohttp.ClientTimeout(total=_PATIENCE),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="how long clients send")
    parser.add_argument("--clients", type=int, default=len(KINDS))
    parser.add_argument("--seed", type=int, default=0, help="of what each client sends")
    parser.add_argument("--picture", type=Path, help="file for the picture: .svg or .png")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
