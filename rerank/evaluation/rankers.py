"""Those that rank: the models of this machine in an engine, or those of a running server. No command knows which."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command
from rerank.catalog.names import shown
from rerank.catalog.routes import Ensemble, kind_of
from rerank.core import Chunking, EmbeddingOptions, Pair, ScoringOptions, ScoringRequest, Vector
from rerank.engine import Engine
from rerank.errors import ModelUnavailable, RerankError, SettingsError
from rerank.evaluation.server_client import ServerClient
from rerank.gateway.routing.plan import first_choice, plan_of
from rerank.results import ScoringResult
from rerank.settings import Settings
from rerank_client import RerankError as ClientError
from rerank_client import RerankOptions, RerankResults

_SILENCE = 3600.0
"""Seconds that a server may take for an answer: its own limit is the one that counts."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """One query's documents, ranked."""

    relevance: tuple[float, ...]
    """Of each document, in the caller's order."""
    order: tuple[int, ...]
    """Indices of the documents, the best first. Two that share one relevance may differ in their logits."""
    tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for in addition to the texts."""

    instruction: str | None = None
    max_chunks_per_doc: int | None = None
    """Above 1: the most chunks in which a long document is read."""
    calibrated: bool | None = None
    """False for the relevance of the model itself; None for what its card says."""


DEFAULT_ASKED = Asked()


class Rankers(Protocol):
    """Models by name."""

    async def identity(self, name: str) -> str:
        """The id of the model with this name, the same for all its names. Raises RerankError and SettingsError."""
        ...

    async def version(self, name: str) -> str:
        """What the model's scores depend on in addition to its id; empty where that is unknown. Raises RerankError."""
        ...

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        """All documents, ranked by the model of this name and by no other. Raises RerankError."""
        ...


class DescribedRankers(Rankers, Protocol):
    """Models that say what they are made of."""

    async def weights(self, name: str) -> str:
        """The fingerprint that a calibration of the model holds. Raises RerankError and SettingsError."""
        ...

    async def members(self, name: str) -> Sequence[str]:
        """The models of an ensemble, in order. Raises RerankError; SettingsError for what is not an ensemble."""
        ...


class Embedders(Rankers, Protocol):
    """Models by name, some of which give vectors."""

    async def embed(self, name: str, texts: Sequence[str]) -> list[Vector] | None:
        """A vector of each text, without a prompt; None for a model that gives none. Raises RerankError."""
        ...


class OpenRankers(DescribedRankers, Embedders, Protocol):
    """What ``open_rankers`` gives."""


