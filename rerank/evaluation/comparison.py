"""Two models on one collection: both sides' scores and, where both have them, vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rerank.errors import RerankError
from rerank.evaluation.agreement import Agreement, ByQuery, agreement_of
from rerank.evaluation.collection import Collection
from rerank.evaluation.rankers import Embedders
from rerank.evaluation.scoring import Scored
from rerank.evaluation.vectors import VectorAgreement, cosines, vector_agreement

_TEXTS_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a model's answers are those of a reference."""

    collection: Collection
    model: Scored
    reference: Scored
    agreement: Agreement
    vectors: VectorAgreement | None
    """None unless both are embedding models."""

    @classmethod
    def of(
        cls, collection: Collection, model: Scored, reference: Scored, vectors: VectorAgreement | None = None
    ) -> Comparison:
        """Compare scores. Raises RerankError for scores that are no numbers."""
        try:
            agreement = agreement_of(_scores(model), _scores(reference))
        except ValueError as error:
            raise RerankError(str(error)) from error
        return cls(collection, model, reference, agreement, vectors)

    def value(self, measure: str) -> float | None:
        """A measure by the name that commands have for it: the larger, the more both agree; None where undefined."""
        if measure == "cosine":
            return self.vectors.mean if self.vectors else None
        if measure == "mean-pearson":
            return self.agreement.mean_pearson
        found: float | None = getattr(self.agreement.measures, measure.replace("-", "_"))
        return found

    def scores(self) -> tuple[list[float], list[float]]:
        """The model's and the reference's scores of every pair."""
        ours, theirs = _scores(self.model), _scores(self.reference)
        return [score for query in ours for score in ours[query]], [score for query in ours for score in theirs[query]]


def _scores(scored: Scored) -> ByQuery:
    return {query: ranked.relevance for query, ranked in scored.ranked.items()}


def texts_of(collection: Collection) -> list[str]:
    """Every query and candidate of a collection once."""
    queries = (collection.queries[query] for query in collection.candidates)
    documents = (text for query in collection.candidates for text in collection.texts(query))
    return list(dict.fromkeys((*queries, *documents)))


async def compare_vectors(
    model: tuple[Embedders, str],
    reference: tuple[Embedders, str],
    texts: list[str],
    progress: Callable[[int], None] = lambda _: None,
) -> VectorAgreement | None:
    """Cosines between both sides' vectors of the texts, without a prompt; None unless both sides give vectors.

    ``progress`` is told of each number of texts that are done. Raises RerankError.
    """
    found: list[float] = []
    for part in _parts(texts):
        ours = await model[0].embed(model[1], part)
        theirs = await reference[0].embed(reference[1], part) if ours else None
        if ours is None or theirs is None:
            return None
        try:
            found += cosines(ours, theirs)
        except ValueError as error:
            raise RerankError(f"{model[1]} and {reference[1]}: {error}") from error
        progress(len(part))
    return vector_agreement(found)


def _parts(texts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        yield texts[start : start + _TEXTS_AT_ONCE]
