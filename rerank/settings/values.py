"""Types of settings, and the spellings that they accept."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr

from rerank.units import expand_home, parse_memory, parse_seconds, precision_name

MIN_KEY_LENGTH = 8
"""Characters. A shorter key can be guessed."""
REDIS_SCHEMES = ("redis://", "rediss://")
_QUOTES = "\"'`“”‘’"


def split(text: str) -> tuple[str, ...]:
    """The non-empty parts of a list separated by commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _seconds(value: Any) -> Any:
    return parse_seconds(value) if isinstance(value, str) else value


def _memory(value: str) -> str:
    if parse_memory(value, whole=100) <= 0:
        raise ValueError("it must be more than 0")
    return value


def bytes_of(value: str) -> int:
    """Bytes in ``2GB``, ``500MiB`` or a number. Raises ValueError."""
    if "%" in value:
        raise ValueError("it has to be a number with a unit as in 2GB or 500MiB, or a number of bytes")
    return parse_memory(value, whole=100)


def _amount(value: str) -> str:
    bytes_of(value)
    return value


def _lower(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _devices(value: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda|cuda:\d+(\s*,\s*cuda:\d+)*", value):
        raise ValueError("it can be auto, cpu, mps, cuda (every GPU) or GPUs by number: cuda:1 or cuda:0,cuda:2")
    return value


def _host(value: str) -> str:
    """The address without the brackets that URLs need around IPv6."""
    host = value.strip()
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    if "/" in host or host.count(":") == 1 or not re.fullmatch(r"[\w.:%-]+", host):
        raise ValueError(
            "it has to be an IP address or a host name alone, such as 0.0.0.0, 127.0.0.1 or ::; the port is PORT"
        )
    return host


def hub_address(value: str) -> str:
    """The address of a Hub. Raises ValueError, which does not show it: it may hold a password."""
    if not (value.startswith(("http://", "https://")) and _host_of(value)):
        raise ValueError("it has to be a whole address that begins with https:// or http://")
    return value


def _host_of(address: str) -> str | None:
    """The host, None also where the port is none."""
    try:
        parts = urlsplit(address)
        return None if parts.port == 0 else parts.hostname
    except ValueError:
        return None


def _keys(value: SecretStr) -> SecretStr:
    keys = split(value.get_secret_value())
    if not keys:
        raise ValueError("it is set, but holds no key")
    for key in keys:
        _check_key(key)
    return value


def _check_key(key: str) -> None:
    """Raise ValueError for a key that no client can send, or that is too short."""
    if key[0] in _QUOTES or key[-1] in _QUOTES:
        raise ValueError("a key begins or ends with a quote; remove it, docker's --env-file keeps quotes")
    if re.match(r"bearer\s", key, re.IGNORECASE):
        raise ValueError("a key begins with `Bearer`; give only the key, clients add that word")
    if not key.isprintable():
        raise ValueError("a key holds a character that cannot be printed")
    if len(key) < MIN_KEY_LENGTH:
        raise ValueError(f"a key has fewer than {MIN_KEY_LENGTH} characters; `rerank key new NAME` makes a good one")


def _cache_place(value: str) -> str:
    """`off`, `memory`, `file:PATH` or the address of a Redis server."""
    place = value.strip()
    if place.lower() in ("off", "memory"):
        return place.lower()
    if place.startswith("file:") and place.removeprefix("file:").strip():
        return place
    if place.startswith(REDIS_SCHEMES) and _is_redis_address(place):
        return place
    raise ValueError("it can be off, memory, file:PATH or redis://HOST:PORT/0 (rediss:// for TLS)")


def _redis_address(value: str) -> str:
    address = value.strip()
    if not (address.startswith(REDIS_SCHEMES) and _is_redis_address(address)):
        raise ValueError(
            "it has to be redis://HOST:PORT/0 (rediss:// for TLS), with USER:PASSWORD@ before HOST if needed"
        )
    return address


def _is_redis_address(address: str) -> bool:
    """True for a host, a port, a user and password, and the number of a database; with TLS also for an authority."""
    if not _host_of(address):
        return False
    parts = urlsplit(address)
    authority = parts.scheme == "rediss" and re.fullmatch(r"ssl_ca_certs=[^&]+", parts.query)
    return bool(re.fullmatch(r"/?\d*", parts.path) and (authority or not parts.query) and not parts.fragment)


def without_password(address: str) -> str:
    """An address that may be shown, be it malformed: user and password are left out."""
    return re.sub(r"^([^@]*?://)?.*@", r"\1***@", address, flags=re.DOTALL)


def _log_format(value: Any) -> Any:
    """`text`, `json`, or a format string that logging can use."""
    if not isinstance(value, str) or value.strip().lower() in ("text", "json"):
        return _lower(value)
    record = logging.LogRecord("name", logging.INFO, "path", 1, "message", (), None)
    record.request_id = "-"
    try:
        logging.Formatter(value).format(record)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"it can be text, json, or a format string of Python's logging such as %(asctime)s %(message)s: {error}"
        ) from error
    return value


AnyCase = BeforeValidator(_lower)
"""For words: in any case, with spaces around them."""
Seconds = Annotated[float, BeforeValidator(_seconds)]
Amount = Annotated[str, AfterValidator(_amount)]
Memory = Annotated[str, AfterValidator(_memory)]
Precision = Annotated[Literal["auto", "fp32", "bf16", "fp16", "int8"], BeforeValidator(precision_name)]
Devices = Annotated[str, AnyCase, AfterValidator(_devices)]
Host = Annotated[str, AfterValidator(_host)]
HubAddress = Annotated[str, AfterValidator(hub_address)]
UserPath = Annotated[Path, AfterValidator(expand_home)]
"""A path in which `~` is the user's home."""
Keys = Annotated[SecretStr, AfterValidator(_keys)]
"""Keys, separated by commas."""
RedisAddress = Annotated[str, AfterValidator(_redis_address)]
CachePlace = Annotated[str, AfterValidator(_cache_place)]
LogFormat = Annotated[str, BeforeValidator(_log_format)]
