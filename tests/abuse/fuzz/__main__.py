"""`make fuzz`: a hundred thousand made-up requests; does the server fail, hang or grow?

    python -m tests.abuse.fuzz --cases 100000 --seconds 1200

Sends half of them to a server with keys and half to one without, each a process of its own with tiny models: requests
that its documentation allows (schemathesis), bodies of odd values in odd encodings and odd addresses (Hypothesis), and
bytes that are nearly HTTP. Prints how many of each kind there were and how they were answered. A failure is a 5xx that
is not 503 or 504, no answer, a server that no longer serves, a traceback in its log, memory or open files that grow;
each is printed with the simplest request that shows it. Ends with status 1 if there was any, or too little time.
Linux only.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context
from pathlib import Path

from tests.abuse.fuzz.campaign import Plan, Tally, campaign, report
from tests.abuse.fuzz.target import serving

_SERVERS = {"with keys": True, "without keys": False}
_SHOWN_LINES = 8
_NUMBER = re.compile(r"0x[0-9a-f]+|\d+")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module's docstring."""
    options = _parser().parse_args(arguments)
    print(f"{options.cases} cases in at most {options.seconds:g} s, seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        tallies = fuzz_both(Path(folder), Plan(options.cases // 2, options.seconds, options.seed))
    total = sum(tally.cases.total() for tally in tallies.values())
    for name, tally in tallies.items():
        print(f"{name}: {tally.cases.total()} cases in {tally.seconds:.0f} s")
        print("\n".join(report(tally)))
    failures = [failure for tally in tallies.values() for failure in tally.failures]
    if total < options.cases // 2 * 2:
        failures.append(f"only {total} of {options.cases} cases: more --seconds are needed, or a failure ended the run")
    print(f"{total} cases, {len(failures)} failures", *failures, sep="\n")
    return int(bool(failures))


def fuzz_both(folder: Path, plan: Plan) -> dict[str, Tally]:
    """The same plan for a server with keys and for one without, at the same time."""
    # a fork would share the threads that read the servers' logs
    with ExitStack() as running, ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        servers = {
            name: running.enter_context(serving(folder / name.replace(" ", "-"), guarded=guarded))
            for name, guarded in _SERVERS.items()
        }
        begun = {name: pool.submit(campaign, target, plan) for name, (target, _) in servers.items()}
        tallies = {name: future.result() for name, future in begun.items()}
    for name, (_, server) in servers.items():
        tallies[name].failures += tracebacks(server.log)
    return tallies


def tracebacks(log: Sequence[str]) -> list[str]:
    """The end of each traceback in the log, those of one error once."""
    found: dict[str, str] = {}
    for place, line in enumerate(log):
        if line.startswith("Traceback (most recent call last)"):
            ends = next((end for end in range(place + 1, len(log)) if not log[end].startswith(" ")), len(log) - 1)
            shown = [log[max(0, place - 1)], *log[max(place, ends - _SHOWN_LINES) : ends + 1]]
            found.setdefault(_NUMBER.sub("", log[ends]), "the log holds a traceback: " + "".join(shown))
    return list(found.values())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000, help="made-up requests in all")
    parser.add_argument("--seconds", type=float, default=1200, help="after which no more are sent")
    parser.add_argument("--seed", type=int, default=0, help="the same seed sends the same requests")
    return parser


if __name__ == "__main__":
    sys.exit(main())
