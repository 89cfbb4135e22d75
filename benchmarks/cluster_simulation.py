"""Routing in a cluster of 1 to 256 replicas, simulated: this project's rule, others, and a lower bound.

    python -m benchmarks.cluster_simulation --scenes "16 replicas" --seeds 0 1 2 --figures docs/benchmarks/scale.json

Discrete events (SimPy), no clock and no network; the same seed gives the same figures. Each replica is one device with
the server's own residency of models under a memory budget; a router sees reports that are up to a second old. The lower
bound is one queue for all devices, all models in memory everywhere. Prints p50 and p99, loads per hour and replica, the
share of requests whose model was in memory where they went, and utilisation.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy
import simpy

from benchmarks.cluster_policies import POLICIES, Policy
from benchmarks.cluster_replica import Process, Queue, SimulatedReplica, Work
from benchmarks.cluster_traffic import Arrival, Traffic, arrivals

BOUND = "lower bound"
REPORT_SECONDS = 1.0
_HOUR = 3600.0
_GIVE_UP = 40
"""Requests per replica that are unanswered at once, on average, from which a cluster does not keep up."""
_GIVE_UP_SLACK = 300


@dataclass(frozen=True, slots=True)
class Scene:
    """A cluster and its traffic."""

    traffic: Traffic
    memory: float = 40e9
    """Bytes for models, of each replica."""
    requests: int = 20_000
    policies: tuple[str, ...] = tuple(POLICIES)


_FEW = ("ours", "round robin")
SCENES = {
    "1 replica": Scene(Traffic(1, 5, 0.7), requests=10_000, policies=_FEW),
    "4 replicas": Scene(Traffic(4, 20, 0.7)),
    "16 replicas": Scene(Traffic(16, 50, 0.7)),
    "64 replicas": Scene(Traffic(64, 100, 0.7, documents=200, warm_up=240, least=240), requests=0, policies=_FEW),
    "256 replicas": Scene(Traffic(256, 100, 0.7, documents=400, warm_up=180, least=120), requests=0, policies=_FEW),
    "bursts": Scene(Traffic(16, 50, 0.7, bursts=2.0), policies=_FEW),
    "slow disk": Scene(Traffic(16, 50, 0.7, read_rate=0.33e9), policies=_FEW),
    "little memory": Scene(Traffic(16, 100, 0.7), memory=20e9, policies=_FEW),
    "at 50 %": Scene(Traffic(16, 50, 0.5), policies=_FEW),
    "at 90 %": Scene(Traffic(16, 50, 0.9), policies=_FEW),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run."""

    p50: float
    """Seconds, as the next; not a number if no request was answered."""
    p99: float
    loads_per_hour: float
    """Of one replica."""
    warm: float
    """Share of requests whose model was in memory where they went."""
    utilisation: float
    answered: int
    """Requests that arrived after the warm-up, all answered."""
    keeps_up: bool = True
    """False if the run was broken off; loads and utilisation are then those until there."""