class EngineRankers:
    """The models of this machine, and those that its cards name elsewhere."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    async def identity(self, name: str) -> str:
        """See ``Rankers``."""
        return self.card(name).id

    def card(self, name: str) -> ModelCard:
        """The card of a name, whose weights are on disk. Raises RerankError and SettingsError."""
        card = self.engine.catalog.operator_choice(name)
        for member in self._members(card):
            if member.has_weights and self.engine.catalog.folder(member) is None:
                raise ModelUnavailable(f"{member.id} is not on disk; fetch it first: {download_command(member.id)}")
        return card

    async def version(self, name: str) -> str:
        """See ``Rankers``."""
        prints = []
        for member in self._members(self.card(name)):
            async with self.engine.registry.lease(member) as model:
                prints.append(model.fingerprint)
            calibration = self.engine.catalog.calibration(member) if member.calibration else None
            prints += [f"{calibration.method}:{calibration.data}"] if calibration else []
        return " ".join(prints)

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        """See ``Rankers``."""
        card, began = self.card(name), time.perf_counter()
        request = ScoringRequest(
            tuple(Pair(query, document) for document in documents),
            card.id,
            ScoringOptions(instruction=asked.instruction),
            chunking=Chunking(asked.max_chunks_per_doc) if asked.max_chunks_per_doc else None,
            calibrated=asked.calibrated,
        )
        result = await self.engine.score(request)
        _refuse_another(name, result)
        order = tuple(document.index for document in result.ranked)
        return Ranked(result.scores, order, result.tokens, time.perf_counter() - began)

    async def weights(self, name: str) -> str:
        """See ``Rankers``."""
        card = self.card(name)
        if card.route:
            raise SettingsError(f"{card.id} is made of other models: each of them is calibrated on its own")
        async with self.engine.registry.lease(card) as model:
            if not model.weights:
                raise RerankError(f"the files of {card.id} changed while they were loaded; try again")
            return model.weights

    async def embed(self, name: str, texts: Sequence[str]) -> list[Vector] | None:
        """See ``Embedders``."""
        card = self.card(name)
        if card.route:
            return None
        async with self.engine.registry.lease(card) as model:
            if not model.backend.gives_vectors:
                return None
            return [embedding.vector for embedding in await model.backend.embed(texts, EmbeddingOptions())]

    async def members(self, name: str) -> Sequence[str]:
        """See ``Rankers``."""
        card = self.card(name)
        if not isinstance(card.route, Ensemble):
            raise _no_ensemble(card.id)
        return card.route.models

    def _members(self, card: ModelCard) -> Iterable[ModelCard]:
        return first_choice(plan_of(card, self.engine.catalog.resolve))


class ServerRankers:
    """The models of a running server."""

    def __init__(self, client: ServerClient) -> None:
        self._client = client

    async def identity(self, name: str) -> str:
        """See ``Rankers``: of a model that the server does not describe, the name."""
        return str((await self._described(name)).get("id", name))

    async def version(self, name: str) -> str:
        """See ``Rankers``: as far as the server tells. The model is loaded, which is no part of what is timed later."""
        return await self._fingerprint(name) or ""

    async def weights(self, name: str) -> str:
        """See ``Rankers``."""
        fingerprint = await self._fingerprint(name)
        if fingerprint is None:
            raise RerankError(
                f"the server does not say which weights {shown(name)} has: that takes a server of this kind, and the "
                "id of a model that is not made of others"
            )
        return fingerprint

    async def _fingerprint(self, name: str) -> str | None:
        """What a server says of a model that is loaded, as it is when it has been asked."""
        await self.ask(name, "query", ["document"])
        fingerprint = (await self._described(name)).get("fingerprint")
        return fingerprint if isinstance(fingerprint, str) else None

    async def members(self, name: str) -> Sequence[str]:
        """See ``Rankers``."""
        described = await self._described(name)
        if described.get("family") != kind_of(Ensemble(())):
            raise _no_ensemble(name)
        return tuple(map(str, described["members"]))

    async def _described(self, name: str) -> dict[str, Any]:
        """What the server says of a model; nothing where it does not."""
        with _as_ours():
            return await self._client.model(name) or {}

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        """See ``Rankers``."""
        began = time.perf_counter()
        options: RerankOptions = {
            "instruction": asked.instruction,
            "max_chunks_per_doc": asked.max_chunks_per_doc,
            "calibrated": asked.calibrated,
        }
        with _as_ours():
            results = await self._client.rerank(query, documents, model=name, **options)
        _refuse_another(name, results)
        relevance = [0.0] * len(documents)
        for result in results:
            relevance[result.index] = result.relevance_score
        counts = (result.details.get("tokens") for result in results)
        tokens = sum(count for count in counts if isinstance(count, int))
        # the scores are what is measured, whatever order they come in
        order = tuple(result.index for result in sorted(results, key=lambda result: -result.relevance_score))
        if sorted(order) != list(range(len(documents))):
            raise RerankError(f"the server ranked {len(set(order))} of {len(documents)} documents")
        return Ranked(tuple(relevance), order, tokens, time.perf_counter() - began)

    async def embed(self, name: str, texts: Sequence[str]) -> list[Vector] | None:
        """See ``Embedders``."""
        with _as_ours():
            return await self._client.embed(name, texts)


@contextmanager
def _as_ours() -> Iterator[None]:
    """Raise a client's errors as RerankError."""
    try:
        yield
    except ClientError as error:
        raise RerankError(f"the server: {error}") from error


def _no_ensemble(name: str) -> SettingsError:
    return SettingsError(f"{shown(name)} is not an ensemble: give the id of a card with `ensemble`")


def _refuse_another(name: str, answer: ScoringResult | RerankResults) -> None:
    if answer.degraded or answer.partial:
        raise RerankError(
            f"{shown(name)} is not available as a whole: {answer.model} answered for it; what is measured would be no "
            "single model"
        )


def _client_of(server: str, key: str | None, option: str) -> ServerClient:
    """Raises SettingsError for what is no address, and for a key that no header can hold."""
    try:
        return ServerClient(server, key, timeout=_SILENCE)
    except ValueError as error:
        raise SettingsError(f"{option} {shown(server)}: {error}") from error


@asynccontextmanager
async def open_rankers(
    settings: Settings, server: str | None = None, key: str | None = None, option: str = "--server"
) -> AsyncIterator[OpenRankers]:
    """The models of this machine, or of the ``server`` with this address, which the ``option`` named.

    Raises RerankError and SettingsError.
    """
    if server is None:
        catalog = Catalog.open(settings.models_dir, settings.models_file)
        async with Engine.open(settings, catalog) as engine:
            yield EngineRankers(engine)
        return
    async with _client_of(server, key, option) as client:
        with _as_ours():
            # a wrong address or key is an error now, not after the data was read
            await client.models()
        yield ServerRankers(client)
