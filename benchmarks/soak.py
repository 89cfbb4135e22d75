"""Sixteen clients, every kind of request, several models that do not all fit: is anything lost, does anything grow?

    python -m benchmarks.soak --seconds 1800 --picture docs/reliability.svg

Starts the server with the embedded model and random checkpoints under a memory budget that does not hold them all, asks
for some rankings alone, and then has clients send them again, mixed with everything a server has to bear (the table in
benchmarks/traffic.py), while the models file is read anew now and then. Prints what was sent and what came back, and
how memory, open files and threads moved; then whatever was not as it should be, each with its request id, and ends with
status 1 if there was anything. ``--picture`` draws the run (benchmarks/requirements.txt). Linux only.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.contestants import ours
from benchmarks.processes import Contestant, Running, serving
from benchmarks.resources import usage
from benchmarks.soak_record import Look, Record, draw, growth_objections, log_objections, report
from benchmarks.traffic import (
    ADMIN_KEY,
    KEY,
    MAX_BODY_BYTES,
    SIZES,
    VLLM,
    Call,
    Case,
    Kind,
    Ranking,
    ask,
    make_cases,
    traffic,
)
from benchmarks.workload import checkpoint
from rerank.catalog.cards import EMBEDDED_MODEL_ID

FOUND = ("thin-64", "qwen3-thin")
"""Models that lie in the models folder."""
NAMED = ("thin-80",)
"""Models that only the models file names."""
_BUDGET = "350MB"
_SERVER_SECONDS = 180
_PATIENCE = _SERVER_SECONDS + 30
"""Seconds that a client waits, more than the server takes."""
_SETTLING_SECONDS = 30
_LEAST_SPREAD = 0.01
_IDLE = ("rerank_requests_in_work", "rerank_documents_in_work", "rerank_waiting_pairs")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, how many, and where."""

    seconds: float
    folder: Path
    clients: int = 16
    seed: int = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's docstring. The exit status is 1 if anything failed."""
    options = _parser().parse_args(arguments)
    record = soak(Plan(options.seconds, options.folder, options.clients, options.seed))
    for line in report(record):
        print(line)
    if options.picture:
        draw(record, options.picture)
    return int(bool(record.failures))


def soak(plan: Plan) -> Record:
    """Start the server, send everything, stop it; what was seen."""
    folder = plan.folder / "soak"
    shutil.rmtree(folder / "models", ignore_errors=True)
    for model in FOUND:
        shutil.copytree(checkpoint(model, plan.folder), folder / "models" / model)
    file = ModelsFile(folder / "models.toml", [checkpoint(model, plan.folder) for model in NAMED])
    file.write()
    entry = _server(folder, file)
    with serving(entry, folder) as server:
        record = asyncio.run(_send_all(server, file, plan))
        status = server.stop()
    record.failures += log_objections(record, (folder / f"{entry.name}.log").read_text(encoding="utf-8"))
    record.failures += growth_objections(record)
    if status:
        record.failures.append(f"the server ended with status {status}")
    return record


def _server(folder: Path, file: ModelsFile) -> Contestant:
    plain = ours(folder / "models" / FOUND[0], "fp32")
    environment = {
        "RERANK_DEFAULT_MODEL": EMBEDDED_MODEL_ID,
        "RERANK_PRELOAD": EMBEDDED_MODEL_ID,
        "RERANK_MODELS_FILE": str(file.path),
        "RERANK_MEMORY_BUDGET": _BUDGET,
        "RERANK_API_KEY": KEY,
        "RERANK_ADMIN_KEY": ADMIN_KEY,
        "RERANK_HOST": "127.0.0.1",
        "RERANK_TIMEOUT": str(_SERVER_SECONDS),
        "RERANK_RECEIVE_TIMEOUT": "5",
        "RERANK_MAX_BODY_BYTES": str(MAX_BODY_BYTES),
        "RERANK_MAX_DOCUMENTS": "1000",
    }
    return Contestant("server", plain.command, plain.environment | environment)


class ModelsFile:
    """The models file, which changes whenever it is written: a model's card, a card that nobody asks for, or all."""

    def __init__(self, path: Path, folders: Sequence[Path]) -> None:
        self.path = path
        self._folders = folders
        self._turn = 0

    def write(self) -> bool:
        """The next content, whole at once; whether a server can read it."""
        wrong = self._turn % 4 == 3
        content = "[[model]\n" if wrong else "".join(self._cards())
        fresh = self.path.with_suffix(".new")
        fresh.write_text(content, encoding="utf-8")
        fresh.replace(self.path)
        self._turn += 1
        return not wrong

    def _cards(self) -> list[str]:
        # another length has the model loaded anew, and every text here is shorter
        length = 512 - self._turn % 2
        cards = [f'[[model]]\nid = "{one.name}"\npath = "{one}"\nmax_length = {length}\n' for one in self._folders]
        return cards + ['[[model]]\nid = "soak/nobody-asks"\n'] * (self._turn % 2)


