"""What the variables of OpenTelemetry bring about."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

from rerank.errors import SettingsError
from rerank.telemetry import spans
from rerank.telemetry.tracing import open_tracing

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}


@pytest.fixture
def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the exporters that were asked for."""
    names: list[str] = []

    def exporter_named(name: str) -> OTLPSpanExporter:
        names.append(name)
        return OTLPSpanExporter()

    monkeypatch.setattr(spans, "exporter_named", exporter_named)
    for name in list(os.environ):
        if name.startswith("OTEL_"):
            monkeypatch.delenv(name)
    return names


@pytest.mark.parametrize(
    ("environment", "exporters"),
    [
        (ENDPOINT, ["otlp_proto_http"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/traces"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ["otlp_proto_http"]),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["console", "otlp_proto_http"]),
        (ENDPOINT | {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ["otlp_proto_grpc"]),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "false"}, ["otlp_proto_http"]),
        ({}, []),
        (ENDPOINT | {"OTEL_SDK_DISABLED": "True"}, []),
        (ENDPOINT | {"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, []),
        ({"OTEL_SERVICE_NAME": "rerank"}, []),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://127.0.0.1:9"}, []),
    ],
    ids=str,
)
def test_the_variables_say_where_traces_go(
    asked_for: list[str], monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], exporters: list[str]
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    tracing = open_tracing()
    assert asked_for == exporters
    assert bool(tracing) is bool(exporters)
    if tracing:
        tracing.close()


@pytest.mark.parametrize(
    ("environment", "name"),
    [({}, "rerank-gateway"), ({"OTEL_SERVICE_NAME": "b"}, "b"), ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=c"}, "c")],
    ids=str,
)
def test_the_service_has_a_name_that_can_be_changed(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], name: str
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert spans.Tracing([]).provider.resource.attributes["service.name"] == name


def test_without_the_packages_the_start_says_what_to_install(
    asked_for: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(*next(iter(ENDPOINT.items())))
    monkeypatch.setitem(sys.modules, "rerank.telemetry.spans", None)
    assert open_tracing() is None
    (record,) = caplog.records
    release = version("opentelemetry-api")
    command = f"pip install opentelemetry-sdk=={release} opentelemetry-exporter-otlp-proto-http=={release}"
    assert record.levelname == "WARNING"
    assert record.getMessage().endswith(command)


def test_an_exporter_that_no_package_brings_is_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "carrier-pigeon")
    assert open_tracing() is None
    assert "no package exports to 'carrier-pigeon'" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "OTEL_EXPORTER_OTLP_PROTOCOL: .*http/json"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "-1", "OTEL_ variables: max_queue_size"),
    ],
)
def test_a_variable_that_cannot_be_followed_stops_the_start(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=said):
        open_tracing()
