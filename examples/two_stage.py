"""Two stages of retrieval: Chroma recalls candidates by small vectors, the server puts them in order.

    pip install chromadb requests
    python examples/two_stage.py [RERANK_MODEL]

The vectors come from the same server. The index keeps 48 of their 384 numbers, an eighth of the memory: enough to find
twenty candidates, not to order them. Without a name the server's default model does that.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from statistics import fmean

import chromadb
import requests
from chromadb.config import Settings
from common import EMBEDDING_MODEL, PATIENCE, Passage, api_key, connect, handbook, ndcg, questions

from rerank_client import RerankResults, SyncRerankClient

NUMBERS = 48
CANDIDATES = 20
SHOWN = 3


class TwoStageRetriever:
    """Recall by vectors, precision by a reranker."""

    def __init__(self, client: SyncRerankClient, model: str | None) -> None:
        self._client, self._model = client, model
        store = chromadb.EphemeralClient(Settings(anonymized_telemetry=False))
        self._index = store.create_collection(
            "handbook", embedding_function=None, configuration={"hnsw": {"space": "cosine"}}
        )

    def index(self, passages: Sequence[Passage]) -> None:
        """Add passages."""
        texts = [passage.text for passage in passages]
        self._index.add([passage.id for passage in passages], embeddings=self._vectors(texts), documents=texts)

    def recall(self, query: str) -> dict[str, str]:
        """Ids and texts of the candidates, the nearest first."""
        found = self._index.query(query_embeddings=self._vectors([query]), n_results=CANDIDATES)
        return dict(zip(found["ids"][0], found["documents"][0], strict=True))

    def rerank(self, query: str, candidates: dict[str, str]) -> RerankResults:
        """The candidates in their final order."""
        return self._client.rerank(query, list(candidates.values()), model=self._model)

    def _vectors(self, texts: Sequence[str]) -> list[list[float]]:
        answer = requests.post(
            f"{self._client.base_url}/v1/embeddings",
            json={"input": texts, "model": EMBEDDING_MODEL},
            headers={"Authorization": f"Bearer {api_key()}"},
            timeout=PATIENCE,
        )
        answer.raise_for_status()
        return [item["embedding"][:NUMBERS] for item in answer.json()["data"]]


def main(model: str | None = None) -> None:
    """Index, search, and show both orders."""
    passages, recalled, reranked = handbook(), [], []
    with connect() as client:
        retriever = TwoStageRetriever(client, model)
        retriever.index(passages)
        for asked in questions():
            candidates = retriever.recall(asked.question)
            ids, results = list(candidates), retriever.rerank(asked.question, candidates)
            order = [ids[result.index] for result in results]
            recalled.append(ndcg(ids, asked.answers))
            reranked.append(ndcg(order, asked.answers))
            print(asked.question)
            print("    recalled:", ", ".join(marked(ids, asked.answers)))
            print("    reranked:", ", ".join(marked(order, asked.answers)))
    print(f"\n{len(recalled)} questions, {CANDIDATES} of {len(passages)} passages recalled, * answers the question")
    print(f"nDCG@10 recalled {fmean(recalled):.3f}, reranked by {results.model} {fmean(reranked):.3f}")


def marked(ids: Sequence[str], answers: Mapping[str, int]) -> list[str]:
    """The first ids, those of answers with a star."""
    return [f"{one}*" if one in answers else one for one in ids[:SHOWN]]


if __name__ == "__main__":
    main(*sys.argv[1:2])
