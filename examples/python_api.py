"""The engine within a program of your own: no server, no HTTP. Loads a model, ranks, and shows raw scores.

    .venv/bin/python examples/python_api.py

Settings come from the environment and `.env`, as the server's do.
"""

from __future__ import annotations

import asyncio
import time

from common import EMBEDDING_MODEL, handbook, questions

from rerank import Engine
from rerank.core import Pair, ScoringRequest


async def main() -> None:
    """Rank, then score pairs."""
    passages = handbook()
    texts = [passage.text for passage in passages]
    async with Engine.open() as engine:
        started = time.perf_counter()
        await engine.rank("loads the model", ["before the clock runs"], model=EMBEDDING_MODEL)
        print(f"{EMBEDDING_MODEL} loaded in {time.perf_counter() - started:.1f} s")

        for asked in questions()[:3]:
            started = time.perf_counter()
            ranked = await engine.rank(asked.question, texts, model=EMBEDDING_MODEL, top_n=2)
            took = time.perf_counter() - started
            print(f"{asked.question}  ({len(texts)} passages, {took * 1000:.0f} ms)")
            for one in ranked:
                print(f"    {one.relevance_score:.3f}  {passages[one.index].id:10} {texts[one.index][:70]}...")

        pairs = (Pair("a cup of coffee", "an espresso"), Pair("a cup of coffee", "a parcel"))
        result = await engine.score(ScoringRequest(pairs, EMBEDDING_MODEL, activated=False))
        print(f"Raw scores of {result.model}, in the order of the pairs (for this model cosines):")
        for pair, score in zip(pairs, result.scores, strict=True):
            print(f"    {score:.3f}  {pair.query} / {pair.document}")


if __name__ == "__main__":
    asyncio.run(main())
