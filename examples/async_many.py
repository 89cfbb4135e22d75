"""Hundreds of requests at once, under a limit, with retries: each customer's message goes to the right department.

    pip install aiohttp requests
    python examples/async_many.py [MESSAGES]

The message is the query, the departments are the documents. RerankClient repeats what the server had no room for
(429, 503) after the pause that the server asks for; the semaphore keeps that from happening often.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter

from common import EMBEDDING_MODEL, connect_async, questions

from rerank_client import RerankClient, RerankError

AT_ONCE = 16
DEPARTMENTS = {
    "technicians": "error code, leak, pump, grinder",
    "baristas": "espresso, grind, stronger coffee",
    "care": "cleaning, limescale, cartridge, dishwasher, holiday",
    "shop": "spare part, return, warranty, data",
}
OPENINGS = ("", "Hello, ", "Please help: ", "Good morning. ", "Question: ", "Hi there! ")
CLOSINGS = ("", " Thanks!", " Kind regards, Ana")


async def department_of(client: RerankClient, limit: asyncio.Semaphore, message: str) -> str:
    """The department that a message is for, or what went wrong."""
    async with limit:
        try:
            best = await client.rerank(message, list(DEPARTMENTS.values()), top_n=1, model=EMBEDDING_MODEL)
        except RerankError as error:
            return f"failed: {type(error).__name__}"
        return list(DEPARTMENTS)[best[0].index]


async def main() -> None:
    """Sort all messages, and count."""
    messages = [
        opening + asked.question + closing for opening in OPENINGS for closing in CLOSINGS for asked in questions()
    ]
    messages = messages[: int(sys.argv[1])] if sys.argv[1:] else messages
    limit, started = asyncio.Semaphore(AT_ONCE), time.perf_counter()
    async with connect_async() as client:
        found = await asyncio.gather(*(department_of(client, limit, message) for message in messages))
    seconds = time.perf_counter() - started
    for message, department in list(zip(messages, found, strict=True))[: len(questions())]:
        print(f"{department:12} {message}")
    counts = ", ".join(f"{department} {count}" for department, count in Counter(found).most_common())
    print(f"\n{len(messages)} messages in {seconds:.1f} s, {AT_ONCE} at once: {counts}")


if __name__ == "__main__":
    asyncio.run(main())
