"""Loader of models behind other servers: nothing is loaded but the key."""

from __future__ import annotations

import logging

from rerank.backends.base import LoadedModel, Remote
from rerank.backends.fingerprints import fingerprint, weights_fingerprint
from rerank.backends.remote.backend import RemoteBackend
from rerank.backends.remote.client import Client, Target
from rerank.backends.remote.http import HttpPool
from rerank.backends.remote.keys import read_key
from rerank.catalog.cards import ModelCard
from rerank.catalog.rerank_apis import address_of, host_of, model_of
from rerank.catalog.upstreams import Upstream
from rerank.errors import ModelUnavailable, SettingsError
from rerank.telemetry.events import Observe, ignore

logger = logging.getLogger(__name__)


class RemoteLoader:
    """Makes backends of cards with an upstream. Their connections are the pool's."""

    def __init__(self, pool: HttpPool, observe: Observe = ignore) -> None:
        self._pool = pool
        self._observe = observe

    def load(self, card: ModelCard, upstream: Upstream) -> LoadedModel:
        """The model, ready to be asked. Raises ModelUnavailable if its key is missing."""
        try:
            key = read_key(card)
        except SettingsError as error:
            logger.error("%s", error)
            raise ModelUnavailable(f"{card.id} cannot be asked: the server has no key for it.") from error
        address = address_of(upstream, card.id)
        client = Client(Target(card.id, address, upstream, key), self._pool, self._observe)
        remote = Remote(upstream.api, host_of(upstream, card.id), model_of(upstream, card.id), lambda: client.state)
        logger.info("%s is %s at %s (%s)", card.id, remote.model, address, upstream.api)
        backend = RemoteBackend(card, upstream, client)
        return LoadedModel(
            card,
            backend,
            remote=remote,
            fingerprint=fingerprint(card, remote.api, address, remote.model),
            weights=weights_fingerprint(card, backend.activation, remote.api, address, remote.model),
        )
