"""Which model suits your data? Quality, time and agreement of several models on questions with known answers.

    pip install requests
    python examples/compare_models.py [MODEL ...]

Any name the server knows will do: models, upstreams, cascades. The first is what the others are compared with.
"""

from __future__ import annotations

import sys
import time
from statistics import fmean

from common import connect, handbook, ndcg, questions

from rerank_client import SyncRerankClient

Orders = list[list[str]]


def orders_by(client: SyncRerankClient, model: str) -> Orders:
    """The passages' ids in a model's order, for each question."""
    passages = handbook()
    texts = [passage.text for passage in passages]
    return [
        [passages[result.index].id for result in client.rerank(asked.question, texts, model=model, cache=False)]
        for asked in questions()
    ]


def same_first(one: Orders, other: Orders) -> int:
    """How many questions have the same passage first."""
    return sum(first[0] == second[0] for first, second in zip(one, other, strict=True))


def main(*models: str) -> None:
    """A line per model."""
    asked, found = questions(), dict[str, Orders]()
    print(f"{'model':20} nDCG@10  ms per question  same first passage")
    with connect() as client:
        for model in models:
            client.rerank("loads the model", ["before the clock runs"], model=model)
            started = time.perf_counter()
            found[model] = orders_by(client, model)
            took = (time.perf_counter() - started) / len(asked) * 1000
            quality = fmean(ndcg(order, one.answers) for order, one in zip(found[model], asked, strict=True))
            same = same_first(found[models[0]], found[model])
            print(f"{model:20} {quality:7.3f}  {took:15.0f}  {same} of {len(asked)}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ("cosine", "lexical")))
