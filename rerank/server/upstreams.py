"""Checks of all upstreams at start: keys are there, and none is this very server."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from rerank.backends.remote.keys import read_key
from rerank.catalog.cards import ModelCard
from rerank.catalog.rerank_apis import address_of
from rerank.errors import SettingsError
from rerank.settings import Settings

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # nosec B104
_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_upstreams(cards: Iterable[ModelCard], settings: Settings) -> None:
    """Raise SettingsError naming the card whose key is missing, or whose upstream would be this server.

    What a reverse proxy leads back here is not seen; such a loop ends after a few rounds (``UpstreamLoop``).
    """
    for card in cards:
        if card.upstream:
            _check(card, settings)


def _check(card: ModelCard, settings: Settings) -> None:
    try:
        read_key(card)
    except SettingsError as error:
        raise SettingsError(f"{settings.models_file}: {error}") from error
    address = address_of(card.upstream, card.id) if card.upstream else ""
    if _is_here(address, settings):
        raise SettingsError(
            f"{settings.models_file}: {card.id}: upstream: {address} is this server, which would ask itself for ever"
        )


def _is_here(address: str, settings: Settings) -> bool:
    parts = urlsplit(address)
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return port == settings.port and (parts.hostname or "") in _own_names(settings)


def _own_names(settings: Settings) -> frozenset[str]:
    """Names under which a process on this machine reaches the server, as far as the settings say."""
    host = settings.listen_host(guarded=True).strip("[]").lower()
    if host in _EVERYWHERE:
        return _LOOPBACK | _EVERYWHERE | {socket.gethostname().lower()}
    return _LOOPBACK | _EVERYWHERE if host in _LOOPBACK else frozenset({host})
