"""Metrics of all replicas, each with a label for its deployment and itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from rerank.cluster.calls import Answer

REPLICAS = "replicas"
INGRESS = "ingress"
"""Names of the deployments, and values of the label ``deployment``."""


def merged_metrics(answers: Sequence[Answer], own: bytes) -> bytes:
    """One exposition of the replicas' and of the process before them."""
    families: dict[str, Metric] = {}
    for answer in answers:
        _add(families, answer.body, {"deployment": REPLICAS, "replica": answer.replica})
    _add(families, own, {"deployment": INGRESS, "replica": ""})
    registry = CollectorRegistry()
    registry.register(_Given(families))
    return generate_latest(registry)


def _add(families: dict[str, Metric], exposition: bytes, labels: dict[str, str]) -> None:
    for family in text_string_to_metric_families(exposition.decode()):
        known = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
        for sample in family.samples:
            known.add_sample(sample.name, {**sample.labels, **labels}, sample.value)


class _Given(Collector):
    """Metrics as they are."""

    def __init__(self, families: dict[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield from self._families.values()