class Run:
    """One policy of ``POLICIES``, or the bound, under one list of requests."""

    def __init__(self, requests: Sequence[Arrival], traffic: Traffic, memory: float) -> None:
        self._requests = requests
        self._count = traffic.replicas
        self._warm_up = traffic.warm_up
        self._memory = memory
        self._env = simpy.Environment()
        self._stopped = self._env.event()
        self.answers: list[tuple[Arrival, float]] = []
        """Each answered request, and when."""
        self._used: list[list[tuple[float, float]]] = []
        self._replicas: dict[str, SimulatedReplica] = {}
        self._in_flight = 0
        self._warm = 0
        self._asked = 0

    def outcome(self, policy: str) -> Outcome:
        """Run it until all requests are answered, or until it is clear that it does not keep up."""
        self._env.process(self._arrive(self._central() if policy == BOUND else self._cluster(policy)))
        keeps_up = bool(self._env.run(self._stopped))
        # of a run that was broken off, what led there
        begin, end = self._warm_up if keeps_up else 0.0, min(self._env.now, self._requests[-1].at)
        window = end - begin
        loads = [at for replica in self._replicas.values() for at in replica.loads if begin <= at <= end]
        busy = [min(began + took, end) - max(began, begin) for used in self._used for began, took in used]
        latencies = [at - arrival.at for arrival, at in self.answers if arrival.at >= self._warm_up]
        p50, p99 = numpy.percentile(latencies or [numpy.nan], (50, 99))
        return Outcome(
            float(p50),
            float(p99),
            len(loads) * _HOUR / window / self._count,
            self._warm / max(1, self._asked),
            sum(seconds for seconds in busy if seconds > 0) / window / self._count,
            len(latencies),
            keeps_up,
        )

    def _central(self) -> Callable[[Arrival], bool]:
        queue = Queue(self._env)
        for _ in range(self._count):
            self._used.append([])
            self._env.process(queue.device(lambda work: self._answered(work.arrival), self._used[-1]))

        def ask(arrival: Arrival) -> bool:
            queue.add(Work(arrival, arrival.seconds))
            return True

        return ask

    def _cluster(self, name: str) -> Callable[[Arrival], bool]:
        names = [f"replica-{number}" for number in range(self._count)]
        self._replicas = {each: SimulatedReplica(self._env, each, int(self._memory), self._answered) for each in names}
        self._used = [replica.used for replica in self._replicas.values()]
        policy = POLICIES[name](names)
        for place, replica in enumerate(self._replicas.values()):
            policy.report(replica.report())
            self._env.process(self._report(replica, policy, (place + 1) / self._count * REPORT_SECONDS))

        def ask(arrival: Arrival) -> bool:
            first, load = policy.route(arrival, self._env.now)
            warm = self._replicas[first].is_ready(arrival.model)
            self._replicas[first].ask(arrival)
            if load is not None:
                self._replicas[load].load(arrival.model)
            return warm

        return ask

    def _report(self, replica: SimulatedReplica, policy: Policy, after: float) -> Process:
        yield self._env.timeout(after)
        while True:
            policy.report(replica.report())
            yield self._env.timeout(REPORT_SECONDS)

    def _arrive(self, ask: Callable[[Arrival], bool]) -> Process:
        for arrival in self._requests:
            yield self._env.timeout(arrival.at - self._env.now)
            warm = ask(arrival)
            self._in_flight += 1
            self._asked += arrival.at >= self._warm_up
            self._warm += warm and arrival.at >= self._warm_up
            if self._in_flight > _GIVE_UP * self._count + _GIVE_UP_SLACK:
                self._stopped.succeed(False)
                return

    def _answered(self, arrival: Arrival) -> None:
        self.answers.append((arrival, self._env.now))
        self._in_flight -= 1
        if len(self.answers) == len(self._requests):
            self._stopped.succeed(True)


def played(scene: Scene, policy: str, seed: int) -> Outcome:
    """One policy, or the bound, in one scene."""
    requests = arrivals(scene.traffic, scene.requests, seed)
    return Run(requests, scene.traffic, scene.memory).outcome(policy)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the scenes, print a line for each run, and keep the figures; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES))
    parser.add_argument("--policies", nargs="+", choices=[BOUND, *POLICIES], help="default: those of the scene")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--figures", type=Path, help="JSON file that the figures are added to")
    options = parser.parse_args(arguments)
    for seed, name in itertools.product(options.seeds, options.scenes):
        for policy in options.policies or [BOUND, *SCENES[name].policies]:
            outcome = played(SCENES[name], policy, seed)
            print(f"{name:<20} seed {seed}  {policy:<18} {_line(outcome)}", flush=True)
            if options.figures:
                _keep(options.figures, {"scene": name, "policy": policy, "seed": seed, **asdict(outcome)})
    return 0


def _line(outcome: Outcome) -> str:
    if not outcome.keeps_up:
        return f"does not keep up: {outcome.loads_per_hour:.0f} loads per hour, warm {outcome.warm:.1%}"
    return (
        f"p50 {outcome.p50:6.3f} s  p99 {outcome.p99:6.3f} s  {outcome.loads_per_hour:6.1f} loads per hour  "
        f"warm {outcome.warm:.2%}  utilisation {outcome.utilisation:.3f}  {outcome.answered} requests"
    )


def _keep(file: Path, figures: dict[str, Any]) -> None:
    """Add figures to the file, in place of those of the same run."""
    run = ("scene", "policy", "seed")
    kept = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    kept = [each for each in kept if any(each[name] != figures[name] for name in run)]
    # JSON has no NaN
    figures = {name: None if value != value else value for name, value in figures.items()}
    rounded = {name: round(value, 4) if isinstance(value, float) else value for name, value in figures.items()}
    kept = sorted([*kept, rounded], key=lambda each: [each[name] for name in run])
    file.write_text("[\n" + ",\n".join(map(json.dumps, kept)) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
