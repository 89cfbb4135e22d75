"""Models and requests of the simulated cluster.

Sizes are those of the built-in cards. Rates are those measured on one H200 with documents of 512 tokens
(docs/benchmarks/performance.md); of models that were not measured, in proportion to the parameters of the nearest
measured one of their kind. Load times are a second, and the weights at a reading rate.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy
import numpy.typing

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import About, ModelCard

MEASURED = {
    "sentence-transformers/all-MiniLM-L6-v2": 4_133,
    "cross-encoder/ettin-reranker-17m-v1": 3_340,
    "cross-encoder/ettin-reranker-32m-v1": 3_005,
    "BAAI/bge-reranker-base": 2_719,
    "cross-encoder/ettin-reranker-150m-v1": 1_419,
    "BAAI/bge-reranker-v2-m3": 1_107,
    "Qwen/Qwen3-Reranker-0.6B": 512,
}
"""Pairs per second."""
_LARGE = 590
"""Millions of parameters from which a model counts as a language model of Qwen3's kind."""
_BYTES_PER_PARAMETER = 2
_MILLION = 1_000_000
_LOAD_OVERHEAD = 1.0
"""Seconds of a load that do not depend on its bytes."""


@dataclass(frozen=True, slots=True)
class SimulatedModel:
    """A model of the catalog."""

    card: ModelCard
    bytes: int
    """In memory, in bf16."""
    load_seconds: float
    pair_seconds: float


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request."""

    at: float
    model: SimulatedModel
    seconds: float
    """Of a device."""
    expected_seconds: float
    """What a router takes it for."""
    query: str


@dataclass(frozen=True, slots=True)
class Traffic:
    """How much is asked, of which models."""

    replicas: int
    models: int
    utilisation: float
    """Share of the devices' time that scoring takes."""
    bursts: float = 1.0
    """How many times its mean rate a model is asked for during a quarter of the time; 1 is Poisson's arrivals."""
    documents: float = 50.0
    """Median of a request; log-normal, at most 1,000."""
    read_rate: float = 1e9
    """Bytes of weights that are read per second."""
    warm_up: float = 360.0
    """Seconds that are not counted."""
    least: float = 300.0
    """Minimum seconds that are counted: loads are rare."""


Floats = numpy.typing.NDArray[numpy.float64]
_ZIPF = 1.0
"""Exponent of the models' popularity."""
_ERROR = 0.3
"""Standard deviation of the logarithm of a router's estimate of a request's work."""
_SPREAD = 0.8
"""Standard deviation of the logarithm of the number of documents."""
_MOST_DOCUMENTS = 1_000
_BURST_SHARE = 0.25
_BURST_SECONDS = 20.0
_RAMP_SECONDS = 60.0
"""In which arrivals grow to their rate: a cluster that starts cold under full load would first work that off."""


def catalog(traffic: Traffic, random: numpy.random.Generator) -> list[SimulatedModel]:
    """The traffic's models, the most popular first: built-in ones in random order, then others of their sizes."""
    known = [card for card in BUILT_IN if card.about]
    order = [known[place] for place in random.permutation(len(known))]
    return [
        _model(card, number, traffic.read_rate)
        for number, card in enumerate(itertools.islice(itertools.cycle(order), traffic.models))
    ]


def arrivals(traffic: Traffic, requests: int, seed: int) -> list[Arrival]:
    """The warm-up's requests and about ``requests`` after it, in order. The same for the same seed."""
    random = numpy.random.default_rng(seed)
    models = catalog(traffic, random)
    popularity = 1.0 / numpy.arange(1, len(models) + 1) ** _ZIPF
    rates = popularity / popularity.sum() * _rate_of_all(traffic, models, popularity / popularity.sum())
    seconds = traffic.warm_up + max(traffic.least, requests / float(rates.sum()))
    found = [
        arrival
        for rate, model in zip(rates, models, strict=True)
        for arrival in _of_one_model(traffic, model, float(rate), seconds, random)
    ]
    return sorted(found, key=lambda arrival: arrival.at)


def _rate_of_all(traffic: Traffic, models: list[SimulatedModel], popularity: Floats) -> float:
    """Requests per second that keep the devices as busy as wanted."""
    mean = float(_documents(traffic, 100_000, numpy.random.default_rng(0)).mean())
    work = mean * sum(share * model.pair_seconds for share, model in zip(popularity, models, strict=True))
    return traffic.utilisation * traffic.replicas / float(work)


def _of_one_model(
    traffic: Traffic, model: SimulatedModel, rate: float, seconds: float, random: numpy.random.Generator
) -> Iterator[Arrival]:
    times = _times(rate, seconds, traffic.bursts, random)
    sizes = _documents(traffic, len(times), random)
    errors = numpy.exp(random.normal(0, _ERROR, len(times)))
    for number, (at, size, error) in enumerate(zip(times, sizes, errors, strict=True)):
        work = float(size) * model.pair_seconds
        yield Arrival(at, model, work, work * float(error), f"{model.card.id} {number}")


def _model(card: ModelCard, number: int, read_rate: float) -> SimulatedModel:
    about = card.about
    assert about is not None
    named = ModelCard(id=f"{card.id}#{number}")
    load = _LOAD_OVERHEAD + about.download_bytes / read_rate
    return SimulatedModel(named, about.parameters * _MILLION * _BYTES_PER_PARAMETER, load, 1 / _rate(card.id, about))


def _rate(name: str, about: About) -> float:
    if name in MEASURED:
        return MEASURED[name]
    sizes = {card.about.parameters: MEASURED[card.id] for card in BUILT_IN if card.about and card.id in MEASURED}
    large = about.parameters >= _LARGE
    nearest = min((size for size in sizes if (size >= _LARGE) == large), key=lambda size: abs(size - about.parameters))
    return sizes[nearest] * nearest / about.parameters if about.parameters > nearest else sizes[nearest]


def _times(rate: float, seconds: float, bursts: float, random: numpy.random.Generator) -> list[float]:
    """Arrivals of one model: Poisson's, at a rate that has two levels."""
    quiet = (1 - _BURST_SHARE * bursts) / (1 - _BURST_SHARE)
    times: list[float] = []
    now, busy = 0.0, bool(random.random() < _BURST_SHARE)
    while now < seconds:
        length = random.exponential(_BURST_SECONDS * (1 if busy else (1 - _BURST_SHARE) / _BURST_SHARE))
        until = min(now + length, seconds)
        level = rate * (bursts if busy else quiet)
        times += [float(at) for at in random.uniform(now, until, random.poisson(level * (until - now)))]
        now, busy = until, not busy
    return [at for at in times if at >= _RAMP_SECONDS or random.random() < at / _RAMP_SECONDS]


def _documents(traffic: Traffic, count: int, random: numpy.random.Generator) -> Floats:
    sizes = random.lognormal(numpy.log(traffic.documents), _SPREAD, count)
    return numpy.clip(numpy.rint(sizes), 1, _MOST_DOCUMENTS)
