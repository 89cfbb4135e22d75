"""Tracing as OpenTelemetry's standard environment variables configure it."""

from __future__ import annotations

import logging
import os
from importlib.metadata import version
from typing import TYPE_CHECKING

from opentelemetry import propagate

from rerank.errors import SettingsError

if TYPE_CHECKING:
    from rerank.telemetry.spans import Tracing

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_OTLP = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")


def open_tracing() -> Tracing | None:
    """Tracing as the environment configures it; None if it is off or its packages are missing.

    Without them nothing of OpenTelemetry's SDK is imported. Raises SettingsError naming a variable it cannot follow.
    """
    exporters = _wanted_exporters()
    if not exporters:
        return None
    try:
        # an optional extra
        from rerank.telemetry.spans import Tracing, exporter_named

        tracing = Tracing([exporter_named(name) for name in exporters])
    except ImportError as error:
        packages = ["opentelemetry-sdk", *(_package(name) for name in exporters if name in _OTLP.values())]
        command = " ".join(f"{package}=={version('opentelemetry-api')}" for package in packages)
        logger.warning("OTEL_ variables ask for traces, which need packages (%s): pip install %s", error, command)
        return None
    except ValueError as error:
        raise SettingsError(f"OTEL_ variables: {error}") from error
    logger.info("traces of requests go to %s", ", ".join(exporters))
    return tracing


def trace_headers() -> dict[str, str]:
    """Headers with which another process continues the current request's trace; empty without a span."""
    headers: dict[str, str] = {}
    propagate.inject(headers)
    return headers


def _wanted_exporters() -> list[str]:
    """Names of exporters, as packages register them."""
    asked = os.environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not (asked or _first(_ENDPOINTS)):
        return []
    names = [name.strip().lower() for name in (asked or "otlp").split(",")]
    return [_otlp() if name == "otlp" else name for name in names if name not in ("", "none")]


def _otlp() -> str:
    protocol = (_first(_PROTOCOLS) or "http/protobuf").lower()
    if protocol not in _OTLP:
        raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL: it can be {' or '.join(_OTLP)} (got {protocol!r})")
    return _OTLP[protocol]


def _package(exporter: str) -> str:
    return f"opentelemetry-exporter-{exporter.replace('_', '-')}"


def _first(names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := os.environ.get(name, "").strip())), "")