async def _send_all(server: Running, file: ModelsFile, plan: Plan) -> Record:
    record = Record(clients=plan.clients, seconds=plan.seconds, seed=plan.seed)
    cases = await known_cases(server.url, plan.seed)
    record.began = time.monotonic()
    end = record.began + plan.seconds
    async with asyncio.TaskGroup() as group:
        for number in range(plan.clients):
            group.create_task(_client(server.url, number, cases, plan.seed, end, record))
        group.create_task(_watch(server, end, record))
        group.create_task(_reload(server, file, end, record))
    record.ended = time.monotonic()
    record.failures += await _settled(server.url, record)
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
                known.append(replace(case, scores=await _scores(session, case)))
    return known


async def _scores(session: aiohttp.ClientSession, case: Case) -> tuple[float, ...]:
    call = ask(Ranking(case, VLLM))
    async with session.post(call.path, data=call.content) as answer:
        answer.raise_for_status()
        scores = dict(VLLM.ranking(await answer.json()))
    if len(scores) > 1 and max(scores.values()) - min(scores.values()) < _LEAST_SPREAD:
        raise ValueError(f"{case.model} gives all documents the same score, so that no mistake would show")
    return tuple(scores[index] for index in range(len(case.documents)))


async def _client(url: str, number: int, cases: Sequence[Case], seed: int, end: float, record: Record) -> None:
    """Send one request after another until it is time to end."""
    async with _session(url) as session:
        for place, (kind, call) in enumerate(traffic(number, seed, cases), start=1):
            if time.monotonic() >= end:
                return
            await _send(session, f"soak-{number}-{place}", kind, call, record)


async def _send(session: aiohttp.ClientSession, request_id: str, kind: Kind, call: Call, record: Record) -> None:
    """One request to its end: answered, or left on purpose, or else lost."""
    record.sent[kind.name] += 1
    began = time.monotonic()
    try:
        async with asyncio.timeout(call.leaves_after):
            status, given, content = await _exchange(session, request_id, call)
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
    objection = call.objection(status, content)
    if given != request_id:
        objection = f"answered with the id {given}"
    if objection:
        record.fail(kind, request_id, f"{call.path}: {objection}")


async def _exchange(session: aiohttp.ClientSession, request_id: str, call: Call) -> tuple[int, str | None, bytes]:
    """Status, request id and content of the answer."""
    headers = {"X-Request-Id": request_id, **call.headers}
    data: bytes | AsyncIterator[bytes] | None = call.content
    if call.content and call.withheld:
        headers["Content-Length"] = str(len(call.content))
        data = _begun(call.content[: -call.withheld])
    async with session.request(call.method, call.path, data=data, headers=headers) as answer:
        return answer.status, answer.headers.get("X-Request-Id"), await answer.read()


async def _begun(content: bytes) -> AsyncIterator[bytes]:
    """A body whose end never comes."""
    yield content
    await asyncio.Event().wait()


async def _watch(server: Running, end: float, record: Record) -> None:
    while time.monotonic() < end:
        record.looks.append(Look(time.monotonic() - record.began, usage(server.pid)))
        await asyncio.sleep(1)


async def _reload(server: Running, file: ModelsFile, end: float, record: Record) -> None:
    """Have the models file read anew now and then."""
    pause = min(20, (end - time.monotonic()) / 6)
    while time.monotonic() + pause < end:
        await asyncio.sleep(pause)
        if file.write():
            record.reloads += 1
        else:
            record.wrong_files += 1
        os.kill(server.pid, signal.SIGHUP)


async def _settled(url: str, record: Record) -> list[str]:
    """What the server says is still in work once every client is done."""
    async with _session(url) as session:
        for _ in range(_SETTLING_SECONDS * 10):
            async with session.get("/metrics") as answer:
                families = list(text_string_to_metric_families(await answer.text()))
            busy = {family.name: family.samples[0].value for family in families if family.name in _IDLE}
            record.events = {
                event: int(sum(sample.value for sample in family.samples if sample.labels["event"] == event))
                for family in families
                if family.name == "rerank_model_events"
                for event in ("loaded", "unloaded", "failed")
            }
            if len(busy) == len(_IDLE) and not any(busy.values()):
                return []
            await asyncio.sleep(0.1)
    return [f"still in work when all clients were done: {busy}"]


def _session(url: str) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        url,
        timeout=aiohttp.ClientTimeout(total=_PATIENCE),
        headers={"Content-Type": "application/json", "Authorization": f"Bearer {KEY}"},
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300, help="how long clients send")
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0, help="of what each client sends")
    parser.add_argument("--picture", type=Path, help="file for the picture: .svg or .png")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    return parser


if __name__ == "__main__":
    sys.exit(main())
